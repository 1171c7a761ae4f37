// What a parent and its child tell one another: the start, a cancel and the end of the child's run.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "marathon/detail/run_messages.h"
#include "marathon/engine/run_message-inl.h"
#include "marathon/event_codec.h"

namespace marathon::inline MARATHON_ABI::detail {

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

}  // namespace marathon::inline MARATHON_ABI::detail
