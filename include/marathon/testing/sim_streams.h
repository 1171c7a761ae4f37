// SimStreams: simulated activities that write to a StreamLog while they work, listeners who leave and come back, and
// what must be in the streams in the end (I15). Attempts that were overtaken go on writing, and calls arrive twice, or
// once more when their caller is long dead. Some replace what they have said by a frame that stands for it.
//
// Not safe from several threads: the world has one.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/registry.h"
#include "marathon/status.h"
#include "marathon/stream_log.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_coverage.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

class SimStreams {
 public:
  // `fenced`: attempts of one call write as one step. Where the store loses its tail and the log does not, an epoch
  // may come again, and each is a step of its own.
  SimStreams(SimWorld& world, Invariants& invariants, std::shared_ptr<StreamLog> log, bool fenced)
      : world_(world), invariants_(invariants), random_(world.Fork("streams")), log_(std::move(log)), fenced_(fenced) {}

  void Bind(Registry& registry, SimProcess& process);
  // One call that completed, as its history has it.
  void CheckSpoken(const RunKey& run, const std::string& key, const SimWork& work, Epoch fence);
  // All of the log, at the end. Trims it.
  void Check();
  // Once nobody has written for longer than streams are kept.
  void CheckSwept();

 private:
  // One attempt that speaks.
  struct Speaker {
    ActivityContext& ctx;
    ActivityCompletion<int64_t> done;
    ActorId actor;
    SimWork work;
    std::string stream, step;
    uint32_t said = 0;
    uint64_t first = 0, last = 0;  // the numbers of its frames; first 0: it is not known
    bool astray = false;           // its first ones may come by themselves, so it knows no numbers
  };
  // Somebody who follows a stream.
  struct Listener {
    std::vector<StreamFrame> heard;
    uint64_t reading = 0;  // the name of the newest read
    uint64_t reads = 0;
    uint64_t answered = 0;  // the newest that has been
  };
  struct Frame {
    std::string key;
    Epoch fence = 0;
    uint32_t index = 0;
    bool whole() const { return index >= kWhole; }
  };
  static constexpr uint32_t kWhole = 1'000'000;  // and more: it stands for so many frames more

  static std::string TextOf(const std::string& key, Epoch fence, uint32_t index) {
    return fmt::format("{} {} {}", key, fence, index);
  }
  static Frame Parse(std::string_view text);
  void Say(const std::shared_ptr<Speaker>& speaker);
  void OnSaid(const std::shared_ptr<Speaker>& speaker, const AppendFrames& request, const StatusOr<uint64_t>& said);
  void Replace(Speaker& speaker);
  void ArriveLater(const AppendFrames& request);
  void Listen(const std::string& stream);
  void OnPage(const std::string& stream, uint64_t read, const StatusOr<FramePage>& page);
  std::vector<StreamFrame> ReadAll(const std::string& stream);
  void CheckHeard(const std::string& stream, const std::vector<StreamFrame>& frames);
  void CheckTrim(const std::string& stream, const std::vector<StreamFrame>& frames);
  void Report(const std::string& stream, std::string_view what) {
    invariants_.Report("I15", {stream, ""}, what);
  }

  SimWorld& world_;
  Invariants& invariants_;
  SeededRandom random_;
  const std::shared_ptr<StreamLog> log_;
  const bool fenced_;
  std::map<std::string, Listener> listeners_;  // one for each stream there is
};

inline void SimStreams::Bind(Registry& registry, SimProcess& process) {
  registry.Bind(kSimSpeak, [this, &process](ActivityContext& ctx, const int64_t& input,
                                            ActivityCompletion<int64_t> done) {
    std::string step = ctx.idempotency_key();
    if (!fenced_) step += fmt::format("@{}", ctx.info().epoch);
    Say(std::make_shared<Speaker>(Speaker{ctx, std::move(done), process.runtime.actor(), SimWork::Unpack(input),
                                          ctx.info().key.run.workflow_id.str(), std::move(step)}));
  });
}

inline SimStreams::Frame SimStreams::Parse(std::string_view text) {
  Frame frame;
  const size_t index = text.rfind(' ');
  const size_t fence = text.rfind(' ', index - 1);
  std::from_chars(text.data() + fence + 1, text.data() + index, frame.fence);
  std::from_chars(text.data() + index + 1, text.data() + text.size(), frame.index);
  frame.key = text.substr(0, fence);
  return frame;
}

