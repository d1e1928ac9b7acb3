#!/usr/bin/env bash
# Snapshots of the Redis that holds Tidegate's counters: taken, proven by loading them, kept
# for as long as you say, and put back. docs/operations.md says when that is worth it.
set -euo pipefail
umask 077

usage() {
  cat <<'USAGE'
backup.sh take [--keep N] [--days N] [--drift PERCENT] DIRECTORY [REDIS-CLI OPTION...]
    Takes a snapshot over the network, loads it into a server of its own, and compares how
    many keys there are. If that is well, it stays as DIRECTORY/tidegate-<UTC>.rdb, and older
    ones beyond the newest N (14), or older than so many days (no limit), are removed; the
    newest is never removed. PERCENT (10) is how much smaller than the data of now it may be,
    as counters come and go meanwhile.
backup.sh verify FILE
    Loads a snapshot into a server of its own and says what is in it.
backup.sh restore FILE DATA-DIRECTORY
    Puts a snapshot into the directory of a Redis that is stopped, as its dump.rdb. What was
    there stays beside it.

Passwords come from REDISCLI_AUTH, never from the command line. Needed: redis-cli,
redis-server (7.0 or newer, and not older than the one that is saved) and as much memory as
the snapshot takes.
USAGE
}

fail() {
  printf 'backup.sh: %s\n' "$*" >&2
  exit 1
}

scratch=
server=
# A copy that is not yet anybody's snapshot.
part=

clean_up() {
  if [[ -n $server ]]; then
    kill "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  [[ -z $scratch ]] || rm -rf "$scratch"
  [[ -z $part ]] || rm -f -- "$part" "$part.log"
}
trap clean_up EXIT

# The scratch server, which has no password.
ask_scratch() {
  env -u REDISCLI_AUTH redis-cli -s "$scratch/socket" "$@" 2>/dev/null
}

# field NAME: of what INFO prints on standard input.
field() {
  tr -d '\r' | awk -F: -v name="$1" '$1 == name { print $2 }'
}

# Loads a snapshot, and sets `loaded` to how many keys it holds, with those whose time was
# over by now, which are `ended`.
load() {
  local file=$1 state=
  [[ -s $file ]] || fail "$file is no snapshot: it is absent or empty"
  scratch=$(mktemp -d)
  cp -- "$file" "$scratch/dump.rdb"
  redis-server --port 0 --unixsocket "$scratch/socket" --dir "$scratch" --dbfilename dump.rdb \
    --save '' --appendonly no --logfile "$scratch/log" --daemonize no >"$scratch/out" 2>&1 &
  server=$!
  # While it loads it says so; when it cannot, it ends.
  while state=$(ask_scratch ping || true) && [[ $state != PONG ]]; do
    if ! kill -0 "$server" 2>/dev/null; then
      cat "$scratch/out" "$scratch/log" >&2 2>/dev/null || true
      fail "this snapshot cannot be loaded: $file"
    fi
    sleep 0.1
  done
  local info
  info=$(ask_scratch info persistence)
  loaded=$(field rdb_last_load_keys_loaded <<<"$info")
  ended=$(field rdb_last_load_keys_expired <<<"$info")
  [[ -n $loaded && -n $ended ]] || fail 'the redis-server here is older than 7.0'
  loaded=$((loaded + ended))
}

# How many keys all databases hold of the server that the options name.
count_keys() {
  local info
  info=$(redis-cli "$@" info keyspace) || return
  [[ $info == '# Keyspace'* ]] || {
    printf '%s\n' "$info" >&2
    return 1
  }
  tr -d '\r' <<<"$info" | awk -F'[=,]' '/^db/ { sum += $2 } END { print sum + 0 }'
}

# number NAME VALUE
number() {
  [[ $2 =~ ^[0-9]+$ ]] || fail "$1 is \"$2\"; a whole number is allowed"
}

