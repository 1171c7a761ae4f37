#include "src/agent/stream_writer.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "marathon/detail/sha256.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI::agent::internal {
namespace {

using Kind = StreamEvent::Kind;

constexpr size_t kFrameBytes = 4u << 10;  // pieces of one block go together up to this
constexpr uint64_t kManyFrames = 16;      // more than this are worth to be replaced by a few
constexpr int kFailures = 3;              // in a row; then a log that is away is not waited for

Kind KindOf(llm::Delta::Kind kind) {
  switch (kind) {
    case llm::Delta::Kind::kText: return Kind::kText;
    case llm::Delta::Kind::kReasoning: return Kind::kReasoning;
    case llm::Delta::Kind::kToolCall: return Kind::kToolCall;
    case llm::Delta::Kind::kToolArguments: return Kind::kToolArguments;
    case llm::Delta::Kind::kReset: return Kind::kReset;
  }
  return Kind::kText;
}

bool Appends(Kind kind) {
  return kind == Kind::kText || kind == Kind::kReasoning || kind == Kind::kToolArguments;
}

// How much of `text` is a piece: not in the middle of a character.
size_t PieceOf(std::string_view text, size_t max = kShownBytes) {
  if (text.size() <= max) return text.size();
  size_t end = max;
  while (end > max - 4 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return end;
}

// In pieces, if it is large.
template <class Take>
void ForEachPiece(StreamEvent event, Take take) {
  if (!Appends(event.kind)) return take(event);
  const std::string text = std::move(event.text);
  for (std::string_view rest = text; !rest.empty();) {
    event.text = rest.substr(0, PieceOf(rest));
    rest.remove_prefix(event.text.size());
    take(event);
  }
}

}  // namespace

void StreamWriter::Begin(std::string_view model, int turn, int attempt) {
  begin_ = {.kind = Kind::kStepBegin, .step = step_, .text = std::string(model), .turn = turn, .attempt = attempt};
  Put(begin_);
}

void StreamWriter::Add(const llm::Delta& delta) {
  StreamEvent event{.kind = KindOf(delta.kind), .step = step_, .block = delta.block, .text = delta.text,
                    .id = delta.id};
  if (event.kind == Kind::kReset) {
    event.text = "another model answers";
    event.attempt = begin_.attempt;
  }
  ForEachPiece(std::move(event), [this](const StreamEvent& piece) { Put(piece); });
}

void StreamWriter::Finish(const llm::ChatResponse& response, std::string digest, Callback<void(bool)> done) {
  StreamEvent snapshot = begin_;
  snapshot.kind = Kind::kSnapshot;
  std::vector<std::string> whole = FramesOf(snapshot, response, digest);
  {
    const std::lock_guard lock(mutex_);
    if (response.usage != llm::Usage()) {
      AddWaiting({.kind = Kind::kUsage, .step = step_, .usage = response.usage});
    }
    AddWaiting({.kind = Kind::kStepDone, .step = step_, .text = std::move(digest)});
    whole_ = std::move(whole);
    done_ = std::move(done);
    if (std::exchange(writing_, true)) return;
  }
  Write();
}

void StreamWriter::Abandon(Callback<void(bool)> done) {
  {
    const std::lock_guard lock(mutex_);
    broken_ = true;
  }
  End(std::move(done));
}

void StreamWriter::End(Callback<void(bool)> done) {
  bool written;
  {
    const std::lock_guard lock(mutex_);
    if (writing_) {
      done_ = std::move(done);
      return;
    }
    written = !broken_ || absent_;
  }
  done(written);
}

void StreamWriter::Put(StreamEvent event) {
  {
    const std::lock_guard lock(mutex_);
    AddWaiting(std::move(event));
    if (std::exchange(writing_, true)) return;
  }
  Write();
}

void StreamWriter::AddWaiting(StreamEvent event) {
  StreamEvent* last = waiting_.empty() ? nullptr : &waiting_.back();
  if (last != nullptr && Appends(event.kind) && last->kind == event.kind && last->block == event.block &&
      last->text.size() + event.text.size() <= kFrameBytes) {
    last->text += event.text;
  } else {
    waiting_.push_back(std::move(event));
  }
}

// What goes next; false: nothing.
bool StreamWriter::Gather(AppendFrames& request) {
  if (broken_) waiting_.clear();
  if (batch_.empty()) {
    const size_t count = std::min(waiting_.size(), limits::kAppendMaxFrames);
    for (size_t i = 0; i < count; ++i) batch_.push_back(EncodeEvent(waiting_[i]));
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
  }
  // What others have said in between would go as well; what they say meanwhile keeps it as it is.
  const bool is_alone = first_ != 0 && last_ - first_ + 1 == written_;
  const bool is_worth_it = written_ >= kManyFrames && written_ >= 2 * whole_.size();
  if (batch_.empty() && !broken_ && is_alone && is_worth_it && whole_.size() <= limits::kAppendMaxFrames) {
    batch_ = std::exchange(whole_, {});
    replacing_ = !batch_.empty();
  }
  request.written = written_;
  request.frames = batch_;
  if (replacing_) {
    request.replaces_from = first_;
    request.replaces_to = last_;
  }
  return !batch_.empty();
}

// While there is something to write. A log that answers at once is a loop here, no recursion.
void StreamWriter::Write() {
  for (;;) {
    AppendFrames request{.stream = stream_, .step = ModelWriter(step_), .fence = fence_};
    Callback<void(bool)> done;
    bool written = false, more = false;
    {
      const std::lock_guard lock(mutex_);
      more = Gather(request);
      if (!more) {
        writing_ = false;
        if (done_) done = std::exchange(done_, nullptr);
        written = !broken_ || absent_;
      }
    }
    if (!more) {
      if (done) done(written);
      return;
    }
    auto turns = std::make_shared<std::atomic<int>>(0);
    log_.Append(std::move(request), [self = shared_from_this(), turns](const StatusOr<uint64_t>& last) {
      self->Written(last);
      if (turns->exchange(1) == 1) self->Write();
    });
    if (turns->exchange(1) == 0) return;  // the answer will go on
  }
}

void StreamWriter::Written(const StatusOr<uint64_t>& last) {
  const std::lock_guard lock(mutex_);
  if (replacing_) {  // all has been said before, whatever came of this
    replacing_ = false;
    batch_.clear();
    return;
  }
  if (last.ok()) {
    if (first_ == 0) first_ = *last - batch_.size() + 1;
    last_ = *last;
    written_ += batch_.size();
    failures_ = 0;
    batch_.clear();
    return;
  }
  const bool again = last.status().code() == StatusCode::kUnavailable ||
                     last.status().code() == StatusCode::kUnknown;
  if (again && ++failures_ < kFailures) return;  // the same batch once more
  broken_ = true;
  absent_ = last.status().code() == StatusCode::kUnimplemented;
  batch_.clear();
}

std::string ToolCallWriter(int step, const std::string& call_id) {
  return "tool/" + marathon::detail::Sha256Hex(std::to_string(step) + "/" + call_id);
}

std::string ShownPart(const std::string& text, size_t max) {
  const size_t size = PieceOf(text, max);
  return size == text.size() ? text : text.substr(0, size) + " […]";
}

std::vector<std::string> FramesOf(const StreamEvent& begin, const llm::ChatResponse& response,
                                  const std::string& digest) {
  const int step = begin.step;
  std::vector<std::string> frames;
  const auto put = [&](const StreamEvent& event) { frames.push_back(EncodeEvent(event)); };
  put(begin);
  for (size_t block = 0; block < response.blocks.size(); ++block) {
    const llm::Block& one = response.blocks[block];
    if (const auto* text = std::get_if<llm::Text>(&one)) {
      ForEachPiece({.kind = Kind::kText, .step = step, .block = block, .text = text->text}, put);
    } else if (const auto* thought = std::get_if<llm::Reasoning>(&one)) {
      ForEachPiece({.kind = Kind::kReasoning, .step = step, .block = block, .text = thought->text}, put);
    } else if (const auto* call = std::get_if<llm::ToolCall>(&one)) {
      put({.kind = Kind::kToolCall, .step = step, .block = block, .text = call->name, .id = call->id});
      ForEachPiece({.kind = Kind::kToolArguments, .step = step, .block = block, .text = call->arguments}, put);
    }
  }
  if (response.usage != llm::Usage()) put({.kind = Kind::kUsage, .step = step, .usage = response.usage});
  put({.kind = Kind::kStepDone, .step = step, .text = digest});
  return frames;
}

std::string ApprovalFrame(int step, const PendingApproval& call) {
  StreamEvent event{.kind = Kind::kApproval, .step = step, .text = call.arguments, .id = call.key, .tool = call.tool,
                    .digest = call.digest, .expires = call.expires};
  std::string frame = EncodeEvent(event);
  if (frame.size() <= limits::kFrameMaxBytes) return frame;
  event.text = ShownPart(call.arguments);
  event.cut = true;
  return EncodeEvent(event);
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
