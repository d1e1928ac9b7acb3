#!/usr/bin/env bash
# What a request costs, as a multiple of what a stock tonic server costs that does nothing.
#
#   benches/compare.sh [--quick] [--rounds N] [--seconds S] [--cluster] [--observed]
#                      [--build NAME=PATH]... [--peer NAME=PATH]...
#
# benches/README.md says how it measures and how to read the table. It needs cargo,
# redis-server, redis-cli, taskset and jq, and two cores that nobody else uses.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

rounds=5 seconds=3 cluster='' observed='' peers=() builds=() rate=5850
fail() {
  printf 'benches/compare.sh: %s\n' "$*" >&2
  exit 1
}
while (($#)); do
  case $1 in
    --quick) rounds=2 seconds=1 ;;
    --rounds) rounds=${2:?a number} && shift ;;
    --seconds) seconds=${2:?a number} && shift ;;
    --cluster) cluster=1 ;;
    --observed) observed=1 ;;
    --peer | --build)
      [[ ${2-} == *=* && -x ${2#*=} ]] || fail "$1 takes NAME=PATH of a program, not '${2-}'"
      if [[ $1 == --peer ]]; then peers+=("$2"); else builds+=("$2"); fi
      shift
      ;;
    *) fail "unknown argument $1" ;;
  esac
  shift
done
for tool in cargo redis-server redis-cli taskset jq; do
  command -v "$tool" >/dev/null || fail "$tool is absent"
done
(($(nproc) >= 2)) || fail "the server and the generator need a core each"

# The server has its core alone; Redis has one too if there is a third.
server_core=0 load_core=1 redis_core=$(($(nproc) > 2 ? 2 : 1))
ticks=$(getconf CLK_TCK)
target=${CARGO_TARGET_DIR:-$PWD/target}/release
dir=$(mktemp -d)
pids=()
finish() {
  # Only what was started here.
  ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null && wait "${pids[@]}" 2>/dev/null
  rm -rf "$dir"
}
trap finish EXIT

cargo build --release --locked --quiet --bin tidegate
cargo build --release --locked --quiet --bin floor --features floor

mkdir -p "$dir/rules/bench/config"
cat >"$dir/rules/bench/config/bench.yaml" <<'RULES'
domain: bench
descriptors:
- key: user
  rate_limit: {unit: hour, requests_per_unit: 4000000000}
- key: refused
  rate_limit: {unit: year, requests_per_unit: 1}
RULES
mkdir -p "$dir/leased/bench/config"
cat >"$dir/leased/bench/config/bench.yaml" <<'RULES'
domain: bench
descriptors:
- key: user
  rate_limit: {unit: hour, requests_per_unit: 4000000000, accuracy: leased}
RULES

declare -A pid address redis_pid log

free_port() {
  local port
  while port=$((20000 + RANDOM % ${1:-12000})) && (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
  echo "$port"
}

# start NAME COMMAND...: on the server's core, with a free port in {}.
start() {
  local name=$1 port
  shift
  port=$(free_port)
  log[$name]=$dir/$name.log
  address[$name]=127.0.0.1:$port
  taskset -c $server_core "${@//\{\}/$port}" >"${log[$name]}" 2>&1 &
  pid[$name]=$!
  pids+=($!)
  for _ in {1..200}; do
    "$target/tidegate" hit --domain bench user=0 --hits 0 --server "${address[$name]}" &>/dev/null &&
      return
    kill -0 "${pid[$name]}" 2>/dev/null || break
    sleep 0.05
  done
  fail "$name does not answer:"$'\n'"$(tail -5 "${log[$name]}")"
}

# redis NAME: a Redis of its own for the server of that name.
redis() {
  taskset -c $redis_core redis-server --port 0 --unixsocket "$dir/$1.sock" --save '' \
    --appendonly no --dir "$dir" >/dev/null &
  redis_pid[$1]=$!
  pids+=($!)
  for _ in {1..200}; do
    redis-cli -s "$dir/$1.sock" ping &>/dev/null && return
    sleep 0.05
  done
  fail "the Redis of $1 does not answer"
}

# service NAME RULES PROGRAM VARIABLE=VALUE...: a server with the reference's variables.
service() {
  local name=$1 rules=$2 program=$3
  shift 3
  start "$name" env RUNTIME_ROOT="$dir/$rules" RUNTIME_SUBDIRECTORY=bench \
    RUNTIME_WATCH_ROOT=false HOST=127.0.0.1 GRPC_HOST=127.0.0.1 DEBUG_HOST=127.0.0.1 \
    PORT="$(free_port)" DEBUG_PORT="$(free_port)" GRPC_PORT='{}' LOG_LEVEL=warn \
    USE_STATSD=false TIDEGATE_DECISION_TIMEOUT=1s "$@" "$program"
}
redis_service() {
  local name=$1
  redis "$name"
  service "$@" BACKEND_TYPE=redis REDIS_TYPE=SINGLE REDIS_SOCKET_TYPE=unix \
    REDIS_URL="$dir/$name.sock"
}

# cluster: three nodes for all servers; one at a time is under load.
cluster() {
  local node port ports=()
  for node in 1 2 3; do
    port=$(free_port 2700) # the port of its bus is 10 000 above
    taskset -c $redis_core redis-server --port "$port" --bind 127.0.0.1 --cluster-enabled yes \
      --cluster-config-file "node-$node.conf" --unixsocket "$dir/node-$node.sock" --save '' \
      --appendonly no --dir "$dir" >/dev/null &
    redis_pid[cluster]+=" $!"
    pids+=($!)
    ports+=("127.0.0.1:$port")
  done
  for _ in {1..200}; do
    redis-cli --cluster create "${ports[@]}" --cluster-yes &>/dev/null && break
    sleep 0.05
  done
  seeds=$(IFS=, && echo "${ports[*]}")
  for _ in {1..200}; do
    redis-cli -s "$dir/node-3.sock" cluster info 2>&1 | grep -q cluster_state:ok && return
    sleep 0.05
  done
  fail 'the cluster does not come up'
}
cluster_service() {
  service "$1" rules "$2" BACKEND_TYPE=redis REDIS_TYPE=CLUSTER REDIS_URL="$seeds"
  redis_pid[$1]=${redis_pid[cluster]}
  modes+=("$3cluster, one key|$1|floor|$one" "$3cluster, 100 000 keys|$1|floor|$many"
    "$3cluster, ten desc.|$1|floor-ten|$ten")
}

start floor "$target/floor" '127.0.0.1:{}' 1
start floor-current "$target/floor" '127.0.0.1:{}' 1 current
start floor-ten "$target/floor" '127.0.0.1:{}' 10
service memory rules "$target/tidegate" BACKEND_TYPE=memory
redis_service redis rules "$target/tidegate"
redis_service refusals rules "$target/tidegate" LOCAL_CACHE_SIZE_IN_BYTES=16777216
redis_service leased leased "$target/tidegate"

# A mode: its title | its server | the floor it is compared with | arguments of the generator.
one='user=%k --keys 1'
many='user=%k --keys 100000'
ten='user=%k-%i --descriptors 10 --keys 1000'
refused='refused=%k --keys 1000'
modes=(
  "floor, current-thread|floor-current|floor|$one"
  "memory, one key|memory|floor|$one"
  "memory, 100 000 keys|memory|floor|$many"
  "memory, ten descriptors|memory|floor-ten|$ten"
  "redis, one key|redis|floor|$one"
  "redis, 100 000 keys|redis|floor|$many"
  "redis, ten descriptors|redis|floor-ten|$ten"
  "redis, refused|redis|floor|$refused"
  "redis, refused, cache on|refusals|floor|$refused"
)
thousand='user=%k --keys 1000'
modes+=("redis, leased, one key|leased|floor|$one" "redis, leased, 1000 keys|leased|floor|$thousand")
[[ -z $cluster ]] || { cluster && cluster_service cluster "$target/tidegate" ''; }
# observed NAME VARIABLE=VALUE...: servers that tell a collector, beside one that does not.
observed() {
  local title=$1 name=${1//[^[:alnum:]]/}
  shift
  service "memory-$name" rules "$target/tidegate" BACKEND_TYPE=memory "$@"
  redis_service "redis-$name" rules "$target/tidegate" "$@"
  modes+=("memory, $title|memory-$name|floor|$one" "redis, $title|redis-$name|floor|$one")
}
if [[ $observed ]]; then
  collector=$(free_port)
  taskset -c $load_core python3 benches/collector.py "$collector" &
  pids+=($!)
  otlp=(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="http://127.0.0.1:$collector/v1/traces"
    OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf OTEL_TRACES_SAMPLER=traceidratio)
  # Nothing shall be dropped: what is not sent costs nothing.
  roomy=(OTEL_BSP_MAX_QUEUE_SIZE=200000 OTEL_BSP_MAX_EXPORT_BATCH_SIZE=5000
    OTEL_BSP_SCHEDULE_DELAY=500)
  observed 'traces 0 %' "${otlp[@]}" OTEL_TRACES_SAMPLER_ARG=0
  observed 'traces 10 %' "${otlp[@]}" "${roomy[@]}" OTEL_TRACES_SAMPLER_ARG=0.1
  observed 'Sentry 10 %' SENTRY_DSN="http://key@127.0.0.1:$collector/1" SENTRY_TRACES_SAMPLE_RATE=0.1
fi
for build in "${builds[@]}"; do
  name=${build%%=*}
  [[ -z $cluster ]] || cluster_service "$name-cluster" "${build#*=}" "$name: "
  service "$name-memory" rules "${build#*=}" BACKEND_TYPE=memory
  redis_service "$name-redis" rules "${build#*=}"
  modes+=("$name: memory, one key|$name-memory|floor|$one"
    "$name: redis, one key|$name-redis|floor|$one"
    "$name: redis, ten desc.|$name-redis|floor-ten|$ten")
done
for peer in "${peers[@]}"; do
  name=${peer%%=*}
  redis_service "$name" rules "${peer#*=}"
  modes+=("$name: one key|$name|floor|$one" "$name: 100 000 keys|$name|floor|$many"
    "$name: ten descriptors|$name|floor-ten|$ten" "$name: refused|$name|floor|$refused")
done

load() { # SERVER ARGUMENTS...
  local server=$1
  shift
  taskset -c $load_core "$target/tidegate" load --domain bench --server "${address[$server]}" \
    --warm-up 0s --json "$@"
}

# User and system time of processes in ticks.
cpu() {
  local file=("${@/#//proc/}")
  awk '{sub(/.*\) /, ""); user += $12; sys += $13} END {print user, sys}' "${file[@]/%//stat}"
}

# Commands that Redis has run, and those of them that a client sent: Redis counts what runs
# inside a script too, so where there are scripts, they are what was sent.
commands() {
  local socket
  for socket in $(compgen -G "$dir/$1.sock" || compgen -G "$dir/node-*.sock"); do
    redis-cli -s "$socket" info commandstats
  done | tr -d '\r' | awk -F'[:=,]' '
    /^cmdstat_(info|ping|hello|client|command|config|select|cluster)/ {next}
    /^cmdstat_/ {all += $3}
    /^cmdstat_(eval|fcall)/ {scripts += $3}
    END {print all + 0, (scripts ? scripts : all) + 0}'
}

# measure TITLE SERVER FLOOR ARGUMENTS...: appends a line to $dir/results.
measure() {
  local title=$1 server=$2 floor=$3 result before after
  local redis_before='0 0' redis_after='0 0' commands_before='0 0' commands_after='0 0'
  local redis=${redis_pid[$server]-}
  shift 3
  if [[ $redis ]]; then
    # shellcheck disable=SC2086
    redis_before=$(cpu $redis) commands_before=$(commands "$server")
  fi
  before=$(cpu "${pid[$server]}")
  result=$(load "$server" --duration "${seconds}s" "$@")
  after=$(cpu "${pid[$server]}")
  if [[ $redis ]]; then
    # shellcheck disable=SC2086
    redis_after=$(cpu $redis) commands_after=$(commands "$server")
  fi
  result=$(jq -r '[.calls, .failed, .rate, .latency_us.p50, .latency_us.p99, .cpu_busy] | @tsv' \
    <<<"$result")
  awk -v OFS='|' -v title="$title" -v server="$server" -v floor="$floor" -v round="$round" \
    -v rss="$(awk '/^VmRSS/ {print $2}' "/proc/${pid[$server]}/status")" -v ticks="$ticks" '
    {
      calls = $1; us = 1e6 / ticks / calls
      user = ($9 - $7) * us; system_ = ($10 - $8) * us
      redis = ($13 + $14 - $11 - $12) * us
      print round, title, server, floor, user, system_, redis, ($17 - $15) / calls,
        ($18 - $16) / calls, $3, $4, $5, $6, rss, $2
    }' <<<"$result $before $after $redis_before $redis_after $commands_before $commands_after" \
    >>"$dir/results"
}

run_floors() {
  # shellcheck disable=SC2086
  { measure floor floor floor $one && measure 'floor, ten descriptors' floor-ten floor-ten $ten; }
}

printf 'server on cpu %s, generator on cpu %s, Redis on cpu %s; %s rounds of %s s; ' \
  $server_core $load_core $redis_core "$rounds" "$seconds"
printf '8 connections x 16 calls in flight\n'
for mode in "floor|floor|floor|$one" "ten|floor-ten||$ten" "${modes[@]}"; do
  IFS='|' read -r _ server _ arguments <<<"$mode"
  # shellcheck disable=SC2086
  load "$server" --duration 0.5s $arguments >/dev/null 2>&1 || true # warm up
done 2>/dev/null
for ((round = 1; round <= rounds; round++)); do
  run_floors
  for ((i = 0; i < ${#modes[@]}; i++)); do
    IFS='|' read -r title server floor arguments <<<"${modes[i]}"
    # shellcheck disable=SC2086
    measure "$title" "$server" "$floor" $arguments
    ((i == ${#modes[@]} / 2)) && run_floors
  done
  run_floors
done

# Latency away from the peak, once: at half of what the first peer reaches with one key, or
# what envoyproxy/ratelimit has reached on a machine like this one.
if ((${#peers[@]})); then
  rate=$(awk -F'|' -v title="${peers[0]%%=*}: one key" '
    $2 == title {sum += $10; lines++} END {printf "%d", sum / lines / 2}' "$dir/results")
fi
for mode in "floor|floor||$one" "floor, ten descriptors|floor-ten||$ten" "${modes[@]}"; do
  IFS='|' read -r title server _ arguments <<<"$mode"
  # shellcheck disable=SC2086
  load "$server" --duration "${seconds}s" --rate $rate $arguments |
    jq -r --arg title "$title" '[$title, .latency_us.p50, .latency_us.p99] | map(tostring) | join("|")'
done >"$dir/open"

awk -F'|' -v rate=$rate '
  function median(list, n,    i, j, t, sorted) {
    for (i = 1; i <= n; i++) {
      t = list[i]
      for (j = i - 1; j > 0 && sorted[j] > t; j--) sorted[j + 1] = sorted[j]
      sorted[j + 1] = t
    }
    least = sorted[1]; most = sorted[n]
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
  }
  # The median of a column over the lines of a title, of one round or of all.
  function of(title, column, round,    i, n, list) {
    for (i = 1; i <= lines; i++)
      if (cell[i, 2] == title && (!round || cell[i, 1] == round)) list[++n] = cell[i, column]
    return median(list, n)
  }
  FILENAME ~ /open$/ {open50[$1] = $2; open99[$1] = $3; next}
  {
    lines++
    for (i = 1; i <= NF; i++) cell[lines, i] = $i
    cell[lines, 16] = $5 + $6
    if (!($2 in seen)) {seen[$2]; order[++titles] = $2; floor_of[$2] = $4}
    if ($1 > rounds) rounds = $1
    failed += $15
  }
  END {
    printf "\n%-30s %7s %12s %6s %5s %5s %6s %6s %6s %8s %6s %7s %6s %7s %6s %5s\n", "", "x floor",
      "(spread)", "us", "user", "sys", "Redis", "sent", "run", "peak/s", "p50", "p99", "p50", "p99",
      "RSS", "load"
    printf "%-30s %7s %12s %6s %5s %5s %6s %6s %6s %8s %6s %7s %14s %6s %5s\n", "", "", "",
      "/req", "", "", "us", "cmds", "cmds", "", "us", "us", "us at " rate "/s", "MB", "busy"
    for (t = 1; t <= titles; t++) {
      title = order[t]
      base = floor_of[title] == "floor" ? "floor" : "floor, ten descriptors"
      for (r = 1; r <= rounds; r++) ratio[r] = of(title, 16, r) / of(base, 16, r)
      middle = median(ratio, rounds); spread = sprintf("%.2f-%.2f", least, most)
      printf "%-30s %7.2f %12s %6.1f %5.1f %5.1f %6.1f %6.2f %6.2f %8.0f %6.0f %7.0f %6.0f %7.0f %6.1f %4.0f%%\n",
        title, middle, spread, of(title, 16), of(title, 5), of(title, 6), of(title, 7), of(title, 9),
        of(title, 8), of(title, 10), of(title, 11), of(title, 12), open50[title], open99[title],
        of(title, 14) / 1024, of(title, 13) * 100
    }
    if (failed) printf "%d calls got no decision: these figures are not to be used\n", failed
  }' "$dir/open" "$dir/results"
