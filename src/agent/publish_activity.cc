#include "src/agent/publish_activity.h"

#include <memory>
#include <utility>
#include <vector>

#include "marathon/agent/stream.h"
#include "marathon/errors.h"
#include "src/agent/stream_writer.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

namespace {

using AppendList = std::vector<AppendFrames>;  // the last one is the first to be made

void AppendAll(StreamLog& log, std::shared_ptr<AppendList> left, ActivityCompletion<void> done) {
  AppendFrames request = std::move(left->back());
  left->pop_back();
  log.Append(std::move(request), [&log, left, done = std::move(done)](const StatusOr<uint64_t>& last) mutable {
    if (last.ok()) return left->empty() ? done.Complete() : AppendAll(log, std::move(left), std::move(done));
    Failure failure = marathon::detail::FailureOfStatus(last.status());
    const StatusCode code = last.status().code();
    failure.non_retryable = code == StatusCode::kInvalidArgument || code == StatusCode::kUnimplemented;
    done.Fail(std::move(failure));
  });
}

}  // namespace

void Publish(ActivityContext& ctx, const PublishTask& task, ActivityCompletion<void> done) {
  const std::string stream = StreamOf(ctx.info().key.run.run_id);
  auto appends = std::make_shared<AppendList>();
  appends->push_back({.stream = stream, .step = task.writer, .fence = kLastFence, .frames = task.frames});
  for (const std::string& step : task.silences) {
    appends->push_back({.stream = stream, .step = step, .fence = kLastFence});
  }
  AppendAll(ctx.streams(), std::move(appends), std::move(done));
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
