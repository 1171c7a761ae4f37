// The awaiters of several operations: Any, All, and a signal with a timeout.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/detail/awaitables.h"
#include "marathon/detail/operation.h"
#include "marathon/handle.h"

namespace marathon::inline MARATHON_ABI::detail {

// Registers one waiter with several operations.
class GroupWait {
 public:
  explicit GroupWait(std::vector<OperationRef> operations) : operations_(std::move(operations)) {}
  GroupWait(const GroupWait&) = delete;
  GroupWait& operator=(const GroupWait&) = delete;

  int CountDone() const {
    int done = 0;
    for (const OperationRef& operation : operations_) done += operation->done ? 1 : 0;
    return done;
  }
  void Suspend(std::coroutine_handle<> self, int missing) {
    waiter_ = WaiterHere(*operations_.front()->core, self, missing);
    for (OperationRef& operation : operations_) {
      if (!operation->done) operation->AddWaiter(waiter_);
    }
  }
  void StopWaiting() {
    for (OperationRef& operation : operations_) operation->RemoveWaiter(waiter_);
  }
  // The position of the one that was done first.
  size_t First() const {
    size_t first = operations_.size();
    for (size_t i = 0; i < operations_.size(); ++i) {
      if (operations_[i]->done && (first == operations_.size() ||
                                   operations_[i]->done_order < operations_[first]->done_order)) {
        first = i;
      }
    }
    return first;
  }
  const std::vector<OperationRef>& operations() const { return operations_; }

 private:
  std::vector<OperationRef> operations_;
  Waiter waiter_;
};

class [[nodiscard]] AnyAwaiter : public Awaitable {
 public:
  explicit AnyAwaiter(std::vector<OperationRef> operations) : group_(std::move(operations)) {}
  bool await_ready() const noexcept { return group_.CountDone() > 0 || group_.operations().empty(); }
  void await_suspend(std::coroutine_handle<> self) { group_.Suspend(self, 1); }
  size_t await_resume() {
    group_.StopWaiting();
    return group_.First();
  }

 private:
  GroupWait group_;
};

// What All has in common: wait for every one, then fail with the failure that came first.
class AllWait : public Awaitable {
 public:
  explicit AllWait(std::vector<OperationRef> operations) : group_(std::move(operations)) {}
  bool await_ready() const noexcept { return Missing() == 0; }
  void await_suspend(std::coroutine_handle<> self) { group_.Suspend(self, Missing()); }

 protected:
  // Calls `take(i)` for each operation; rethrows the exception of the one that ended first.
  template <class Take>
  void TakeEach(Take&& take) {
    std::exception_ptr first;
    uint64_t first_order = 0;
    const auto& operations = group_.operations();
    for (size_t i = 0; i < operations.size(); ++i) {
      try {
        take(i);
      } catch (...) {
        if (!first || operations[i]->done_order < first_order) {
          first = std::current_exception();
          first_order = operations[i]->done_order;
        }
      }
    }
    if (first) std::rethrow_exception(first);
  }
  Operation& operation(size_t i) { return *group_.operations()[i]; }
  size_t size() const { return group_.operations().size(); }

 private:
  int Missing() const { return static_cast<int>(group_.operations().size()) - group_.CountDone(); }
  GroupWait group_;
};

template <class T>
NonVoid<T> TakeNonVoid(Operation& operation) {
  if constexpr (std::is_void_v<T>) {
    TakeResult<void>(operation);
    return {};
  } else {
    return TakeResult<T>(operation);
  }
}

template <class H>
std::vector<OperationRef> OperationsOf(const std::vector<H>& handles) {
  std::vector<OperationRef> operations;
  operations.reserve(handles.size());
  for (const H& handle : handles) operations.push_back(handle.operation());
  return operations;
}

template <class... T>
class [[nodiscard]] AllAwaiter : public AllWait {
 public:
  explicit AllAwaiter(const Handle<T>&... handles) : AllWait({handles.operation()...}) {}
  std::tuple<NonVoid<T>...> await_resume() {
    std::tuple<std::optional<NonVoid<T>>...> values;
    TakeEach([&](size_t i) { TakeAt(i, values, std::index_sequence_for<T...>()); });
    return std::apply([](auto&... value) { return std::tuple<NonVoid<T>...>(std::move(*value)...); },
                      values);
  }

 private:
  template <class Values, size_t... kIndex>
  void TakeAt(size_t i, Values& values, std::index_sequence<kIndex...>) {
    ((i == kIndex ? (void)std::get<kIndex>(values).emplace(TakeNonVoid<T>(this->operation(kIndex)))
                  : (void)0),
     ...);
  }
};

template <class T>
class [[nodiscard]] AllVectorAwaiter : public AllWait {
 public:
  using AllWait::AllWait;
  std::vector<NonVoid<T>> await_resume() {
    std::vector<NonVoid<T>> values;
    values.reserve(this->size());
    TakeEach([&](size_t i) { values.push_back(TakeNonVoid<T>(this->operation(i))); });
    return values;
  }
};
template <>
class [[nodiscard]] AllVectorAwaiter<void> : public AllWait {
 public:
  using AllWait::AllWait;
  void await_resume() {
    TakeEach([&](size_t i) { TakeResult<void>(operation(i)); });
  }
};

// A signal or a timer, whichever comes first.
template <class T>
class [[nodiscard]] ReceiveForAwaiter : public Awaitable {
 public:
  // `operations`: the signal's, and the timer's unless that is done.
  ReceiveForAwaiter(std::vector<OperationRef> operations, std::source_location where)
      : where_(where), group_(std::move(operations)) {}
  bool await_ready() const noexcept { return group_.CountDone() > 0; }
  void await_suspend(std::coroutine_handle<> self) { group_.Suspend(self, 1); }
  // Of a signal without a value: whether it came.
  std::conditional_t<std::is_void_v<T>, bool, std::optional<NonVoid<T>>> await_resume() {
    group_.StopWaiting();
    const auto& operations = group_.operations();
    const bool received = group_.First() == 0;
    if (operations.size() == 2) operations[received ? 1 : 0]->Cancel(where_);
    if constexpr (std::is_void_v<T>) {
      if (received) TakeResult<void>(*operations[0]);  // or throws: it was canceled
      return received;
    } else {
      if (!received) return std::nullopt;
      return TakeResult<T>(*operations[0]);
    }
  }

 private:
  std::source_location where_;
  GroupWait group_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
