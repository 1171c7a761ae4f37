// Activities: where I/O lives. An activity is any callable
//
//   Out Charge(marathon::ActivityContext& ctx, const In& input);     // or without ctx, or without input
//   absl::StatusOr<Out> Charge(...);                                 // errors as values
//   void Ask(marathon::ActivityContext& ctx, const In& input,        // asynchronous: returns at once,
//            marathon::ActivityCompletion<Out> done);                //   completes later, on any thread
//
// The first two block a thread of the activity pool. An activity runs at least once: a worker may die
// between doing the work and saying so. `ctx.idempotency_key()` is the same for every try of one call.
//
// Thread rule: an ActivityContext may be used from any thread until its activity has completed, and so may what it
// gives; an asynchronous activity keeps it by keeping its ActivityCompletion.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <utility>
#include <variant>

#include "marathon/activity_def.h"
#include "marathon/blob_store.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/errors.h"
#include "marathon/ids.h"
#include "marathon/limiter.h"
#include "marathon/stream_log.h"
#include "marathon/time.h"
#include "marathon/transactions.h"

namespace marathon::inline MARATHON_ABI {

class ActivityContext;

namespace detail {

// An activity that said CompleteLater(): its outcome comes from elsewhere.
struct CompletesLater {};
// One that is given back undone, and delivered again.
struct Postponed {
  Duration delay{0};
  Payload heartbeat;
};
using AttemptResult = std::variant<Payload, Failure, CompletesLater, Postponed>;
// The code of an activity that writes in a transaction of the store's.
using TransactionBody = std::function<AttemptResult(StoreTransaction& tx)>;

template <class Out>
using NonVoidOut = std::conditional_t<std::is_void_v<Out>, std::monostate, Out>;

// A result that cannot be encoded fails the attempt for good: no retry mends it.
Failure ConversionFailure(std::string_view what, const Status& status, std::string_view decode_type);
// An error that an activity returned: the Failure it carries, or its code and message.
Failure FailureOfStatus(const Status& status);
// The result of an activity, as it was encoded.
AttemptResult ResultOf(StatusOr<Payload> encoded);

class Attempt;

// One delivery of an activity, as the worker that runs it keeps it.
class ActivityAttempt {
 public:
  virtual ~ActivityAttempt() = default;
  virtual Status Heartbeat(Payload details) = 0;
  virtual StatusOr<std::string> Detach() = 0;
  virtual Duration Elapsed() const = 0;
  virtual bool Canceled() const { return false; }
  // The end of the attempt; the first call counts.
  virtual void Finish(AttemptResult result) = 0;
  // The same, of what `body` gives inside a transaction: a result is committed with all that it wrote, a failure
  // undoes it. Blocks. An attempt that has no store to do it in fails.
  virtual void FinishWithin(const TransactionBody& body);
};

}  // namespace detail

// What an activity knows about itself.
struct ActivityInfo {
  ActivityKey key;
  std::string activity_type;
  std::string workflow_type;
  std::string task_queue;
  int attempt = 1;     // 1 for the first; counts failures, not crashes of workers
  int deliveries = 0;  // how often a worker vanished while it ran this attempt
  // Grows with each delivery and each attempt of this call: the fence of what it writes elsewhere.
  Epoch epoch = 1;
  Headers headers;
  // Of a local activity, its number among the run's, from 1. Such a one has no row in the store: it leaves no
  // heartbeats, cannot complete later, and its epoch fences nothing.
  int local = 0;
};

class ActivityContext {
 public:
  ActivityContext(ActivityInfo info, Payload last_heartbeat, std::stop_token stop,
                  std::weak_ptr<detail::ActivityAttempt> attempt, BlobStore& blobs, StreamLog& streams,
                  Limiter& limiter)
      : info_(std::move(info)),
        last_heartbeat_(std::move(last_heartbeat)),
        stop_(std::move(stop)),
        attempt_(std::move(attempt)),
        blobs_(blobs),
        streams_(streams),
        limiter_(limiter) {}
  ActivityContext(const ActivityContext&) = delete;
  ActivityContext& operator=(const ActivityContext&) = delete;

  const ActivityInfo& info() const { return info_; }
  int attempt() const { return info_.attempt; }
  // The same for every attempt of this call, and of no other: hand it to the service you call.
  std::string idempotency_key() const;

