#!/usr/bin/env bash
# Redis, an SQS server, two workers and a client (examples/fleet.cc), each a process on this machine:
# starts all of them, kills one worker half-way with SIGKILL, and holds what the client prints against what it
# asked for. Needs no AWS: the server is that of the tests. Exit status 1 when anything is off.
set -euo pipefail
cd "$(dirname "$0")/.."

cmake/cell.sh release fleet
fleet=build/release/examples/fleet
work=$(mktemp -d)
processes=()
trap 'kill -KILL "${processes[@]}" 2>/dev/null; rm -rf "$work"' EXIT

fail() {
  echo "fleet: FAILED: $*"
  tail -n 20 "$work"/*.log
  exit 1
}
# Waits until LOG has a line like PATTERN, up to a minute.
await() {  # LOG PATTERN
  local deadline=$((SECONDS + 60))
  until grep -q "$2" "$work/$1.log" 2>/dev/null; do
    ((SECONDS < deadline)) || fail "$1 does not say '$2'"
    sleep 0.01
  done
}
start() { "${@:2}" >>"$work/$1.log" 2>&1 & processes+=($!); }  # LOG COMMAND...

# Everything that was acknowledged is on disk, whatever is killed.
redis-server --port 0 --unixsocket "$work/redis" --dir "$work" --save '' \
  --appendonly yes --appendfsync always >"$work/redis.log" 2>&1 & processes+=($!)
tests/sqs_server.sh --install-only
tail -f /dev/null --pid=$$ | tests/sqs_server.sh >"$work/sqs.log" 2>&1 & processes+=($!)
disown -a  # their ends are no news
await redis 'eady to accept connections'
await sqs '^ready '
port=$(sed -n 's/^ready //p' "$work/sqs.log")

# The keys that server knows; with AWS they come from where AWS puts them (docs/sqs.md).
export AWS_ACCESS_KEY_ID=AKIDMARATHON AWS_SECRET_ACCESS_KEY=marathon/secret+for=tests
queue=sqs://eu-west-1/123456789012/fleet?create=true\&endpoint=http%3A%2F%2F127.0.0.1%3A$port
url=redis:$work/redis?queue=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.quote(sys.argv[1], safe=""))' "$queue")

# The first worker begins alone, and is killed long before all is done: so both have worked.
"$fleet" worker "$url" >"$work/worker1.log" 2>&1 & first=$! processes+=($!)
await worker1 ready
texts=()
for i in $(seq 48); do texts+=("Text $i"); done
"$fleet" client "$url" batch "${texts[@]}" >"$work/client.log" 2>&1 & client=$! processes+=($!)
await client '^Text 1:'
"$fleet" worker "$url" >"$work/worker2.log" 2>&1 & second=$! processes+=($!)
await client '^Text 4:'
kill -KILL "$first"
echo "fleet: killed worker $first when four of ${#texts[@]} texts were there"
wait "$client" || fail "the client ended badly"
cat "$work/client.log"

[[ $(grep -c '^Text ' "$work/client.log") == "${#texts[@]}" ]] || fail "texts are missing"
by_first=$(grep -c "by worker $first$" "$work/client.log" || true)
by_second=$(grep -c "by worker $second$" "$work/client.log" || true)
((by_first + by_second == 3 * ${#texts[@]})) || fail "translations are missing"
((by_first > 0 && by_second > 0)) || fail "only one worker has worked"
"$fleet" client "$url" batch "${texts[@]}" | cmp -s - "$work/client.log" || fail "asked again, it is not the same"
kill -TERM "$second"
wait "$second" || fail "the worker ended badly"
echo "fleet: ${#texts[@]} texts, $by_first translations by the worker that was killed, $by_second by the other"