// A frame or two, or the end.
inline void SimStreams::Say(const std::shared_ptr<Speaker>& speaker) {
  const SimWork& work = speaker->work;
  world_.After(speaker->actor, random_.Between(0, 700) * 1'000, "speak", [this, speaker, &work] {
    const bool fails = speaker->ctx.attempt() <= work.fails;
    if (fails && speaker->said > 0) return speaker->done.Fail(Failure{.message = "fails by plan"});
    if (speaker->said == SimFrames(work)) {
      Replace(*speaker);
      return speaker->done.Complete(speaker->ctx.info().epoch);
    }
    const std::string key = speaker->ctx.idempotency_key();
    AppendFrames request{speaker->stream, speaker->step, static_cast<uint64_t>(speaker->ctx.info().epoch),
                         speaker->said};
    const uint32_t until = std::min<uint32_t>(SimFrames(work), speaker->said + 1 + random_.Below(2));
    for (uint32_t i = speaker->said; i < until; ++i) {
      request.frames.push_back(TextOf(key, speaker->ctx.info().epoch, i));
    }
    if (random_.Below(4) == 0) {
      ArriveLater(request);
      speaker->astray = speaker->astray || request.written == 0;
    }
    if (random_.Below(8) == 0) return Say(speaker);  // the call was lost, or only its answer was
    SimUses<"StreamLog.Append">();
    log_->Append(request, [&](const StatusOr<uint64_t>& said) { OnSaid(speaker, request, said); });
  });
}

inline void SimStreams::OnSaid(const std::shared_ptr<Speaker>& speaker, const AppendFrames& request,
                               const StatusOr<uint64_t>& said) {
  if (!said.ok()) {
    const bool overtaken = said.status().code() == StatusCode::kAborted && fenced_;
    if (!overtaken) Report(request.stream, fmt::format("an append got: {}", MessageOf(said.status())));
    return speaker->done.Fail(Failure{.message = "is overtaken"});
  }
  if (listeners_.try_emplace(request.stream).second) Listen(request.stream);
  if (request.written == 0 && request.frames.size() == 1) speaker->first = *said;
  speaker->last = *said;
  if (random_.Below(8) != 0) speaker->said = static_cast<uint32_t>(request.written + request.frames.size());
  Say(speaker);
}

// If nobody else has spoken in between. Others may have since, and keep it from that.
inline void SimStreams::Replace(Speaker& speaker) {
  const uint32_t said = speaker.said;
  const bool alone = speaker.first != 0 && !speaker.astray && speaker.last - speaker.first + 1 == said;
  if (!alone || speaker.work.id % 3 == 0) return;
  const auto fence = static_cast<uint64_t>(speaker.ctx.info().epoch);
  AppendFrames request{speaker.stream, speaker.step, fence, said};
  request.frames = {TextOf(speaker.ctx.idempotency_key(), speaker.ctx.info().epoch, kWhole + said)};
  request.replaces_from = speaker.first;
  request.replaces_to = speaker.last;
  log_->Append(request, [&](const StatusOr<uint64_t>& whole) {
    const StatusCode code = whole.status().code();
    if (whole.ok() || code == StatusCode::kFailedPrecondition || (code == StatusCode::kAborted && fenced_)) return;
    Report(request.stream, fmt::format("a replacing append got: {}", MessageOf(whole.status())));
  });
}

