#include "marathon/testing/mutants.h"

#include <cstdio>
#include <cstdlib>

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
  for (std::string_view known : kMutants) {
    if (known == name) {
      active_mutant = known;
      return;
    }
  }
  std::fprintf(stderr, "no mutant \"%.*s\"\n", static_cast<int>(name.size()), name.data());
  std::abort();
}

}  // namespace testing
}  // namespace marathon::inline MARATHON_ABI
