// Names of activities and signals with the types they take and give, and Outcome, a result or a failure
// as a value. Values; no thread rule.
#pragma once

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

template <class T>
struct SignalDef {
  std::string_view name;
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
