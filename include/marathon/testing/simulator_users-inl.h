// Simulation: its users. They start jobs, signal, cancel, terminate, ask and await, and call again where a
// process could not answer.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "marathon/testing/simulation-inl.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

MARATHON_INLINE void Simulation::Plan() {
  const size_t count = 6 + random_.Below(7);
  for (size_t i = 0; i < count; ++i) PlanJob(i);
}

MARATHON_INLINE void Simulation::PlanJob(size_t index) {
  SimJob& job = jobs_.emplace_back();
  job.id = fmt::format("job{}", index + 1);
  job.program = SimProgram::Draw(random_);
  job.signals = job.program.Receives();
  if (random_.Below(3) == 0) job.signals += random_.Between(1, 3);  // these race with its end
  job.terminate = random_.Below(10) == 0;
  job.cancel = random_.Below(10) == 0;
  job.pause = random_.Below(5) == 0;
  job.with_signal = job.signals > 0 && random_.Below(4) == 0;
  job.with_update = random_.Below(6) == 0;
  if (job.with_update) job.updates = 1;
  if (random_.Below(6) == 0) job.start_delay = Duration(random_.Between(1, 30'000));
  // Of one that is not tried again: which of its attempts would return is not known then.
  if (random_.Below(10) == 0 && job.program.Attempts() == 1) job.run_timeout = Duration(random_.Between(1'000, 60'000));
  job.priority = static_cast<int>(random_.Below(limits::kMaxPriority + 1));
  const int times = random_.Below(3) == 0 ? 2 : 1;
  After(0, 60'000, "user: start", [this, &job, times] { StartJob(job, times); });
  PlanInterruptions(job, 80'000);
  if (random_.Below(4) == 0 && MayFork(job)) {
    After(1'000, 90'000, "user: fork", [this, &job] { ForkJob(job); });
  }
}

MARATHON_INLINE void Simulation::PlanInterruptions(SimJob& job, int64_t within_ms) {
  if (job.terminate) After(2'000, within_ms, "user: terminate", [this, &job] { TerminateJob(job); });
  if (job.cancel) After(2'000, within_ms, "user: cancel", [this, &job] { CancelJob(job); });
  if (job.pause) {
    // The last one comes behind every pause that was asked for, however late that was done.
    constexpr int64_t kLate = 60'000;
    After(0, within_ms, "user: pause", [this, &job] { PauseJob(job, true); });
    After(0, within_ms + 20'000, "user: resume", [this, &job] { PauseJob(job, false); });
    After(within_ms + kLate, within_ms + kLate, "user: resume",
          [this, &job] { PauseJob(job, false); });
  }
  for (size_t i = pins_ ? random_.Below(4) : 0; i > 0; --i) {
    After(0, within_ms, "user: move", [this, &job] { MoveJob(job); });
  }
  for (size_t i = random_.Below(3); i > 0; --i) {
    After(0, within_ms, "user: retry", [this, &job] { RetryActivity(job); });
  }
  for (size_t i = random_.Below(4); i > 0; --i) {
    After(0, within_ms, "user: query", [this, &job] { QueryJob(job); });
  }
  for (size_t i = random_.Below(4); i > 0; --i) {
    After(0, within_ms, "user: look", [this, &job] { LookAtJob(job); });
  }
  for (size_t i = random_.Below(4); i > 0; --i) {
    After(0, within_ms, "user: update", [this, &job] { UpdateJob(job); });
  }
}

MARATHON_INLINE void Simulation::Ask(std::string what, const SimJob& job,
                                     std::function<void(Host&, Answered)> make, bool reads) {
  requests_.push_back(
      std::make_shared<Request>(Request{std::move(what), std::move(make), &job, reads, life_}));
  Send(requests_.back());
}

MARATHON_INLINE void Simulation::Send(const std::shared_ptr<Request>& request) {
  if (request->answered) return;
  SimProcess* process = cluster_->worker(random_.Below(cluster_->workers() + 1));
  if (process == nullptr) process = &cluster_->client();
  request->at = process;
  if (world_.tracing()) world_.Trace(process->runtime.actor(), "user: " + request->what);
  request->make(*process->host, [this, request](const Status& status) {
    if (request->answered) return false;  // nobody waits for it any more
    const bool transient =
        status.code() == StatusCode::kUnavailable || status.code() == StatusCode::kUnknown;
    request->answered = !transient;
    if (transient) After(100, 2'000, "user: again", [this, request] { Send(request); });
    return !transient && request->life == life_;
  });
}

MARATHON_INLINE void Simulation::OnCrash(const SimProcess& process) {
  for (size_t i = 0; i < requests_.size(); ++i) {
    const std::shared_ptr<Request> request = requests_[i];
    if (request->answered || request->at != &process) continue;
    request->at = nullptr;
    After(1, 500, "user: again", [this, request] { Send(request); });
  }
}

MARATHON_INLINE void Simulation::StartJob(SimJob& job, int times) {
  job.begun = true;
  for (int i = 0; i < times; ++i) {
    Ask("start " + job.id, job, [this, &job](Host& host, Answered answered) {
      StartCall call;
      call.workflow_type = kSimWorkflow.name;
      call.input = *Encode(job.program.ToText());
      call.options.workflow_id = job.id;
      call.options.request_id = job.id + "/start";
      call.options.start_delay = job.start_delay;
      call.options.run_timeout = job.run_timeout;
      call.options.priority = job.priority;
      call.options.memo = {{"program", std::string(kSimMemo)}};
      call.options.attributes = {{"job", job.id}, {"early", "yes"}};
      if (job.program.Attempts() > 1) {
        call.options.retry = RetryPolicy{.initial_interval = Duration(500),
                                         .maximum_attempts = job.program.Attempts()};
      }
      SimUses<"Engine.Start">();
      AddToStart(job, call);
      host.Start(std::move(call), [this, &job, answered](const StatusOr<StartReply>& started) {
        if (!answered(started.status())) return;
        OnStarted(job, started.ok() ? StatusOr<RunKey>(started->run) : started.status());
      });
    });
  }
}

// What a run is sent with its start, it is sent once, like the start.
MARATHON_INLINE void Simulation::AddToStart(const SimJob& job, StartCall& call) {
  if (!job.with_signal && !job.with_update) return;
  call.options.id_conflict = IdConflictPolicy::kUseExisting;
  if (job.with_signal) {
    SimUses<"Engine.SignalWithStart">();
    const SignalReceived signal{std::string(kSimSignal.name), *Encode(int64_t{0}), {}};
    call.signals.push_back({0, job.id + "/signal/0", signal});
  }
  if (job.with_update) {
    SimUses<"Engine.UpdateWithStart">();
    UpdateOptions options;
    options.update_id = "0";
    call.signals.push_back(Host::UpdateMessage(std::string(kSimUpdate.name), *Encode(int64_t{0}), options));
  }
}

// Only when all that was asked before has been answered: it could come between.
MARATHON_INLINE void Simulation::StartAgain(SimJob& job) {
  if (!IsAsking(job)) return StartJob(job, 1);
  AfterInThisLife(50, 500, "user: start again", [this, &job] { StartAgain(job); });
}

MARATHON_INLINE bool Simulation::IsAsking(const SimJob& job) const {
  return std::any_of(requests_.begin(), requests_.end(), [&](const auto& request) {
    return request->job == &job && !request->answered && !request->reads;
  });
}

MARATHON_INLINE void Simulation::OnStarted(SimJob& job, const StatusOr<RunKey>& run) {
  if (!run.ok()) {
    return Violation("I4", job, fmt::format("the start was refused: {}", MessageOf(run.status())));
  }
  if (job.run.has_value()) {
    const Invariants::Run* found = invariants_.Find(*run);
    const bool same = found != nullptr && found->chain == invariants_.Find(*job.run)->chain;
    if (!same) Violation("I1", job, "the same start made two runs");
    return;
  }
  job.run = *run;
  AwaitJob(job, *job.run);
  Follow(*job.run, 0);
  if (job.with_signal) job.sent = std::max<int64_t>(job.sent, 1);
  if (job.with_update) AwaitUpdate(job, 0, *job.run, UpdateStage::kAccepted);
  if (job.sent >= job.signals) return;
  AfterInThisLife(0, 3'000, "user: signal", [this, &job] { SendSignal(job); });
}

MARATHON_INLINE void Simulation::SendSignal(SimJob& job) {
  const int64_t value = job.sent++;
  const RunKey run{job.id, value % 2 == 0 ? job.run->run_id : ""};
  Ask(fmt::format("signal {} {}", job.id, value), job, [this, &job, run, value](Host& host,
                                                                                Answered answered) {
    SignalOptions options;
    options.request_id = fmt::format("{}/signal/{}", job.id, value);
    SimUses<"Run.Signal">();
    host.Signal(run, std::string(kSimSignal.name),
                *Encode(value), std::move(options), [this, &job, answered](const Status& status) {
                  if (!answered(status)) return;
                  if (status.ok()) {
                    if (job.sent == job.signals) return;
                    return AfterInThisLife(0, 4'000, "user: signal",
                                           [this, &job] { SendSignal(job); });
                  }
                  if (status.code() == StatusCode::kFailedPrecondition && HasEnded(job)) return;
                  Violation("I6", job, fmt::format("a signal got: {}", MessageOf(status)));
                });
  });
}

MARATHON_INLINE void Simulation::TerminateJob(SimJob& job) {
  if (!job.run.has_value()) return;
  Ask("terminate " + job.id, job, [this, &job, run = *job.run](Host& host, Answered answered) {
    SimUses<"Run.Terminate">();
    host.Terminate(run, "the user had enough", [this, &job, answered](const Status& status) {
      if (!answered(status)) return;
      if (HasEnded(job) && (status.ok() || status.code() == StatusCode::kFailedPrecondition)) return;
      Violation("I1", job, fmt::format("terminate got: {}", MessageOf(status)));
    });
  });
}

MARATHON_INLINE void Simulation::CancelJob(SimJob& job) {
  if (!job.run.has_value()) return;
  Ask("cancel " + job.id, job, [this, &job, run = *job.run](Host& host, Answered answered) {
    SimUses<"Run.Cancel">();
    host.Cancel(run, std::string(kSimCancelReason), [this, &job, answered](const Status& status) {
      if (!answered(status) || status.ok()) return;
      if (HasEnded(job) && status.code() == StatusCode::kFailedPrecondition) return;
      Violation("I1", job, fmt::format("cancel got: {}", MessageOf(status)));
    });
  });
}

// Five crashes in a row are allowed to show.
MARATHON_INLINE bool Simulation::HasDeadLetter(const SimJob& job) const {
  return std::any_of(invariants_.runs().begin(), invariants_.runs().end(), [&](const auto& entry) {
    const std::string_view id = entry.first.workflow_id;
    return (id == job.id || id.starts_with(job.id + "/")) && entry.second.dead_letter;
  });
}

// What it would return by now is the beginning of what it must return.
MARATHON_INLINE void Simulation::QueryJob(SimJob& job) {
  if (!job.run.has_value() || job.cancel || job.program.Throws()) return;
  Ask("query " + job.id, job, [this, &job, run = *job.run](Host& host, Answered answered) {
    SimUses<"Run.Query">();
    host.Query(run, std::string(kSimQuery.name), Payload(), Duration(500),
               [this, &job, run, answered](const StatusOr<QueryReply>& reply) {
      if (!answered(reply.status())) return;
      const bool none_yet = reply.status().code() == StatusCode::kFailedPrecondition ||
                            reply.status().code() == StatusCode::kCancelled;
      const Invariants::Run* found = invariants_.FindLast(run);
      if (none_yet || job.disordered || HasDeadLetter(job)) return;
      if (life_ > 0 && found != nullptr && MetAnOrphan(*found)) return;
      const auto log = reply.ok() ? Decode<std::string>(reply->answer) : reply.status();
      if (log.ok() && job.program.Expected().starts_with(*log)) return;
      Violation("I8", job, fmt::format("a query got: {}",
                                       log.ok() ? *log : std::string(MessageOf(log.status()))));
    });
  }, true);
}

// Now and then somebody asks for the same twice.
MARATHON_INLINE void Simulation::UpdateJob(SimJob& job) {
  if (!job.run.has_value()) return;
  const int64_t number = job.updates++;
  for (int times = random_.Below(3) == 0 ? 2 : 1; times > 0; --times) SendUpdate(job, number);
}

MARATHON_INLINE void Simulation::SendUpdate(SimJob& job, int64_t number) {
  const auto send = [this, &job, number, run = *job.run](Host& host, Answered answered) {
    UpdateOptions options;
    options.update_id = fmt::format("{}", number);
    SimUses<"Run.StartUpdate">();
    const std::string name(SimTallies(number) ? kSimTally.name : kSimUpdate.name);
    host.Update(run, name, *Encode(number), std::move(options),
                [this, &job, number, answered](const StatusOr<RunKey>& taker) {
      if (!answered(taker.status())) return;
      const UpdateStage stage = number % 2 == 0 ? UpdateStage::kAccepted : UpdateStage::kCompleted;
      if (taker.ok()) return AwaitUpdate(job, number, *taker, stage);
      if (taker.status().code() == StatusCode::kFailedPrecondition && HasEnded(job)) return;
      Violation("I11", job, fmt::format("update {} got: {}", number, MessageOf(taker.status())));
    });
  };
  Ask(fmt::format("update {} {}", job.id, number), job, send);
}

// Until it is accepted, and then until it is answered, or for that at once.
MARATHON_INLINE void Simulation::AwaitUpdate(SimJob& job, int64_t number, const RunKey& run, UpdateStage stage) {
  const auto await = [this, &job, number, run, stage](Host& host, Answered answered) {
    AwaitRequest request{run, fmt::format("{}", number), stage};
    if (stage == UpdateStage::kAccepted) {
      SimUses<"UpdateHandle.Wait">();
    } else {
      SimUses<"Run.Update", "UpdateHandle.Result">();
    }
    host.Await(std::move(request), [this, &job, number, run, stage, answered](const StatusOr<RunEnd>& end) {
      if (!answered(end.status())) return;
      if (!end.ok()) {
        return Violation("I11", job, fmt::format("awaiting update {} got: {}", number,
                                                 MessageOf(end.status())));
      }
      if (end->next.has_value()) return AwaitUpdate(job, number, *end->next, stage);
      if (end->answer.has_value() && std::holds_alternative<UpdateAccepted>(*end->answer)) {
        if (stage == UpdateStage::kAccepted) return AwaitUpdate(job, number, run, UpdateStage::kCompleted);
        return Violation("I11", job, fmt::format("update {} was accepted, not answered", number));
      }
      OnUpdated(job, number, *end);
    });
  };
  Ask(fmt::format("await update {} {}", job.id, number), job, await, true);
}

// Unless its run has ended before, it was rejected if it had to be, or was handled once.
MARATHON_INLINE void Simulation::OnUpdated(SimJob& job, int64_t number, const RunEnd& end) {
  if (!end.answer.has_value()) {
    if (IsClosing(TypeOf(end.closing))) return;  // the audit may hear of it later
    return Violation("I11", job, fmt::format("update {} came to nothing", number));
  }
  const auto& completed = std::get<UpdateCompleted>(*end.answer);
  if (completed.failure.has_value()) {
    const bool rejected = completed.accepted == 0 && SimRejects(number);
    if (rejected || completed.failure->type == failure_type::kUnfinishedUpdate) return;
    return Violation("I11", job, fmt::format("update {} got: {}", number, ToString(*completed.failure)));
  }
  const int64_t answer = Decode<int64_t>(completed.result).value_or(-1);
  const auto [known, first] = job.answers.try_emplace(number, answer);
  if (SimRejects(number) || answer % 1'000 != number || known->second != answer) {
    Violation("I11", job, fmt::format("update {} was answered with {}, or before with {}", number, answer,
                                      known->second));
  }
}

MARATHON_INLINE void Simulation::AwaitJob(SimJob& job, const RunKey& run) {
  const auto await = [this, &job, run](Host& host, Answered answered) {
    SimUses<"Run.Result">();
    host.AwaitEnd(run, [this, &job, answered](const StatusOr<RunEnd>& end) {
      if (!answered(end.status())) return;
      if (!end.ok()) {
        return Violation("I4", job, fmt::format("awaiting it got: {}", MessageOf(end.status())));
      }
      if (end->next.has_value()) return AwaitJob(job, *end->next);
      job.end = end->closing;
    });
  };
  Ask("await " + job.id, job, await, true);
}

MARATHON_INLINE void Simulation::Follow(const RunKey& run, EventId after) {
  AwaitRequest request{run};
  request.after = after;
  Readable(store_)->Await(std::move(request), [this, run, life = life_](const StatusOr<RunSnapshot>& told) {
    if (life != life_) return;  // told of what is no more
    if (!told.ok()) return invariants_.Report("I3", run, MessageOf(told.status()));
    std::vector<std::string>& records = followed_[run];
    records.insert(records.end(), told->records.begin(), told->records.end());
    if (IsOpen(told->row)) return Follow(run, told->row.version);
    const auto& links = told->row.links;
    if (links && !links->next_run_id.empty()) Follow({run.workflow_id, links->next_run_id}, 0);
  });
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
