# The README is short, its program is examples/hello.cc, each row of what works has a link, and what it and the documents
# link to exists: files, and headings in them.
set -euo pipefail
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"

status=0
fault() { echo "$*"; status=1; }
prose() { awk '/^```/ { inside = !inside; next } !inside' "$1"; }
# As GitHub names headings: in lower case, without punctuation, with hyphens for spaces.
anchors() { prose "$1" | sed -nE 's/^#+ +//; T; s/.*/\L&/; s/[^a-z0-9 _-]//g; s/ /-/g; p'; }

(($(wc -l <README.md) < 200)) || fault "README.md has 200 lines or more"

awk '/^```/ { if (inside) exit; inside = /^```cpp$/; next } inside' README.md |
  diff -u examples/hello.cc - || fault "README.md: its program is not examples/hello.cc"

rows=$(awk '/^## / { inside = /^## What works$/ } inside && /^\| [^|]/' README.md)
[[ $rows ]] || fault "README.md: what works has no rows"
while read -r row; do
  [[ $row == *"]("* ]] || fault "README.md: no link in this row: $row"
done <<<"$rows"

for file in README.md docs/*.md; do
  for link in $(prose "$file" | grep -oP '\]\(\K[^):]+(?=\))'); do
    target=$(dirname "$file")/${link%%#*}
    [[ $link != \#* ]] || target=$file
    if [[ ! -e $target ]]; then
      fault "$file: there is no $link"
    elif [[ $link == *#* ]] && ! anchors "$target" | grep -xF -e "${link#*#}" >/dev/null; then
      fault "$file: no heading for $link"
    fi
  done
done
exit $status
