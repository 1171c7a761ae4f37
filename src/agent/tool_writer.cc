#include "src/agent/tool_writer.h"

#include <algorithm>
#include <utility>

#include "src/agent/stream_writer.h"

namespace marathon::inline MARATHON_ABI::agent::internal {
namespace {

// Eight at once, then four a second.
constexpr Duration kInterval{250};
constexpr Duration kBurst = 8 * kInterval;
constexpr size_t kTextMax = 1u << 10;
constexpr size_t kUnsureMax = 8;

}  // namespace

ToolWriter::ToolWriter(StreamLog& log, std::string stream, const ToolTask& task, uint64_t fence)
    : log_(log),
      stream_(std::move(stream)),
      writer_(ToolCallWriter(task.step, task.call_id)),
      step_(task.step),
      call_id_(task.call_id),
      fence_(fence),
      due_(-kBurst) {}

void ToolWriter::Progress(std::string text, std::optional<double> fraction, Duration elapsed) {
  AppendFrames request;
  {
    const std::lock_guard lock(mutex_);
    const Duration due = std::max(due_, elapsed - kBurst) + kInterval;
    if (silent_ || due > elapsed) return;
    due_ = due;
    std::string frame = EncodeEvent({.kind = StreamEvent::Kind::kToolProgress, .step = step_,
                                     .text = ShownPart(text, kTextMax), .id = call_id_, .fraction = fraction});
    if (writing_) {
      waiting_ = std::move(frame);
      return;
    }
    request = RequestWith(std::move(frame));
  }
  Write(std::move(request));
}

void ToolWriter::Result(const ToolReply& reply) {
  AppendFrames request;
  {
    std::unique_lock lock(mutex_);
    StopProgress(lock);
    if (refused_) return;
    request = RequestWith(EncodeEvent({.kind = StreamEvent::Kind::kToolResult, .step = step_,
                                       .text = ShownPart(reply.text), .id = call_id_, .is_error = reply.is_error}));
  }
  Write(std::move(request));
  Stop();
}

void ToolWriter::Stop() {
  std::unique_lock lock(mutex_);
  StopProgress(lock);
}

void ToolWriter::StopProgress(std::unique_lock<std::mutex>& lock) {
  silent_ = true;
  waiting_.reset();
  changed_.wait(lock, [this] { return !writing_; });
}

AppendFrames ToolWriter::RequestWith(std::string frame) {
  writing_ = true;
  sent_.push_back(std::move(frame));
  return {.stream = stream_, .step = writer_, .fence = fence_, .written = written_, .frames = sent_};
}

void ToolWriter::Write(AppendFrames request) {
  log_.Append(std::move(request), [self = shared_from_this()](const StatusOr<uint64_t>& last) {
    self->Written(last.status());
  });
}

void ToolWriter::Written(const Status& status) {
  AppendFrames next;
  {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    switch (status.code()) {
      case StatusCode::kOk:
        written_ += sent_.size();
        sent_.clear();
        break;
      case StatusCode::kUnavailable: sent_.pop_back(); break;
      // Perhaps written: it is sent again with what comes next, and the log knows it then.
      case StatusCode::kUnknown: silent_ |= sent_.size() >= kUnsureMax; break;
      default: silent_ = refused_ = true;
    }
    if (silent_) waiting_.reset();
    if (waiting_) next = RequestWith(*std::exchange(waiting_, std::nullopt));
    changed_.notify_all();
  }
  if (!next.frames.empty()) Write(std::move(next));
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