// On its way while its caller goes on, or dies.
inline void SimStreams::ArriveLater(const AppendFrames& request) {
  world_.After(kWorldActor, random_.Between(0, 10'000) * 1'000, "speech comes late", [this, request] {
    log_->Append(request, [&](const StatusOr<uint64_t>& said) {
      if (said.ok() && listeners_.try_emplace(request.stream).second) Listen(request.stream);
      // What lies before it is there, or was written under a higher fence.
      if (said.ok() || (said.status().code() == StatusCode::kAborted && fenced_)) return;
      Report(request.stream, fmt::format("a late append got: {}", MessageOf(said.status())));
    });
  });
}

// Reads on, from where it was; now and then it goes away and comes back.
inline void SimStreams::Listen(const std::string& stream) {
  Listener& listener = listeners_[stream];
  const uint64_t after = listener.heard.empty() ? 0 : listener.heard.back().seq;
  const uint64_t read = ++listener.reads;
  SimUses<"StreamLog.Read">();
  listener.reading = log_->Read({.stream = stream, .after = after, .max = 3, .wait = true},
                                [this, stream, read](const StatusOr<FramePage>& page) { OnPage(stream, read, page); });
  if (random_.Below(3) != 0) return;
  world_.After(kWorldActor, random_.Between(0, 3'000) * 1'000, "listener: leaves", [this, stream, read] {
    Listener& gone = listeners_[stream];
    if (gone.reads != read || gone.answered == read) return;  // perhaps while it was asked
    SimUses<"StreamLog.CancelRead">();
    log_->CancelRead(std::exchange(gone.reading, 0));
    world_.After(kWorldActor, random_.Between(0, 5'000) * 1'000, "listener: comes back",
                 [this, stream] { Listen(stream); });
  });
}

inline void SimStreams::OnPage(const std::string& stream, uint64_t read, const StatusOr<FramePage>& page) {
  if (!page.ok()) return Report(stream, fmt::format("a read got: {}", MessageOf(page.status())));
  Listener& listener = listeners_[stream];
  listener.answered = read;
  listener.heard.insert(listener.heard.end(), page->frames.begin(), page->frames.end());
  world_.After(kWorldActor, 0, "listener: reads on", [this, stream] { Listen(stream); });
}

inline std::vector<StreamFrame> SimStreams::ReadAll(const std::string& stream) {
  std::vector<StreamFrame> frames;
  for (bool more = true; more;) {
    const uint64_t after = frames.empty() ? 0 : frames.back().seq;
    log_->Read({.stream = stream, .after = after, .max = 4}, [&](const StatusOr<FramePage>& page) {
      more = page.ok() && !page->frames.empty();
      if (more) frames.insert(frames.end(), page->frames.begin(), page->frames.end());
    });
  }
  return frames;
}

inline void SimStreams::CheckSpoken(const RunKey& run, const std::string& key, const SimWork& work, Epoch fence) {
  Epoch last = -1;
  uint32_t count = 0;
  for (const StreamFrame& frame : ReadAll(run.workflow_id.str())) {
    const Frame parsed = Parse(frame.bytes);
    if (parsed.key != key) continue;
    if (fenced_ || parsed.fence == fence) last = parsed.fence;
    if (parsed.fence == fence) count += parsed.whole() ? parsed.index - kWhole : 1;
  }
  if (last == fence && count == SimFrames(work)) return;
  Report(run.workflow_id.str(), fmt::format("{} said {} of {} frames under fence {}; the last fence is {}", key, count,
                                            SimFrames(work), fence, last));
}

// All that is there, in its order, and nothing besides but what has been replaced since.
inline void SimStreams::CheckHeard(const std::string& stream, const std::vector<StreamFrame>& frames) {
  std::set<std::pair<std::string, Epoch>> replaced;
  for (const StreamFrame& frame : frames) {
    const Frame parsed = Parse(frame.bytes);
    if (parsed.whole()) replaced.emplace(parsed.key, parsed.fence);
  }
  std::vector<StreamFrame> heard = listeners_.at(stream).heard;
  std::erase_if(heard, [&](const StreamFrame& frame) {
    const Frame parsed = Parse(frame.bytes);
    return !parsed.whole() && replaced.contains({parsed.key, parsed.fence});
  });
  if (heard == frames) return;
  Report(stream, fmt::format("its listener heard {} frames of {}", heard.size(), frames.size()));
}

inline void SimStreams::Check() {
  for (const auto& [stream, listener] : listeners_) {
    const std::vector<StreamFrame> frames = ReadAll(stream);
    CheckHeard(stream, frames);
    std::map<std::string, Frame> newest;  // of each call
    std::map<std::pair<std::string, Epoch>, uint32_t> counts;
    uint64_t seq = 0;
    for (const StreamFrame& frame : frames) {
      const Frame parsed = Parse(frame.bytes);
      const uint32_t stands_for = parsed.whole() ? parsed.index - kWhole : 0;  // their numbers are missing
      seq = seq == 0 ? frame.seq : seq + stands_for + 1;
      if (frame.seq != seq) Report(stream, fmt::format("frame {} stands where {} should be", frame.seq, seq));
      const auto [before, first] = newest.try_emplace(parsed.key, parsed);
      if (fenced_ && parsed.fence < before->second.fence) {
        Report(stream, fmt::format("{} is behind a higher fence", frame.bytes));
      }
      before->second = parsed;
      uint32_t& count = counts[{parsed.key, parsed.fence}];
      const bool in_order = parsed.whole() ? count == 0 : parsed.index == count;
      count += parsed.whole() ? parsed.index : 1;  // nothing comes behind a whole
      if (!in_order) {
        Report(stream, fmt::format("{} is there twice, or out of order", frame.bytes));
      }
    }
    if (!frames.empty()) CheckTrim(stream, frames);
  }
}

// What is trimmed is gone, and the rest keeps its numbers.
inline void SimStreams::CheckTrim(const std::string& stream, const std::vector<StreamFrame>& frames) {
  const uint64_t last = frames.back().seq;
  const size_t half = (frames.size() + 1) / 2;
  const uint64_t until = frames[half - 1].seq;
  SimUses<"StreamLog.Trim">();
  log_->Trim(stream, until, [&](const Status& status) {
    if (!status.ok()) Report(stream, fmt::format("a trim got: {}", MessageOf(status)));
  });
  log_->Read({.stream = stream}, [&](const StatusOr<FramePage>& page) {
    const bool as_asked = page.ok() && page->first == until + 1 && page->last == last &&
                          std::equal(page->frames.begin(), page->frames.end(),
                                     frames.begin() + static_cast<std::ptrdiff_t>(half), frames.end());
    if (!as_asked) Report(stream, fmt::format("is not what is left of it after {}", until));
  });
}

inline void SimStreams::CheckSwept() {
  SimUses<"StreamLog.Sweep">();
  log_->Sweep(1'000, [&](const StatusOr<int64_t>& forgotten) {
    if (forgotten.ok() && *forgotten == static_cast<int64_t>(listeners_.size())) return;
    Report("", fmt::format("{} streams of {} are swept", forgotten.value_or(-1), listeners_.size()));
  });
}

}  // namespace marathon::inline MARATHON_ABI::testing::internal
