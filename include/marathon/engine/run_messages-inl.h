#pragma once

#include "marathon/engine/run_messages.h"

#include <fmt/format.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>

#include "marathon/detail/run_messages.h"
#include "marathon/engine/attempt.h"
#include "marathon/engine/host.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::detail {

inline Failure EngineFailure(std::string_view type, std::string message) {
  Failure failure{.kind = FailureKind::kEngine, .non_retryable = true};
  failure.type = type;
  failure.message = std::move(message);
  return failure;
}

// One delivery to another run. What the store cannot do for a moment it tries again; a worker that shuts down gives
// the activity back. It keeps itself alive while it waits.
class RunMessage : public std::enable_shared_from_this<RunMessage> {
 public:
  RunMessage(std::shared_ptr<Host> host, std::shared_ptr<Attempt> attempt)
      : host_(std::move(host)), attempt_(std::move(attempt)) {}
  virtual ~RunMessage() = default;
  virtual void Begin() = 0;

 protected:
  Host& host() { return *host_; }
  Attempt& attempt() { return *attempt_; }
  const ActivityInfo& info() const { return attempt_->info(); }
  int failures() const { return failures_; }
  uint64_t incarnation() const { return incarnation_; }
  std::string_view header(std::string_view name) const { return HeaderOf(info().headers, name); }

  void Again() {
    incarnation_ = 0;
    if (host_->stopping()) {
      AttemptEnd end;
      end.kind = AttemptEnd::Kind::kGiveBack;
      return End(std::move(end));
    }
    host_->AfterBackoff(++failures_, [self = shared_from_this()] { self->Begin(); });
  }
  // What is sealed for one workflow goes to no other: whoever can open it is to deliver it.
  bool IsSealed(const EventBody& outcome, const RunKey& run) {
    const Status sealed = host_->sealer().CheckOpen(outcome, run.workflow_id);
    if (sealed.ok()) return false;
    host_->Log(LogLevel::kError,
               fmt::format("the end of run {} of workflow \"{}\" cannot be told to its parent yet: {}", run.run_id,
                           run.workflow_id, MessageOf(sealed)));
    AttemptEnd end;
    end.kind = AttemptEnd::Kind::kGiveBack;
    end.delay = limits::kSealedRetry;
    incarnation_ = 0;
    End(std::move(end));
    return true;
  }
  // Ends the delivery as `end` says, past the retry policy, which is not about deliveries.
  void End(AttemptEnd end) {
    end.key = info().key;
    end.epoch = attempt_->epoch();
    if (host_->registry().has_workflows()) end.session = host_->session().id();
    end.incarnation = incarnation_;
    if (incarnation_ != 0) return EndIn(std::move(end));
    host_->activities().SendEnd(std::move(end));
    attempt_->Finish(CompletesLater());
  }
  // What the end will speak of was in this incarnation of the store: in another one it may be lost, and all of the
  // delivery is done again. The first one counts.
  void RestsOn(uint64_t incarnation) {
    if (incarnation_ == 0) incarnation_ = incarnation;
  }
  void EndWith(EventBody outcome) {
    AttemptEnd end;
    end.outcome = std::move(outcome);
    End(std::move(end));
  }
  static bool IsOver(const Status& status) {
    return status.code() == StatusCode::kFailedPrecondition || status.code() == StatusCode::kNotFound;
  }

 private:
  void EndIn(AttemptEnd end) {
    AttemptEnd copy = end;
    host_->store().EndAttempt(std::move(copy), [self = shared_from_this(), end = std::move(end)](
                                                   StatusOr<AttemptReply> reply) mutable {
      const StatusCode code = reply.status().code();
      if (code == StatusCode::kFailedPrecondition) return self->Again();  // it may be lost
      const bool transient = code == StatusCode::kUnavailable || code == StatusCode::kUnknown;
      if (transient && self->host_->stopping()) return self->Again();  // gives back
      if (transient) {
        return self->host_->AfterBackoff(++self->failures_, [self, end = std::move(end)]() mutable {
          self->EndIn(std::move(end));
        });
      }
      if (reply.ok() && reply->mine) self->host_->turns().Wake(self->info().key.run);
      self->attempt_->Finish(CompletesLater());
    });
  }

  const std::shared_ptr<Host> host_;
  const std::shared_ptr<Attempt> attempt_;
  int failures_ = 0;
  uint64_t incarnation_ = 0;  // that the delivery under way rests on; 0: any
};

// ---- Children --------------------------------------------------------------------------------------

