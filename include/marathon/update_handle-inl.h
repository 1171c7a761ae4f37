// The calls of Engine and Run that send updates, and UpdateHandle.
#pragma once

#include "marathon/update_handle.h"

#include <fmt/format.h>

#include <string>
#include <utility>
#include <variant>

#include "marathon/engine.h"

namespace marathon::inline MARATHON_ABI {

// ---- Sending ---------------------------------------------------------------------------------------

MARATHON_INLINE StatusOr<UpdateHandle> Engine::UpdateWithStartPayload(
    std::string_view workflow_type, Payload input, std::string_view update, Payload update_input,
    StartOptions options, UpdateOptions update_options) {
  if (update_options.update_id.empty()) update_options.update_id = impl_->host->NewId();
  const std::string name(update);
  if (Status s = Host::CheckUpdate(name, update_input, update_options); !s.ok()) return s;
  Message message = Host::UpdateMessage(name, std::move(update_input), update_options);
  options.id_conflict = IdConflictPolicy::kUseExisting;
  auto run = StartWith(workflow_type, std::move(input), std::move(options), {std::move(message)});
  if (!run.ok()) return run.status();
  UpdateHandle handle(impl_, run->key(), std::move(update_options.update_id));
  if (Status s = handle.Wait(update_options.wait, update_options.patience); !s.ok()) return s;
  return handle;
}

MARATHON_INLINE StatusOr<UpdateHandle> Run::SendUpdate(std::string_view name, Payload input,
                                                       UpdateOptions options) const {
  if (options.update_id.empty()) options.update_id = engine_->host->NewId();
  auto run = engine_->Await<RunKey>([&](Done<RunKey> done) {
    engine_->host->Update(key_, std::string(name), std::move(input), options, std::move(done));
  });
  if (!run.ok()) return run.status();
  return UpdateHandle(engine_, *std::move(run), std::move(options.update_id));
}

MARATHON_INLINE StatusOr<UpdateHandle> Run::StartUpdatePayload(std::string_view name, Payload input,
                                                               UpdateOptions options) const {
  const UpdateStage stage = options.wait;
  const Duration patience = options.patience;
  auto update = SendUpdate(name, std::move(input), std::move(options));
  if (!update.ok()) return update;
  if (Status s = update->Wait(stage, patience); !s.ok()) return s;
  return update;
}

// ---- Waiting ---------------------------------------------------------------------------------------

namespace detail {

// A failure, which travels inside, with the code that says whose it is.
inline Status WithCode(StatusCode code, const Failure& failure) {
  const Status coded = FailureStatus(failure);
  Status status = MakeStatus(code, MessageOf(coded));
  coded.ForEachPayload([&](auto url, const absl::Cord& bytes) { status.SetPayload(url, bytes); });
  return status;
}

// Why an update came to nothing: it was not let in, or its run has left it behind, or its handler has failed.
inline Status UpdateStatus(const UpdateCompleted& completed) {
  const Failure& failure = *completed.failure;
  if (failure.kind == FailureKind::kEngine && failure.type == failure_type::kUnfinishedUpdate) {
    return WithCode(StatusCode::kFailedPrecondition, failure);
  }
  if (completed.accepted != 0) return FailureStatus(failure);
  const bool unknown =
      failure.kind == FailureKind::kEngine && failure.type == failure_type::kUnknownUpdate;
  return WithCode(unknown ? StatusCode::kNotFound : StatusCode::kInvalidArgument, failure);
}

}  // namespace detail

MARATHON_INLINE Run UpdateHandle::run() const { return Run(engine_, run_); }

MARATHON_INLINE StatusOr<UpdateCompleted> UpdateHandle::Await(UpdateStage stage, Duration timeout) const {
  StatusOr<RunEnd> end = engine_->Await({run_, update_id_, stage}, timeout);
  if (!end.ok()) return end.status();
  if (!end->answer) {
    return FailedPrecondition(
        fmt::format("the workflow \"{}\" ended before it {} update \"{}\"", run_.workflow_id,
                    stage == UpdateStage::kAccepted ? "accepted" : "completed", update_id_));
  }
  if (Status sealed = engine_->host->sealer().CheckOpen(*end->answer, run_.workflow_id); !sealed.ok()) return sealed;
  if (auto* completed = std::get_if<UpdateCompleted>(&*end->answer)) return std::move(*completed);
  return UpdateCompleted{};
}

// Once it is accepted, what its handler does is for Result to tell.
MARATHON_INLINE Status UpdateHandle::Wait(UpdateStage stage, Duration timeout) const {
  StatusOr<UpdateCompleted> completed = Await(stage, timeout);
  if (!completed.ok()) return completed.status();
  const bool refused = completed->failure && completed->accepted == 0;
  return refused ? detail::UpdateStatus(*completed) : Status();
}

MARATHON_INLINE StatusOr<Payload> UpdateHandle::ResultPayload(Duration timeout) const {
  StatusOr<UpdateCompleted> completed = Await(UpdateStage::kCompleted, timeout);
  if (!completed.ok()) return completed.status();
  if (completed->failure) return detail::UpdateStatus(*completed);
  return std::move(completed->result);
}

}  // namespace marathon::inline MARATHON_ABI
