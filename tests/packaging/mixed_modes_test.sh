# A program whose files take Marathon in both modes fails to link, instead of misbehaving: each mode
# has its own inline namespace.
. "$(dirname "$0")/lib.sh"
cd "$work"

cat >use.cc <<'END'
#include <marathon/ids.h>
int Use(const marathon::RunKey& key);
int main() { return Use({}); }
END
cat >define.cc <<'END'
#include <marathon/ids.h>
int Use(const marathon::RunKey& key) { return static_cast<int>(key.run_id.size()); }
END

build() { "$CXX" -std=c++20 -I "$SOURCE_DIR/include" "$@"; }
build -c use.cc -o use.o
build -c define.cc -o same.o
build -c -DMARATHON_COMPILED define.cc -o other.o
"$CXX" use.o same.o -o same
if "$CXX" use.o other.o -o mixed 2>link.log; then
  echo "mixing the two modes links"
  exit 1
fi
grep 'undefined reference.*header_only_v0' link.log
