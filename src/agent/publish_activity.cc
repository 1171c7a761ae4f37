#include "src/agent/publish_activity.h"

#include <utility>

#include "marathon/agent/stream.h"
#include "marathon/errors.h"
#include "src/agent/stream_writer.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

void Publish(ActivityContext& ctx, const PublishTask& task, ActivityCompletion<void> done) {
  AppendFrames request{.stream = StreamOf(ctx.info().key.run.run_id), .step = task.writer, .fence = kLastFence,
                       .frames = task.frames};
  ctx.streams().Append(std::move(request), [done = std::move(done)](const StatusOr<uint64_t>& last) mutable {
    if (last.ok()) return done.Complete();
    Failure failure = marathon::detail::FailureOfStatus(last.status());
    const StatusCode code = last.status().code();
    failure.non_retryable = code == StatusCode::kInvalidArgument || code == StatusCode::kUnimplemented;
    done.Fail(std::move(failure));
  });
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
