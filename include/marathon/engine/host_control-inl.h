// Host: what operators do to runs.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "marathon/engine/host.h"

namespace marathon::inline MARATHON_ABI {

struct Host::OperateState {
  RunKey run;
  StoreCall call;
  bool may_be_gone = false;
  int failures = 0;
  bool in_doubt = false;  // it may have been done
  DoneStatus done;
};

MARATHON_INLINE void Host::Pause(RunKey run, std::string reason, DoneStatus done) {
  if (Status status = CheckReason(reason); !status.ok()) return done(std::move(status));
  Operate(
      std::move(run),
      [reason = std::move(reason)](StateStore& store, const RunKey& key, DoneStatus one) {
        store.Pause(key, reason, std::move(one));
      },
      std::move(done));
}

MARATHON_INLINE void Host::Pin(RunKey run, std::string build_id, DoneStatus done) {
  Operate(
      std::move(run),
      [build_id = std::move(build_id)](StateStore& store, const RunKey& key, DoneStatus one) {
        store.Pin(key, build_id, std::move(one));
      },
      std::move(done));
}

MARATHON_INLINE void Host::Operate(RunKey run, StoreCall call, DoneStatus done, bool may_be_gone) {
  auto state = std::make_shared<OperateState>();
  state->run = std::move(run);
  state->call = std::move(call);
  state->may_be_gone = may_be_gone;
  state->done = std::move(done);
  if (stopping()) return state->done(FailedPrecondition("the engine has been shut down"));
  SendOperation(std::move(state));
}

MARATHON_INLINE void Host::SendOperation(std::shared_ptr<OperateState> state) {
  // Which run is the newest is asked once: a call that is repeated must not meet another one.
  if (state->run.run_id.empty()) {
    return store_->Read({.run = state->run}, [self = Self(), state](StatusOr<RunSnapshot> read) {
      if (!read.ok()) return self->OnOperated(state, read.status());
      state->run = read->row.key;
      self->SendOperation(state);
    });
  }
  state->call(*store_, state->run,
              [self = Self(), state](Status status) { self->OnOperated(state, std::move(status)); });
}

MARATHON_INLINE void Host::OnOperated(const std::shared_ptr<OperateState>& state, Status status) {
  constexpr int kTries = 8;
  if (IsTransient(status) && ++state->failures < kTries && !stopping()) {
    state->in_doubt |= status.code() == StatusCode::kUnknown;
    return AfterBackoff(state->failures, [self = Self(), state] { self->SendOperation(state); });
  }
  const bool gone = state->may_be_gone && status.code() == StatusCode::kNotFound;
  state->done(gone && state->in_doubt ? Status() : std::move(status));
}

}  // namespace marathon::inline MARATHON_ABI
