// The library's version and build mode, as a user's translation unit sees them.
// program: values
#include "marathon/version.h"

#include <gtest/gtest.h>

#include "marathon/config.h"

namespace marathon::version_test {

TEST(VersionTest, IsTheFirstRelease) {
  EXPECT_EQ(MARATHON_VERSION_MAJOR, 0);
  EXPECT_EQ(MARATHON_VERSION_MINOR, 1);
  EXPECT_EQ(MARATHON_VERSION_PATCH, 0);
}

TEST(VersionTest, MutantsAreAbsentUnlessBuiltIn) {
#ifndef MARATHON_WITH_MUTANTS
  static_assert(!MARATHON_MUTANT("any"), "a constant, so that nothing of it reaches a binary");
#endif
}

}  // namespace marathon::version_test
