// RunMessage: one delivery to another run, and what all kinds of them have in common.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/detail/run_messages.h"
#include "marathon/engine/attempt.h"
#include "marathon/engine/host.h"
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

}  // namespace marathon::inline MARATHON_ABI::detail
