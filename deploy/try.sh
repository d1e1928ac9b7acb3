#!/usr/bin/env bash
# The tour: Redis, Tidegate, an upstream and a real Envoy as plain processes of this machine,
# on free ports. It sends requests until one is refused, changes a rule while all runs, and
# stops everything it started.
#
#   deploy/try.sh [BINARY]
#
# BINARY is a tidegate that is built already; without it a debug build is made. What is absent
# of redis-server, python3 and curl is installed by apt-get, and Envoy into target/tools.
set -euo pipefail
called_from=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tests/tools.sh

work=$(mktemp -d)
started=()

# Stops what was started, in reverse order, and leaves nothing behind.
stop() {
  local status=${broken_off:-$?} i
  trap - EXIT
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    # Whoever stopped by himself, or is still coming up, is no reason to leave the others.
    kill -TERM "${started[i]}" 2>/dev/null || true
  done
  for ((i = ${#started[@]} - 1; i >= 0; i--)); do
    for _ in {1..100}; do
      kill -0 "${started[i]}" 2>/dev/null || break
      sleep 0.05
    done
    kill -KILL "${started[i]}" 2>/dev/null || true
    wait "${started[i]}" 2>/dev/null || true
  done
  if [[ $status -ne 0 ]]; then
    for log in "$work"/*.log; do
      [[ -s $log ]] && printf '\n%s says:\n' "$(basename "$log" .log)" >&2 && tail -n 20 "$log" >&2
    done
  fi
  rm -rf "$work"
  if [[ $status -eq 0 && ${#started[@]} -gt 0 ]]; then
    say stopped "all of it"
  fi
  exit "$status"
}
trap stop EXIT
trap 'broken_off=130; exit' INT
trap 'broken_off=143; exit' TERM HUP

say() { printf '%-10s %s\n' "$1" "$2"; }

# start NAME COMMAND...: in the background, with a log of its own.
start() {
  local name=$1
  shift
  "$@" >"$work/$name.log" 2>&1 </dev/null &
  started+=($!)
}

# until_ok COMMAND...: again and again, for 20 seconds at most; not longer than what was
# started last lives.
until_ok() {
  local end=$((SECONDS + 20))
  until "$@" &>/dev/null; do
    kill -0 "${started[-1]}" 2>/dev/null || fail "what was started last has ended before this worked: $*"
    ((SECONDS < end)) || fail "in vain waited for: $*"
    sleep 0.05
  done
}

# Ports that are free now.
free_ports() {
  python3 -c '
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in sockets))' "$1"
}

# request USER: one checkout; shows its status and what the answer says of the limit. Leaves
# the status in $status.
request() {
  local answer remaining
  answer=$(curl --silent --max-time 10 --output /dev/null --dump-header - \
    --header "x-user: $1" "http://127.0.0.1:$edge/checkout" | tr -d '\r')
  status=$(awk 'NR == 1 {print $2}' <<<"$answer")
  remaining=$(awk 'tolower($1) ~ /^x-(ratelimit-(limit|remaining|reset)|envoy-ratelimited):$/ {
    sub(/,$/, "", $2); printf "%s%s %s", (n++ ? ", " : ""), tolower($1), $2 }' <<<"$answer")
  printf '           %s  %s\n' "$status" "$remaining"
}

expect() {
  [[ $status == "$1" ]] || fail "the answer should have been $1, not $status"
}

# is_in TEXT URL
is_in() { curl --silent --max-time 5 "$2" | grep --quiet --fixed-strings "$1"; }

need python3
need curl
need redis-server
need_envoy

if [[ $# -gt 0 ]]; then
  tidegate=$(cd "$called_from" && realpath "$1")
else
  has cargo || fail "cargo is absent; install Rust first, or name a binary of tidegate"
  say building "a debug build; the first one takes some minutes"
  cargo build --locked --quiet --bin tidegate
  tidegate=${CARGO_TARGET_DIR:-$PWD/target}/debug/tidegate
fi
[[ -x $tidegate ]] || fail "$tidegate is no program"

read -r redis grpc http debug upstream edge admin <<<"$(free_ports 7)"

start redis redis-server --port "$redis" --bind 127.0.0.1 --save '' --dir "$work"
until_ok redis-cli -p "$redis" ping
say redis "127.0.0.1:$redis counts"

mkdir -p "$work/rules/config" "$work/upstream"
cp deploy/rules/example.yaml "$work/rules/config/"
# By default a decision waits 10 ms for Redis; a slow or busy machine shall show the same tour.
start tidegate env RUNTIME_ROOT="$work/rules" REDIS_URL="127.0.0.1:$redis" USE_STATSD=false \
  HOST=127.0.0.1 PORT="$http" GRPC_HOST=127.0.0.1 GRPC_PORT="$grpc" DEBUG_PORT="$debug" \
  TIDEGATE_DECISION_TIMEOUT=4s TIDEGATE_STORE_TIMEOUT=4s TIDEGATE_DRAIN_DELAY=0 "$tidegate"
until_ok "$tidegate" health --server "127.0.0.1:$grpc" --timeout 1
say tidegate "127.0.0.1:$grpc decides by deploy/rules/example.yaml: $("$tidegate" health --server "127.0.0.1:$grpc")"

echo bought >"$work/upstream/checkout"
start upstream python3 -m http.server --bind 127.0.0.1 --directory "$work/upstream" "$upstream"
until_ok curl --silent --fail "http://127.0.0.1:$upstream/checkout"
say upstream "127.0.0.1:$upstream sells"

# For the same reason Envoy has more patience than by its example.
sed -e "s/port_value: 9901}/port_value: $admin}/" -e "s/port_value: 10000}/port_value: $edge}/" \
  -e "s/port_value: 8081}/port_value: $grpc}/" -e "s/port_value: 8000}/port_value: $upstream}/" \
  -e 's/address: 0\.0\.0\.0/address: 127.0.0.1/' -e 's/^\( *\)timeout: 0\.25s$/\1timeout: 5s/' \
  deploy/envoy/envoy.yaml >"$work/envoy.yaml"
start envoy "$ENVOY_BIN" --config-path "$work/envoy.yaml" --disable-hot-restart --concurrency 1 \
  --log-level warning
until_ok is_in LIVE "http://127.0.0.1:$admin/ready"
until_ok is_in "ratelimit::127.0.0.1:$grpc::health_flags::healthy" "http://127.0.0.1:$admin/clusters"
say envoy "127.0.0.1:$edge asks tidegate before it lets a request pass"

# The window is the minute of the clock: all of this shall happen in one.
left=$((60 - $(date +%s) % 60))
if ((left < 8)); then
  say waiting "$left s, for the next minute"
  sleep "$left"
fi

say requests "of alice for /checkout; the rule says 2 a minute"
for expected in 200 200 429; do
  request alice
  expect "$expected"
done
say refused "and the upstream never saw it; bob is not concerned:"
request bob
expect 200

sed -i 's/requests_per_unit: 2, name: checkout/requests_per_unit: 4, name: checkout/' \
  "$work/rules/config/example.yaml"
until_ok is_in 'requests_per_unit=4' "http://127.0.0.1:$debug/rlconfig"
say reload "the file of rules says 4 a minute now, and nothing was restarted:"
request alice
expect 200
