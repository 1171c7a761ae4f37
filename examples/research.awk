# Holds a ledger against a history: prints the timeline of all executions, and the last line of
# the main job.
#   awk -v steps=N -v most=M -f research.awk HISTORY_AT_KILL HISTORY_AT_END LEDGER
# N to M steps are recorded, of which 25 to 75 % were when it was killed.
# History: time, event id, type, step.
# Ledger: time, begin or end, step, attempt, process, activity, what.
FNR == 1 { ++file }
file < 3 && $3 == "ActivityCompleted" {
  if (file == 1) at_kill[$4] = 1
  else { recorded_at[$4] = $1; ++recorded }
}
file < 3 { next }

!process_of[$5]++ { processes[++process_count] = $5 }
$2 == "begin" {
  if (!start) start = $1
  execution = ++executions
  open[$5, $3] = execution
  began[execution] = $1; step[execution] = $3; process[execution] = $5; what[execution] = $6 " " $7
  if (process_count == 2) begun_again[$3] = 1
  else begun_before[$3] = 1
  # Its result was in history, at the kill or by the clock, and yet it began.
  if (process_count == 2 && $3 in at_kill || $3 in recorded_at && $1 > recorded_at[$3]) ++repeated
}
$2 == "end" { ended[open[$5, $3]] = $1 }

END {
  for (i = 1; i <= executions; ++i) {
    if (i > 1 && process[i] != process[i - 1]) print "           -- SIGKILL, restart --"
    took = i in ended ? sprintf("%6.0f ms", (ended[i] - began[i]) / 1000) : "cut off  "
    printf "%8.3f s %s  process %d  %s\n", (began[i] - start) / 1e6, took,
           process[i] == processes[1] ? 1 : 2, what[i]
  }
  for (key in at_kill) {
    ++killed
    if (!(key in begun_again)) ++resumed
  }
  for (key in begun_again) if (key in begun_before && !(key in at_kill)) ++rerun
  ok = recorded >= steps && recorded <= most && killed * 4 >= recorded && killed * 4 <= recorded * 3 &&
       resumed >= 5 && repeated == 0 && process_count == 2
  printf "main job: %s, %d steps, %d resumed, %d repeated, %d rerun\n", ok ? "ok" : "FAILED",
         recorded, resumed, repeated, rerun
  exit !ok
}