inline Failure FailureOf(EventBody closing) {
  if (auto* failed = std::get_if<WorkflowFailed>(&closing)) return std::move(failed->failure);
  if (std::holds_alternative<WorkflowTimedOut>(closing)) return RunTimeoutFailure();
  if (auto* terminated = std::get_if<WorkflowTerminated>(&closing)) {
    Failure failure = EngineFailure(failure_type::kTerminated, std::move(terminated->reason));
    failure.kind = FailureKind::kTerminated;
    return failure;
  }
  Failure failure = EngineFailure(failure_type::kCanceled, "");
  failure.kind = FailureKind::kCanceled;
  if (auto* canceled = std::get_if<WorkflowCanceled>(&closing)) failure.message = canceled->reason;
  return failure;
}

// What a child's end is to its parent's activity. `last`: what Read told of the child's last record.
inline EventBody OutcomeOf(EventId id, const StatusOr<RunSnapshot>& last) {
  StatusOr<Record> record = last.ok() ? DecodeRecord(last->records.back()) : last.status();
  if (!record.ok()) {
    return ActivityFailed{id, EngineFailure(failure_type::kDecode, std::string(MessageOf(record.status())))};
  }
  EventBody closing = std::move(record->events.back().body);
  if (auto* completed = std::get_if<WorkflowCompleted>(&closing)) {
    return ActivityCompleted{id, std::move(completed->result)};
  }
  return ActivityFailed{id, FailureOf(std::move(closing))};
}

class ChildDelivery final : public RunMessage {
 public:
  ChildDelivery(std::shared_ptr<Host> host, std::shared_ptr<Attempt> attempt, Payload input)
      : RunMessage(std::move(host), std::move(attempt)),
        input_(std::move(input)),
        child_(ChildKey(info().key, header(header::kWorkflowId))) {}

  // Starts it, again if that has been done before: only so it is certain that no earlier delivery is still about to.
  void Begin() override {
    StartCall call;
    call.workflow_type = info().activity_type.substr(kChildRun.size());
    call.input = input_;
    call.any_type = true;
    StartOptions& options = call.options;
    options.workflow_id = child_.workflow_id.str();
    options.request_id = child_.run_id.str();
    const std::string_view queue = header(header::kTaskQueue);
    options.task_queue = queue.empty() ? info().task_queue : std::string(queue);
    options.run_timeout = Duration(NumberOf(info().headers, header::kRunTimeout));
    options.start_delay = Duration(NumberOf(info().headers, header::kStartDelay));
    options.memo = LabelsOf(info().headers, header::kMemo);
    options.attributes = LabelsOf(info().headers, header::kAttribute);
    options.priority = attempt().policy().priority;
    constexpr Duration kBeforeTheEnd = std::chrono::hours(1);  // it is to be terminated, not run
    if (Parted() && OnParentClose().empty()) options.start_delay = kBeforeTheEnd;
    const bool again = !attempt().own_turn() || failures() > 0;
    call.child.emplace(ChildStart{child_.run_id, info().key, attempt().policy().retry, again});
    host().Start(std::move(call), [self = Self()](const StatusOr<StartReply>& started) {
      if (started.ok()) {
        self->newest_ = started->run;
        self->RestsOn(started->incarnation);
      }
      started.ok() && !started->started && !self->Parted() ? self->LookForItsEnd() : self->OnStarted(started.status());
    });
  }

 private:
  std::shared_ptr<ChildDelivery> Self() {
    return std::static_pointer_cast<ChildDelivery>(shared_from_this());
  }
  // The parent's chain has ended.
  bool Parted() { return attempt().owed() == Owed::kNow; }
  std::string_view OnParentClose() const { return header(header::kOnParentClose); }

  void OnStarted(const Status& status) {
    if (status.ok()) return Parted() ? Part() : attempt().canceled() ? Cancel() : Detach(false);
    const bool refused = status.code() == StatusCode::kAlreadyExists ||
                         status.code() == StatusCode::kInvalidArgument;
    if (!refused) return Again();
    EndWith(ActivityFailed{info().key.id,
                           EngineFailure(failure_type::kNotStarted, std::string(MessageOf(status)))});
  }

  // It was there already, and may have ended: then it has told a parent that did not know of it yet, as one does not
  // whose store has lost its last writes, and tells it no second time.
  void LookForItsEnd() {
    Read(0, [self = Self()](const StatusOr<RunSnapshot>& run) {
      if (!run.ok()) return self->Again();
      const bool goes_on = run->row.links && !run->row.links->next_run_id.empty();  // it is retried, say
      if (IsOpen(run->row) || goes_on) return self->OnStarted({});
      self->Read(run->row.version, [self](const StatusOr<RunSnapshot>& last) {
        const bool damaged = last.status().code() == StatusCode::kDataLoss;
        if (!damaged && (!last.ok() || last->records.empty())) return self->Again();
        EventBody outcome = OutcomeOf(self->info().key.id, last);
        if (!self->IsSealed(outcome, self->newest_)) self->EndWith(std::move(outcome));
      });
    });
  }

