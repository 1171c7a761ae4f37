# What some documents show compiles: their cpp blocks, put together, are a program each.
set -euo pipefail
cd "${SOURCE_DIR:-$(dirname "$0")/../..}"

for document in guide llm testing writing_an_adapter; do
  echo "docs/$document.md"
  awk '/^```/ { inside = /^```cpp$/; next } inside' "docs/$document.md" |
    ${CXX:-g++} -std=c++20 -Wall -Wextra -Werror -DMARATHON_COMPILED -I include -fsyntax-only -x c++ -
done
