#include "marathon/testing/mutants.h"

#include <cstdio>
#include <cstdlib>
#include <span>

namespace marathon::inline MARATHON_ABI {

namespace {
std::string_view active_mutant;  // one of kMutants, or empty
}

#ifdef MARATHON_WITH_MUTANTS
namespace detail {
bool MutantActive(std::string_view name) { return name == active_mutant; }
}  // namespace detail
#endif

namespace testing {

void SetMutant(std::string_view name) {
  if (name.empty()) {
    active_mutant = {};
    return;
  }
  for (const std::span<const std::string_view> all :
       {std::span<const std::string_view>(kMutants), std::span<const std::string_view>(kTailMutants)}) {
    for (const std::string_view known : all) {
      if (known != name) continue;
      active_mutant = known;
      return;
    }
  }
  std::fprintf(stderr, "no mutant \"%.*s\"\n", static_cast<int>(name.size()), name.data());
  std::abort();
}

}  // namespace testing
}  // namespace marathon::inline MARATHON_ABI