  // The newest run's row; with a `version`, also the record that has this event.
  void Read(EventId version, Done<RunSnapshot> done) {
    if (host().stopping()) return Again();
    ReadRequest read;
    read.run = newest_;
    read.records = version > 0;
    read.after_version = version > 0 ? version - 1 : 0;
    host().store().Read(std::move(read), std::move(done));
  }

  void Detach(bool cancel_told) {
    AttemptEnd end;
    end.kind = AttemptEnd::Kind::kDetach;
    end.cancel_told = cancel_told;
    End(std::move(end));
  }

  void Cancel() {
    SendCancel("canceled by its parent", [self = Self()](const Status& status) {
      if (!status.ok() && (!IsOver(status) || self->host().stopping())) return self->Again();
      self->Detach(true);
    });
  }

  void Part() {
    auto parted = [self = Self()](const Status& status) {
      if (!status.ok() && (!IsOver(status) || self->host().stopping())) return self->Again();
      self->EndWith(ActivityCompleted{self->info().key.id});
    };
    const bool goes_on = OnParentClose() == "abandon";
    if (goes_on && !attempt().canceled()) return parted(Status());
    if (goes_on || OnParentClose() == "cancel") return SendCancel(std::string(kParentHasEnded), std::move(parted));
    host().Terminate(newest_, std::string(kParentHasEnded), std::move(parted));
  }

  void SendCancel(std::string reason, DoneStatus done) {
    if (host().stopping()) return Again();
    Message message{0, fmt::format("cancel/{}/{}", info().key.run.run_id, info().key.id),
                    WorkflowCancelRequested{std::move(reason)}};
    host().PutMessage(newest_, std::move(message),
                      [self = Self(), done = std::move(done)](const StatusOr<PutReply>& put) mutable {
                        if (put.ok()) self->RestsOn(put->incarnation);
                        done(put.status());
                      });
  }

  const Payload input_;
  const RunKey child_;  // its first run …
  RunKey newest_;       // … and the one of its chain that there is
};

// Tells the parent how its child has ended: the child's activity there has its outcome.
class ParentNews final : public RunMessage {
 public:
  using RunMessage::RunMessage;

  // The run has ended: its last record is there, or its store has lost the end, and with it what it owed.
  void Begin() override {
    ReadRequest read;
    read.run = info().key.run;
    read.records = true;
    read.after_version = info().key.id - 1;
    host().store().Read(std::move(read), [self = Self()](const StatusOr<RunSnapshot>& run) {
      if (run.ok()) self->RestsOn(run->incarnation);
      const bool lost = run.ok() ? run->records.empty() || IsOpen(run->row) : IsOver(run.status());
      if (lost) return self->EndWith(ActivityCompleted{self->info().key.id});
      if (!run.ok() && run.status().code() != StatusCode::kDataLoss) return self->Again();
      EventBody outcome = OutcomeOf(NumberOf(self->info().headers, header::kEvent), run);
      if (!self->IsSealed(outcome, self->info().key.run)) self->Tell(std::move(outcome));
    });
  }

 private:
  std::shared_ptr<ParentNews> Self() {
    return std::static_pointer_cast<ParentNews>(shared_from_this());
  }

  void Tell(EventBody outcome) {
    AttemptEnd end;
    end.key.run = {header(header::kWorkflowId), header(header::kRunId)};
    end.key.id = NumberOf(info().headers, header::kEvent);
    end.epoch = kAnyEpoch;
    if (host().registry().has_workflows()) end.session = host().session().id();
    end.incarnation = incarnation();
    end.outcome = std::move(outcome);
    RunKey parent = end.key.run;
    host().store().EndAttempt(std::move(end), [self = Self(), parent](StatusOr<AttemptReply> reply) {
      if (!reply.ok()) return self->Again();
      if (reply->mine) self->host().turns().Wake(parent);
      self->EndWith(ActivityCompleted{self->info().key.id});
    });
  }
};

MARATHON_INLINE NewActivity NewsForParent(const ActivityKey& parent, EventId closing,
                                          std::string_view task_queue) {
  NewActivity news;
  news.id = closing;
  news.activity_type = kTellParent;
  news.task_queue = task_queue;
  news.headers = {{std::string(header::kWorkflowId), parent.run.workflow_id.str()},
                  {std::string(header::kRunId), parent.run.run_id.str()},
                  {std::string(header::kEvent), std::to_string(parent.id)}};
  news.owed = true;
  return news;
}

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
