// UpdateHandle: names an update that a run has been sent, in this process or another, and waits for what becomes of
// it. Copies name the same; usable as long as the engine lives.
//
//   auto update = run.StartUpdate(kAdd, 2, {.update_id = "order-7"});
//   …
//   absl::StatusOr<int> total = engine.Find("counter").FindUpdate("order-7").Result<int>();
//
// Thread rule: as Engine's (engine.h).
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "marathon/client_requests.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {
class EngineImpl;
}
class Run;

class UpdateHandle {
 public:
  UpdateHandle(std::shared_ptr<detail::EngineImpl> engine, RunKey run, std::string update_id)
      : engine_(std::move(engine)), run_(std::move(run)), update_id_(std::move(update_id)) {}

  const std::string& update_id() const { return update_id_; }
  Run run() const;

  // Waits for the update's end and gives what its handler returned.
  //   kInvalidArgument     rejected; what the validator threw travels inside (GetFailure in status.h)
  //   kNotFound            the run handles no such update, or has not been sent this one
  //   kAborted …           its handler threw: FailureStatus
  //   kFailedPrecondition  the run ended first; if it was continued, the update had been accepted
  //   kDeadlineExceeded    `timeout` has passed; kCancelled: the engine shuts down
  // Answers are remembered as request ids are: for 24 hours, and the last 10,000 of a run.
  template <class T = void>
  auto Result(Duration timeout = Duration::max()) const
      -> std::conditional_t<std::is_void_v<T>, Status, StatusOr<T>> {
    StatusOr<Payload> payload = ResultPayload(timeout);
    if constexpr (std::is_void_v<T>) {
      return payload.status();
    } else {
      if (!payload.ok()) return payload.status();
      return Decode<T>(*payload);
    }
  }
  StatusOr<Payload> ResultPayload(Duration timeout = Duration::max()) const;
  // Waits until it has come to `stage`, and has not been rejected; errors as above, but not the handler's.
  Status Wait(UpdateStage stage, Duration timeout = Duration::max()) const;

 private:
  StatusOr<UpdateCompleted> Await(UpdateStage stage, Duration timeout) const;

  std::shared_ptr<detail::EngineImpl> engine_;
  RunKey run_;
  std::string update_id_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine.h"  // which has the bodies: an update needs an engine
#endif
