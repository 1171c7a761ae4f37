#!/usr/bin/env bash
# Runs an example, which is to say what is kept of it:
#   tests/example.sh PROGRAM TEXT    TEXT is a file; with MARATHON_REGENERATE_GOLDEN=1 it is written
# Left out is what is another each time, or with another engine.
set -euo pipefail

output=$("$1" | sed -E '
  s/^order [0-9a-f-]{36} of .*, who threw [1-6]$/order ID of USER, who threw N/
  s/[0-9]+ crashes, [0-9]+ of [0-9]+ attempts/N crashes, N of N attempts/; s/\(seed [0-9]+/(seed N/')
if [[ ${MARATHON_REGENERATE_GOLDEN:-} == 1 ]]; then
  echo "$output" >"$2"
else
  diff -u "$2" - <<<"$output"
fi
