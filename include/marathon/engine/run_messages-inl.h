#pragma once

#include "marathon/engine/run_messages.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>

#include "marathon/detail/run_messages.h"
#include "marathon/engine/attempt.h"
#include "marathon/engine/child_messages-inl.h"
#include "marathon/engine/host.h"
#include "marathon/engine/run_message-inl.h"

namespace marathon::inline MARATHON_ABI::detail {

// ---- Signals and cancels ---------------------------------------------------------------------------

class MessageDelivery final : public RunMessage {
 public:
  MessageDelivery(std::shared_ptr<Host> host, std::shared_ptr<Attempt> attempt, EventBody body)
      : RunMessage(std::move(host), std::move(attempt)), body_(std::move(body)) {}

  void Begin() override {
    child_has_begun_ = false;  // a store that has lost something may have lost that
    Deliver();
  }

 private:
  std::shared_ptr<MessageDelivery> Self() {
    return std::static_pointer_cast<MessageDelivery>(shared_from_this());
  }

  void Deliver() {
    if (host().stopping()) return Again();
    const RunKey target{header(header::kWorkflowId), header(header::kRunId)};
    Message message{0, fmt::format("{}/{}", info().key.run.run_id, info().key.id), body_};
    host().PutMessage(target, std::move(message), [self = Self()](const StatusOr<PutReply>& put) {
      const Status& status = put.status();
      if (status.ok() && put->incarnation == 0) return self->attempt().Finish(Payload());
      if (status.ok()) {
        self->RestsOn(put->incarnation);
        return self->EndWith(ActivityCompleted{self->info().key.id});
      }
      if (!IsOver(status) || self->host().stopping()) return self->Again();
      const EventId child = NumberOf(self->info().headers, header::kEvent);
      const bool is_child = status.code() == StatusCode::kNotFound && child != 0;
      is_child && !self->child_has_begun_ ? self->AwaitChild(child) : self->Refuse(status);
    });
  }

  // A child that is not there may be about to start, or have begun by now.
  void AwaitChild(EventId child) {
    ReadRequest read;
    read.run = info().key.run;
    read.activities = true;
    host().store().Read(std::move(read), [self = Self(), child](const StatusOr<RunSnapshot>& run) {
      if (!run.ok() && !IsOver(run.status())) return self->Again();
      if (run.ok()) self->RestsOn(run->incarnation);
      for (size_t i = 0; run.ok() && i < run->activities.size(); ++i) {
        const ActivityRow& row = run->activities[i];
        if (row.key.id == child && row.state != ActivityState::kDetached) return self->Again();
      }
      self->child_has_begun_ = true;
      self->Deliver();
    });
  }

  void Refuse(const Status& status) {
    EndWith(ActivityFailed{info().key.id, EngineFailure(failure_type::kNotDelivered,
                                                        std::string(MessageOf(status)))});
  }

  const EventBody body_;
  bool child_has_begun_ = false;
};

// ---- The activities --------------------------------------------------------------------------------

MARATHON_INLINE void AddRunMessages(Registry& registry, const std::weak_ptr<Host>& host) {
  // A running activity holds its host, whose attempts all are Attempts.
  const auto add = [&](std::string_view type, auto make) {
    ActivityEntry entry;
    entry.asynchronous = true;
    entry.run = [host, make](ActivityContext&, const Payload& input,
                             std::shared_ptr<ActivityAttempt> attempt) {
      make(host.lock(), std::static_pointer_cast<Attempt>(std::move(attempt)), input)->Begin();
    };
    registry.AddBuiltIn(type.substr(0, type.find('/')), std::move(entry));
  };
  using HostPtr = std::shared_ptr<Host>;
  using AttemptPtr = std::shared_ptr<Attempt>;
  add(kChildRun, [](HostPtr at, AttemptPtr attempt, const Payload& input) {
    return std::make_shared<ChildDelivery>(std::move(at), std::move(attempt), input);
  });
  add(kTellParent, [](HostPtr at, AttemptPtr attempt, const Payload&) {
    return std::make_shared<ParentNews>(std::move(at), std::move(attempt));
  });
  add(kSignalRun, [](HostPtr at, AttemptPtr attempt, const Payload& input) {
    SignalReceived signal{attempt->info().activity_type.substr(kSignalRun.size()), input, {}};
    return std::make_shared<MessageDelivery>(std::move(at), std::move(attempt), std::move(signal));
  });
  add(kCancelRun, [](HostPtr at, AttemptPtr attempt, const Payload&) {
    std::string reason(HeaderOf(attempt->info().headers, header::kReason));
    return std::make_shared<MessageDelivery>(std::move(at), std::move(attempt),
                                             WorkflowCancelRequested{std::move(reason)});
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
