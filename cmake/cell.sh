#!/usr/bin/env bash
# Configures and builds one cell, a named way to build, in build/<cell>:
#   cmake/cell.sh CELL [TARGET...]
# Cells are the files cmake/cells/<cell>.cmake. Installs what is missing first.
set -euo pipefail
cd "$(dirname "$0")/.."

cell=${1:-}
file=cmake/cells/$cell.cmake
if [[ ! -f $file ]]; then
  echo "usage: cmake/cell.sh CELL [TARGET...]; cells:" $(basename -s .cmake cmake/cells/*) >&2
  exit 2
fi
shift

extras=()
grep -q 'clang++-19' "$file" && extras+=(clang)
[[ $cell == clang-tidy ]] && extras+=(tidy)
cmake/setup.sh "${extras[@]}"

# A changed cell file starts the cell afresh: a cache keeps the values it was first given.
if [[ ! -f build/$cell/build.ninja || $file -nt build/$cell/CMakeCache.txt ]]; then
  cmake --fresh -G Ninja -C "$file" -S . -B "build/$cell"
fi
exec cmake --build "build/$cell" --parallel "$(nproc)" ${*:+--target "$@"}
