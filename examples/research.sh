#!/usr/bin/env bash
# The main job (examples/research.cc): starts it, kills it with SIGKILL when 25 to 75 % of its steps
# are recorded, starts it again, approves what it wants to publish, and holds its history against its ledger.
# Built by examples/run.sh. Exit status 1 when anything is off.
set -euo pipefail
cd "$(dirname "$0")/.."

research=${RESEARCH:-build/release/examples/research}
work=$(mktemp -d)
process=
trap '[[ -n $process ]] && kill -KILL "$process" 2>/dev/null; rm -rf "$work"' EXIT

db=$work/research.db ledger=$work/ledger report=$work/report.md shown=$work/report.md.shown
files=(docs/*.md)
while read -r file; do files+=("$file"); done < <(find /usr/share/common-licenses -type f | sort)
# Condense; the editor is asked three times, and publishes; its stream: an approval, its decision, and the end.
steps=$((${#files[@]} + 8))
most=$steps
[[ ${OPENAI_BASE_URL:-} ]] && most=$((steps * 2))  # a real model may want more

fail() { echo "main job: FAILED: $*"; exit 1; }
start() { "$research" run "$db" "$ledger" "$report" "${files[@]}" & process=$!; }

# Waits until the ledger has COUNT ends of steps named like PATTERN; up to a minute.
await_ends() {  # PATTERN COUNT
  local deadline=$((SECONDS + 60))
  until [[ -f $ledger ]] && (($(grep -c " end .* $1" "$ledger") >= $2)); do
    kill -0 "$process" 2>/dev/null || fail "the process ended by itself"
    ((SECONDS < deadline)) || fail "nothing happens (waiting for $2 of '$1')"
    sleep 0.01
  done
}

((${#files[@]} >= 20)) || fail "only ${#files[@]} files to read"

# A slow machine may be late with the kill: then once more, from the beginning.
for ((try = 1; ; ++try)); do
  start
  await_ends Editor/tool/digest $((steps / 2))
  kill -KILL "$process"
  { wait "$process" || true; } 2>/dev/null
  "$research" export "$db" >"$work/at_kill" || fail "the file cannot be read after the kill"
  cp "$shown" "$work/shown_at_kill" || fail "nothing was shown before the kill"
  recorded=$(grep -c ActivityCompleted "$work/at_kill" || true)
  ((recorded * 4 >= steps && recorded * 4 <= steps * 3)) && break
  ((try < 5)) || fail "killed with $recorded of $steps steps recorded, five times"
  echo "killed with $recorded of $steps steps recorded: once more"
  rm -f "$work"/*
done
echo "killed process $process with $recorded of $steps steps recorded; started it again"

start
await_ends Condense 1
"$research" approve "$db" || fail "the approval was not taken"
wait "$process" || fail "the second process ended badly"
process=
"$research" export "$db" >"$work/at_end"

# What FILE had at the kill, line by line, is how it begins now.
goes_on() {  # AT_KILL NOW
  local lines
  lines=$(wc -l <"$1")
  ((lines > 0)) && cmp -s <(head -n "$lines" "$1") <(head -n "$lines" "$2")
}

goes_on "$work/at_kill" "$work/at_end" || fail "history has changed behind the kill"
[[ $(tail -n 1 "$work/at_end") == *" WorkflowCompleted -" ]] || fail "the run has not completed"
for event in TimerFired SignalReceived; do
  grep -q " $event " "$work/at_end" || fail "the history has no $event"
done
[[ $(grep -c '^## ' "$report") == "${#files[@]}" ]] || fail "the report has not all files"
goes_on "$work/shown_at_kill" "$shown" || fail "what was shown has changed behind the kill"
awk '$1 <= last { exit 1 } { last = $1 }' "$shown" || fail "something was shown twice"
awk -v steps="$steps" -v most="$most" -f examples/research.awk "$work/at_kill" "$work/at_end" "$ledger"
