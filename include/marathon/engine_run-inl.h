// Run: the client's calls to one run.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "marathon/engine.h"
#include "marathon/engine/checks.h"
#include "marathon/engine_impl-inl.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE StatusOr<Payload> Run::ResultPayload(Duration timeout) const {
  StatusOr<RunEnd> end = engine_->Await({key_}, timeout);
  if (!end.ok()) return end.status();
  if (Status sealed = engine_->host->sealer().CheckOpen(end->closing, key_.workflow_id); !sealed.ok()) return sealed;
  if (auto* completed = std::get_if<WorkflowCompleted>(&end->closing)) {
    return std::move(completed->result);
  }
  if (const auto* failed = std::get_if<WorkflowFailed>(&end->closing)) {
    return FailureStatus(failed->failure);
  }
  Failure failure;
  if (const auto* canceled = std::get_if<WorkflowCanceled>(&end->closing)) {
    failure.kind = FailureKind::kCanceled;
    failure.type = failure_type::kCanceled;
    failure.message = "canceled: " + canceled->reason;
  } else if (const auto* terminated = std::get_if<WorkflowTerminated>(&end->closing)) {
    failure.kind = FailureKind::kTerminated;
    failure.message = "terminated: " + terminated->reason;
  } else {
    failure.kind = FailureKind::kTimeout;
    failure.timeout = TimeoutKind::kRun;
    failure.type = failure_type::kTimeout;
    failure.message = "its run timeout passed";
  }
  return FailureStatus(failure);
}

MARATHON_INLINE Status Run::SignalPayload(std::string_view name, Payload value,
                                          SignalOptions options) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Signal(key_, std::string(name), std::move(value), std::move(options),
                          std::move(done));
  });
}

MARATHON_INLINE Status Run::Cancel(std::string_view reason) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Cancel(key_, std::string(reason), std::move(done));
  });
}

MARATHON_INLINE StatusOr<QueryReply> Run::QueryPayload(std::string_view name, Payload input,
                                                       QueryOptions options) const {
  return engine_->Await<QueryReply>([&](Done<QueryReply> done) {
    engine_->host->Query(key_, std::string(name), std::move(input), options.patience, std::move(done));
  });
}

MARATHON_INLINE Status Run::Terminate(std::string_view reason) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Terminate(key_, std::string(reason), std::move(done));
  });
}

MARATHON_INLINE Status Run::Unblock() const {
  return engine_->Operate(key_, [](StateStore& store, const RunKey& run, DoneStatus done) {
    store.Unblock(run, std::move(done));
  });
}

MARATHON_INLINE Status Run::Pause(std::string_view reason) const {
  return engine_->AwaitStatus([&](DoneStatus done) {
    engine_->host->Pause(key_, std::string(reason), std::move(done));
  });
}

MARATHON_INLINE Status Run::Resume() const {
  return engine_->Operate(key_, [](StateStore& store, const RunKey& run, DoneStatus done) {
    store.Resume(run, std::move(done));
  });
}

MARATHON_INLINE Status Run::Pin(std::string_view build_id) const {
  if (Status status = CheckText("build id", build_id, limits::kMaxNameBytes); !status.ok()) return status;
  return engine_->AwaitStatus(
      [&](DoneStatus done) { engine_->host->Pin(key_, std::string(build_id), std::move(done)); });
}

MARATHON_INLINE Status Run::Unpin() const {
  return engine_->AwaitStatus([&](DoneStatus done) { engine_->host->Pin(key_, "", std::move(done)); });
}

MARATHON_INLINE Status Run::RetryActivity(EventId id) const {
  const auto retry = [id](StateStore& store, const RunKey& run, DoneStatus done) {
    store.RetryActivity({run, id}, std::move(done));
  };
  return engine_->Operate(key_, retry, /*may_be_gone=*/true);
}

MARATHON_INLINE Status Run::Delete() const {
  const auto erase = [](StateStore& store, const RunKey& run, DoneStatus done) {
    store.Delete(run, std::move(done));
  };
  return engine_->Operate(key_, erase, /*may_be_gone=*/true);
}

MARATHON_INLINE StatusOr<Run> Run::Fork(ForkOptions options) const {
  auto started = engine_->Await<StartReply>([&](Done<StartReply> done) {
    engine_->host->Fork(key_, std::move(options), std::move(done));
  });
  if (!started.ok()) return std::move(started).status();
  return Run(engine_, std::move(started->run));
}

MARATHON_INLINE StatusOr<RunDescription> Run::Describe() const {
  ReadRequest request;
  request.run = key_;
  request.activities = true;
  auto read = engine_->Ask<RunSnapshot>(
      [&](StateStore& store, Done<RunSnapshot> done) { store.Read(request, std::move(done)); });
  if (!read.ok()) return read.status();
  return RunDescription{std::move(read->row), std::move(read->activities), read->now};
}

MARATHON_INLINE StatusOr<marathon::History> Run::History() const {
  marathon::History history;
  ReadRequest request;
  request.run = key_;
  request.records = true;
  for (bool more = true; more;) {
    auto page = engine_->Ask<RunSnapshot>(
        [&](StateStore& store, Done<RunSnapshot> done) { store.Read(request, std::move(done)); });
    if (!page.ok()) return page.status();
    for (const std::string& record : page->records) {
      if (Status status = AppendRecord(record, history); !status.ok()) return status;
    }
    request.run = page->row.key;
    if (!history.empty()) request.after_version = history.back().id;
    more = page->more_records;
  }
  return history;
}

}  // namespace marathon::inline MARATHON_ABI
