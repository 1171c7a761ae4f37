// Names of activities, signals and queries with the types they take and give, and Outcome, a result or a failure
// as a value. Values; no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>

#include "marathon/config.h"
#include "marathon/failure.h"

namespace marathon::inline MARATHON_ABI {

// `inline constexpr ActivityDef<Out(In)> kCharge{"Charge"};` or `Out()`. The name is persisted; the
// types live at compile time only.
template <class Signature>
struct ActivityDef;
template <class Out, class In>
struct ActivityDef<Out(In)> {
  std::string_view name;
};
template <class Out>
struct ActivityDef<Out()> {
  std::string_view name;
};

// `SignalDef<T>`, or `SignalDef<void>` for one without a value.
template <class T>
struct SignalDef {
  std::string_view name;
};

template <class Signature>
struct QueryDef;
template <class Out, class In>
struct QueryDef<Out(In)> {
  std::string_view name;
};
template <class Out>
struct QueryDef<Out()> {
  std::string_view name;
};

template <class Signature>
struct UpdateDef;
template <class Out, class In>
struct UpdateDef<Out(In)> {
  std::string_view name;
};
template <class Out>
struct UpdateDef<Out()> {
  std::string_view name;
};

// When an activity's handle is told that it is canceled.
enum class ActivityCancellation : uint8_t {
  kTry,      // the code goes on at once; the worker is told to stop
  kWait,     // the code goes on when the worker has stopped, or finished all the same
  kAbandon,  // the code goes on at once; the worker is not told, and its result is dropped
};

// What ctx.TryRun gives: exactly one of a value and a failure.
template <class T>
class Outcome {
 public:
  explicit Outcome(T value) : value_(std::move(value)) {}
  explicit Outcome(Failure failure) : failure_(std::move(failure)) {}

  bool ok() const { return value_.has_value(); }
  const T& value() const { return *value_; }  // REQUIRES: ok()
  T& value() { return *value_; }
  const Failure& failure() const { return failure_; }  // REQUIRES: !ok()

 private:
  std::optional<T> value_;
  Failure failure_;
};

template <>
class Outcome<void> {
 public:
  Outcome() = default;
  explicit Outcome(Failure failure) : failure_(std::move(failure)) {}

  bool ok() const { return !failure_.has_value(); }
  const Failure& failure() const { return *failure_; }  // REQUIRES: !ok()

 private:
  std::optional<Failure> failure_;
};

}  // namespace marathon::inline MARATHON_ABI
