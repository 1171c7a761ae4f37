// Precompiled for every test program: what nearly all of them include anyway. A test still includes
// what it uses; that our own headers stand alone is proved by the verified header sets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#if __has_include("marathon/marathon.h")
#include "marathon/marathon.h"
#endif
