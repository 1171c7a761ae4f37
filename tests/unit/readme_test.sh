# The README is short, its program is examples/hello.cc, and what it and the documents link to exists.
set -euo pipefail
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"

status=0
fault() { echo "$*"; status=1; }

(($(wc -l <README.md) < 200)) || fault "README.md has 200 lines or more"

awk '/^```/ { if (inside) exit; inside = /^```cpp$/; next } inside' README.md |
  diff -u examples/hello.cc - || fault "README.md: its program is not examples/hello.cc"

for file in README.md docs/*.md; do
  for link in $(awk '/^```/ { inside = !inside } !inside' "$file" | grep -oP '\]\(\K[^)#:]+(?=[#)])'); do
    [[ -e $(dirname "$file")/$link ]] || fault "$file: there is no $link"
  done
done
exit $status
