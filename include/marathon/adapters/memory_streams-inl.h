#pragma once

#include "marathon/adapters/memory_streams.h"

#include <algorithm>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/store/stream_readers.h"
#include "marathon/store/stream_rules.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

class MemoryStreams final : public StreamLog {
 public:
  MemoryStreams(const Clock& clock, Duration keep) : clock_(clock), keep_(keep) {}

  void Append(AppendFrames request, Done<uint64_t> done) override {
    const std::string stream = request.stream;
    StatusOr<uint64_t> last = Write(std::move(request));
    const bool written = last.ok();
    done(std::move(last));
    if (!written) return;
    for (const auto& [name, wanted] : readers_.Of(stream)) Answer(name, wanted);
  }

  uint64_t Read(ReadFrames request, Done<FramePage> done) override {
    if (Status status = CheckStream(request.stream); !status.ok()) {
      done(std::move(status));
      return 0;
    }
    if (!request.wait) {
      done(Look(request));
      return 0;
    }
    const uint64_t name = readers_.Add(request, std::move(done));
    Answer(name, request);
    return name;
  }
  void CancelRead(uint64_t name) override { readers_.Take(name); }

  void Trim(std::string stream, uint64_t seq, DoneStatus done) override {
    Status status = CheckStream(stream);
    if (status.ok()) {
      const std::lock_guard lock(mutex_);
      const auto found = by_name_.find(stream);
      if (found != by_name_.end()) found->second->DropUpTo(seq);
    }
    done(std::move(status));
  }

  void Sweep(int limit, Done<int64_t> done) override {
    int64_t forgotten;
    {
      const std::lock_guard lock(mutex_);
      forgotten = Forget(limit);
    }
    done(forgotten);
  }

 private:
  static constexpr int kSweptByAppend = 2;

  struct Stream {
    std::string name;
    std::deque<StreamFrame> frames;  // numbers that were replaced are missing
    uint64_t first = 0, last = 0;
    std::map<std::string, StepMark> steps;
    Time written{};

    std::deque<StreamFrame>::iterator Behind(uint64_t seq) {
      return std::ranges::upper_bound(frames, seq, {}, &StreamFrame::seq);
    }
    void DropUpTo(uint64_t seq) {
      frames.erase(frames.begin(), Behind(seq));
      first = std::max(first, std::min(seq, last) + 1);
    }
  };
  using Streams = std::list<Stream>;

  // Answers a reader whose wait is over.
  void Answer(uint64_t name, const ReadFrames& wanted) {
    FramePage page = Look(wanted);
    if (!IsAnswered(wanted, page)) return;
    if (Done<FramePage> done = readers_.Take(name)) done(std::move(page));
  }

  FramePage Look(const ReadFrames& request) {
    FramePage page;
    const std::lock_guard lock(mutex_);
    const auto found = by_name_.find(request.stream);
    if (found == by_name_.end()) return page;
    Stream& stream = *found->second;
    page.first = stream.first;
    page.last = stream.last;
    size_t bytes = 0;
    for (auto frame = stream.Behind(request.after); frame != stream.frames.end(); ++frame) {
      bytes += frame->bytes.size();
      if (!page.frames.empty() && (static_cast<int>(page.frames.size()) >= request.max ||
                                   bytes > limits::kFramePageBytes)) {
        break;
      }
      page.frames.push_back(*frame);
    }
    return page;
  }

  StatusOr<uint64_t> Write(AppendFrames&& request) {
    if (Status status = CheckAppend(request); !status.ok()) return status;
    const std::lock_guard lock(mutex_);
    Forget(kSweptByAppend);
    const auto found = by_name_.find(request.stream);
    StepMark mark = found == by_name_.end() ? StepMark() : found->second->steps[request.step];
    const StatusOr<size_t> there = AdmitFrames(request, mark);
    if (!there.ok()) return there.status();
    const uint64_t last = found == by_name_.end() ? 0 : found->second->last;
    const bool replaces = Replaces(request, *there);
    const bool in_time = last == request.replaces_to;
    if (replaces && !in_time) return IsNotTheNewest(request, last);
    Stream& stream = found == by_name_.end() ? Add(request.stream) : *found->second;
    if (replaces) {
      stream.frames.erase(stream.Behind(request.replaces_from - 1), stream.frames.end());
    }
    for (size_t i = *there; i < request.frames.size(); ++i) {
      mark.last = ++stream.last;
      stream.frames.push_back({mark.last, std::move(request.frames[i])});
    }
    stream.steps[request.step] = mark;
    stream.written = clock_.Now();
    streams_.splice(streams_.end(), streams_, by_name_.at(stream.name));
    return mark.last;
  }

  // With mutex_ held.
  Stream& Add(std::string name) {
    streams_.emplace_back().name = std::move(name);
    streams_.back().last = NumbersBefore(clock_.Now());
    streams_.back().first = streams_.back().last + 1;
    by_name_.emplace(streams_.back().name, std::prev(streams_.end()));
    return streams_.back();
  }
  int64_t Forget(int limit) {
    int64_t forgotten = 0;
    for (const Time now = clock_.Now(); forgotten < limit && !streams_.empty(); ++forgotten) {
      if (AddSaturated(streams_.front().written, keep_) > now) break;
      by_name_.erase(streams_.front().name);
      streams_.pop_front();
    }
    return forgotten;
  }

  const Clock& clock_;
  const Duration keep_;
  StreamReaders readers_;
  std::mutex mutex_;
  Streams streams_;  // the one that was written the longest time ago is the first
  std::unordered_map<std::string_view, Streams::iterator> by_name_;
};

}  // namespace detail

MARATHON_INLINE std::shared_ptr<StreamLog> NewMemoryStreams(const Clock& clock, Duration keep) {
  return std::make_shared<detail::MemoryStreams>(clock, keep);
}

}  // namespace marathon::inline MARATHON_ABI