# Removes what is beyond the newest $2 in $1, or older than $3 days; never the newest.
prune() {
  local directory=$1 keep=$2 days=$3 file index=0
  local -a files=()
  mapfile -t files < <(find "$directory" -maxdepth 1 -type f -name 'tidegate-*Z.rdb' | sort -r)
  for file in "${files[@]}"; do
    index=$((index + 1))
    ((index > 1)) || continue
    if ((index > keep)) || { [[ -n $days ]] && [[ -n $(find "$file" -mmin "+$((days * 1440))") ]]; }; then
      rm -f -- "$file"
      printf 'removed %s\n' "$file"
    fi
  done
}

take() {
  local keep=14 days='' drift=10 option
  while [[ ${1:-} == --* ]]; do
    [[ $# -ge 2 ]] || fail "$1 needs a value"
    case $1 in
      --keep) number "$1" "$2"; keep=$2 ;;
      --days) number "$1" "$2"; days=$2 ;;
      --drift) number "$1" "$2"; drift=$2 ;;
      *) fail "$1 is unknown; --keep, --days and --drift are allowed before the directory" ;;
    esac
    shift 2
  done
  ((keep > 0)) || fail '--keep is 0; the newest is always kept'
  local directory=${1:?the directory is missing; see backup.sh --help}
  shift
  for option in "$@"; do
    case $option in
      -a | -a?* | --pass | --askpass | -u | -u?*)
        fail "$option: everybody on this machine could read the password; set REDISCLI_AUTH" ;;
    esac
  done
  [[ -d $directory ]] || fail "$directory is no directory"

  local before after least name
  before=$(count_keys "$@") || fail 'Redis does not answer'
  name=$directory/tidegate-$(date -u +%Y%m%dT%H%M%SZ).rdb
  [[ ! -e $name ]] || fail "$name is there already"
  part=$(mktemp "$directory/.part-XXXXXX")
  if ! redis-cli "$@" --rdb "$part" >"$part.log" 2>&1; then
    cat "$part.log" >&2
    fail 'Redis did not send a snapshot'
  fi
  after=$(count_keys "$@") || fail 'Redis does not answer any more'
  least=$((before < after ? before : after))
  load "$part"
  if ((loaded * 100 < least * (100 - drift))); then
    fail "the snapshot holds $loaded keys, but Redis $least; it was refused"
  fi
  mv -- "$part" "$name"
  printf 'saved %s: %d keys\n' "$name" "$loaded"
  prune "$directory" "$keep" "$days"
}

restore() {
  local file=${1:?the snapshot is missing} directory=${2:?the directory of Redis is missing}
  [[ -d $directory ]] || fail "$directory is no directory"
  [[ ! -e $directory/appendonlydir ]] ||
    fail "$directory/appendonlydir is there: Redis would read that. Move it away, and start Redis with appendonly no"
  load "$file"
  local now
  now=$(date -u +%Y%m%dT%H%M%SZ)
  [[ ! -e $directory/dump.rdb ]] || mv -- "$directory/dump.rdb" "$directory/dump.rdb.before-$now"
  cp -- "$file" "$directory/.dump-$now"
  # Redis must be able to read it, whoever runs this.
  chown --reference="$directory" "$directory/.dump-$now" 2>/dev/null || true
  mv -- "$directory/.dump-$now" "$directory/dump.rdb"
  printf 'restored %s: %d keys, of which %d have ended meanwhile; now start Redis\n' \
    "$file" "$loaded" "$ended"
}

# What would be missed in the middle of it otherwise.
need() {
  local program
  for program in "$@"; do
    command -v "$program" >/dev/null || fail "$program is not installed"
  done
}

case ${1:-} in
  take | verify | restore) need redis-cli redis-server ;;
esac
case ${1:-} in
  take) shift; take "$@" ;;
  verify)
    load "${2:?the snapshot is missing}"
    printf 'good: %d keys, of which %d have ended meanwhile\n' "$loaded" "$ended"
    ;;
  restore) restore "${2:-}" "${3:-}" ;;
  -h | --help) usage ;;
  *) usage >&2; exit 2 ;;
esac