  // Fires when the activity is canceled, its deadline passes, its run ends, its lease is lost or the
  // engine shuts down. An activity that goes on all the same is waited for.
  const std::stop_token& stop_token() const { return stop_; }
  // Whether it fires because the activity is canceled, which its run knows. What the activity completes with then
  // counts as its last word; a shutdown, a lost lease and a deadline are no cancel. Once it has completed: false.
  bool canceled() const;

  // How long this attempt has been at work, by its worker's clock. Once it has completed: 0.
  Duration elapsed() const;

  // Says "still alive", and keeps `details` for the next attempt. Cheap to call often: what is written
  // is limited to one every 0.8 heartbeat timeouts (30 s with none). An error is advice only.
  template <class T>
  Status Heartbeat(const T& details) {
    auto payload = Encode<T>(details);
    if (!payload.ok()) return payload.status();
    return HeartbeatEncoded(*std::move(payload));
  }
  Status Heartbeat() { return HeartbeatEncoded(Payload()); }
  // The details of the last heartbeat of an earlier attempt. kNotFound: there are none.
  template <class T>
  StatusOr<T> LastHeartbeat() const {
    if (last_heartbeat_.encoding == Encoding::kNone) return NotFound("no heartbeat was recorded");
    return Decode<T>(last_heartbeat_);
  }

  // Detaches this activity from its worker, durably: whatever the callable then returns is ignored, and
  // Engine::CompleteActivity(token, ...) gives the outcome later, from any process. Its deadlines stay.
  StatusOr<std::string> CompleteLater();

  // Beside the run, in its store. Their calls do not block; one that is under way when the activity completes is
  // answered all the same. A store that has none of them answers kUnimplemented.
  BlobStore& blobs() const { return blobs_; }
  StreamLog& streams() const { return streams_; }
  Limiter& limiter() const { return limiter_; }

 private:
  friend class detail::Attempt;  // opens `last_heartbeat_`
  Status HeartbeatEncoded(Payload details);

  ActivityInfo info_;
  Payload last_heartbeat_;
  std::stop_token stop_;
  std::weak_ptr<detail::ActivityAttempt> attempt_;
  BlobStore& blobs_;
  StreamLog& streams_;
  Limiter& limiter_;
};

namespace detail {
// The activity whose callable this thread is in.
inline const ActivityAttempt*& CalledOnThisThread() {
  thread_local const ActivityAttempt* called = nullptr;
  return called;
}
class CalledHere {
 public:
  explicit CalledHere(const ActivityAttempt* attempt) : before_(std::exchange(CalledOnThisThread(), attempt)) {}
  CalledHere(const CalledHere&) = delete;
  CalledHere& operator=(const CalledHere&) = delete;
  ~CalledHere() { CalledOnThisThread() = before_; }

 private:
  const ActivityAttempt* const before_;
};
}  // namespace detail

namespace detail {
// An ActivityCompletion, but for the type of its result.
class CompletionBase {
 public:
  explicit CompletionBase(std::shared_ptr<ActivityAttempt> attempt) : attempt_(std::move(attempt)) {}
  CompletionBase(CompletionBase&&) noexcept = default;
  CompletionBase& operator=(CompletionBase&&) = delete;
  ~CompletionBase();

  void Fail(Failure failure);
  void Fail(const WorkflowError& error) { Fail(error.failure()); }

 protected:
  void CompleteEncoded(StatusOr<Payload> result);
  void PostponeEncoded(Duration delay, StatusOr<Payload> details);

 private:
  void Finish(AttemptResult result);

  std::shared_ptr<ActivityAttempt> attempt_;
};
}  // namespace detail

// How an asynchronous activity ends: exactly one of Complete, Fail and Postpone, once, from any thread. One that is
// destroyed unused fails the attempt. Its worker keeps the lease meanwhile.
template <class Out>
class ActivityCompletion : public detail::CompletionBase {
 public:
  using CompletionBase::CompletionBase;

  void Complete(const detail::NonVoidOut<Out>& value)
    requires(!std::is_void_v<Out>)
  {
    CompleteEncoded(Encode<Out>(value));
  }
  void Complete()
    requires std::is_void_v<Out>
  {
    CompleteEncoded(Payload());
  }

  // Gives the activity back undone, because it has to wait for something: it is delivered again after `delay`, to any
  // worker, as the same attempt, and finds `details` as its LastHeartbeat(). No worker waits meanwhile; deadlines stay.
  template <class T>
  void Postpone(Duration delay, const T& details) {
    PostponeEncoded(delay, Encode<T>(details));
  }
  void Postpone(Duration delay) { PostponeEncoded(delay, Payload()); }
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/activity-inl.h"
#endif
