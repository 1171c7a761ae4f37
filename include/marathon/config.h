// Build configuration: how the library was taken (compiled or header-only), and the macros that
// follow from it.
//
// Every header opens its namespace as `namespace marathon::inline MARATHON_ABI { ... }` (details:
// `namespace marathon::inline MARATHON_ABI::detail { ... }`). The inline namespace differs between
// the two modes, so a program that mixes them fails to link instead of breaking the one-definition
// rule in silence.
#pragma once

#if defined(__clang__) && __clang_major__ < 15
#error "Marathon needs clang 15 or newer or g++ 12 (older coroutines are incomplete)."
#endif

#if !defined(__cpp_exceptions)
#error "Marathon needs exceptions: remove -fno-exceptions (RTTI is not needed)."
#endif

#if !defined(__cpp_impl_coroutine)
#error "Marathon needs C++20 coroutines: compile with -std=c++20 or newer."
#endif

// MARATHON_COMPILED is defined by the CMake target marathon::marathon: the bodies in x-inl.h are
// compiled once, in src/. Without it x.h includes x-inl.h itself and every body is inline.
#ifdef MARATHON_COMPILED
#define MARATHON_INLINE
#define MARATHON_ABI compiled_v0
#else
#define MARATHON_INLINE inline
#define MARATHON_ABI header_only_v0
#endif

// The library is built with hidden visibility; what a user may link to is marked.
#if defined(__GNUC__)
#define MARATHON_EXPORT __attribute__((visibility("default")))
#else
#define MARATHON_EXPORT
#endif

// MARATHON_MUTANT("name") is a deliberate protocol bug that the simulator must find. It is the
// constant `false`, and so absent from the program, except in the test builds that define
// MARATHON_WITH_MUTANTS and choose one by name at run time.
#ifdef MARATHON_WITH_MUTANTS
#include <string_view>
namespace marathon::inline MARATHON_ABI::detail {
MARATHON_EXPORT bool MutantActive(std::string_view name);  // true when `name` is the one chosen
}
#define MARATHON_MUTANT(name) (::marathon::detail::MutantActive(name))
#else
#define MARATHON_MUTANT(name) false
#endif
