#!/usr/bin/env bash
# Checks one must-not-compile test: check.sh FILE COMPILER FLAGS...
#
# The file compiles as it stands. With -DCASE_x, for each `#ifdef CASE_x` in it, it does not, and
# the compiler's message matches the regex (grep -E) of the case's own line, or of the first line:
#   // expect: await only Marathon's awaitables
#   #ifdef CASE_pointer  // expect: cannot be encoded
#   #ifdef CASE_aggregate  // gcc12-only  expect: name the input
set -uo pipefail

file=$1
shift
compile=("$@" -fsyntax-only "$file")
family=gcc
"$1" --version | grep -q clang && family=clang
default=$(sed -n '1s|^// expect: *||p' "$file")
failed=0
fail() { echo "$file: $1"; failed=1; }

output=$("${compile[@]}" 2>&1) || { fail "does not compile without a case"; echo "$output"; }

while read -r line; do
  case_name=$(grep -oE 'CASE_\w+' <<<"$line")
  case $line in
    *"// gcc12-only"*) [[ $family == gcc ]] && (($(${compile[0]} -dumpversion | cut -d. -f1) < 13)) || continue ;;
    *"// clang-only"*) [[ $family == clang ]] || continue ;;
  esac
  expect=$default
  [[ $line == *expect:* ]] && expect=$(sed 's/.*expect: *//' <<<"$line")
  [[ -n $expect ]] || { fail "$case_name: no '// expect: regex'"; continue; }
  if output=$("${compile[@]}" "-D$case_name" 2>&1); then
    fail "$case_name: compiles, and should not"
  elif ! grep -qE -- "$expect" <<<"$output"; then
    fail "$case_name: the message does not match '$expect':"
    head -40 <<<"$output"
  else
    echo "$file: $case_name: refused as expected"
  fi
done < <(grep -E '^\s*#\s*ifdef CASE_' "$file")
exit $failed
