# What some documents show compiles: their cpp blocks, put together, are a program each.
set -euo pipefail
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"

compile=("${CXX:-g++}" -std=c++20 -Wall -Wextra -Werror -DMARATHON_COMPILED -I include)
precompiled=$(mktemp -d)  # what all of them include
trap 'rm -rf "$precompiled"' EXIT
echo '#include "marathon/marathon.h"' >"$precompiled/pch.h"
"${compile[@]}" -x c++-header "$precompiled/pch.h" -o "$precompiled/pch.h.gch"

for document in guide llm agents testing writing_an_adapter; do
  echo "docs/$document.md"
  awk '/^```/ { inside = /^```cpp$/; next } inside' "docs/$document.md" |
    "${compile[@]}" -include "$precompiled/pch.h" -fsyntax-only -x c++ -
done
