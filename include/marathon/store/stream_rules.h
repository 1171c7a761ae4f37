// What every StreamLog decides, wherever it keeps the frames.
//
// Pure functions.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>

#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/status.h"
#include "marathon/stream_log.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

// What a stream remembers of one step.
struct StepMark {
  uint64_t fence = 0;
  uint64_t written = 0;  // frames, under this fence
  uint64_t last = 0;     // the number of the newest, under any
};

// The number before the first one of a stream that begins now: behind all that a forgotten one of this name can have.
inline uint64_t NumbersBefore(Time now) { return static_cast<uint64_t>(std::max<int64_t>(ToMicros(now), 0)); }

inline Status CheckStream(const std::string& stream) {
  if (!stream.empty() && stream.size() <= limits::kMaxIdBytes) return {};
  return InvalidArgument(fmt::format("the name of a stream has 1 to {} bytes, and not {}",
                                     limits::kMaxIdBytes, stream.size()));
}

inline Status CheckAppend(const AppendFrames& request) {
  if (Status status = CheckStream(request.stream); !status.ok()) return status;
  if (request.step.size() > limits::kMaxIdBytes) {
    return InvalidArgument(fmt::format("the name of a step has up to {} bytes, and not {}",
                                       limits::kMaxIdBytes, request.step.size()));
  }
  if (request.frames.size() > limits::kAppendMaxFrames) {
    return InvalidArgument(fmt::format("step \"{}\" appends {} frames; at most {} go in one call",
                                       request.step, request.frames.size(), limits::kAppendMaxFrames));
  }
  for (const std::string& frame : request.frames) {
    if (frame.size() <= limits::kFrameMaxBytes) continue;
    return InvalidArgument(fmt::format("a frame of step \"{}\" has {} bytes; at most {} are written as one",
                                       request.step, frame.size(), limits::kFrameMaxBytes));
  }
  return {};
}

inline Status FencedOut(const AppendFrames& request) {
  return Aborted(fmt::format("step \"{}\" of stream \"{}\" has been written under a higher fence than {}",
                             request.step, request.stream, request.fence));
}

inline Status LeavesAGap(const AppendFrames& request, uint64_t written) {
  return FailedPrecondition(fmt::format(
      "stream \"{}\" has {} frames of step \"{}\" under fence {}, and not {}: the rest was lost, or forgotten",
      request.stream, written, request.step, request.fence, request.written));
}

// How many of a request's frames are there already; the others are to be written, which `mark` says on return,
// but for its `last`.
inline StatusOr<size_t> AdmitFrames(const AppendFrames& request, StepMark& mark) {
  if (request.fence < mark.fence) {
    if (MARATHON_MUTANT("stream_fence_unchecked")) return size_t{0};
    return FencedOut(request);
  }
  const uint64_t written = request.fence == mark.fence ? mark.written : 0;
  if (request.written > written) return LeavesAGap(request, written);
  const uint64_t asked = request.written + request.frames.size();
  mark.fence = request.fence;
  mark.written = std::max(written, asked);
  if (MARATHON_MUTANT("frames_come_twice")) return size_t{0};
  return static_cast<size_t>(std::min<uint64_t>(written - request.written, request.frames.size()));
}

inline Status IsNotTheNewest(const AppendFrames& request, uint64_t last) {
  return FailedPrecondition(fmt::format(
      "step \"{}\" of stream \"{}\" replaces frames up to {}, and the newest is {}: others have written behind them",
      request.step, request.stream, request.replaces_to, last));
}

// Whether an append of which `there` frames are there already replaces older ones: not if it has been written.
inline bool Replaces(const AppendFrames& request, size_t there) {
  return request.replaces_from != 0 && there == 0 && !request.frames.empty();
}

// Whether a reader that would wait has nothing to wait for. One that knows nothing waits for a first frame.
inline bool IsAnswered(const ReadFrames& request, const FramePage& page) {
  return !request.wait || !page.frames.empty() || (request.after != 0 && request.after != page.last);
}

}  // namespace marathon::inline MARATHON_ABI::detail
