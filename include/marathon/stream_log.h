// StreamLog carries what a run says while it works, to whoever listens: a log of frames beside the history,
// such as the tokens of a model's answer. It is no part of the run's state, and no turn waits for it.
//
// Frames may be replaced by later ones that stand for them (AppendFrames::replaces_from). Their numbers are missing then: a
// reader that has seen some of them, or none, finds the later ones next.
//
// A frame is bytes; their meaning is their writers' and readers' own (agent/stream.h). Each has the next
// number of its stream, and a reader that comes back with the last number it has seen misses nothing. The first
// number is the store's time in microseconds when the stream began, so that one that is forgotten and begun anew
// uses none again, as long as the clock is not set back by stream_keep. Numbers stay below 2^53 until the year 2255.
//
// Several attempts of one step may write at a time, of which only the newest counts: a writer names its
// `step` and a `fence`, which only grows (ActivityInfo's epoch). Once a higher fence of a step has written, a lower
// one is refused. A step's fence is remembered as long as its stream is.
//
// Thread rule: safe to call from any thread. `done` is called once, on any thread, perhaps before the call
// returns, and holds no lock; it must not block. A read that waits when the store is closed is destroyed
// uncalled, or called with kCancelled or kUnavailable.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI {

struct StreamFrame {
  uint64_t seq = 0;
  std::string bytes;

  friend bool operator==(const StreamFrame&, const StreamFrame&) = default;
};

struct AppendFrames {
  std::string stream = {};  // 1 to 255 bytes
  std::string step = {};    // who writes; up to 255 bytes
  uint64_t fence = 0;
  // How many frames this step has written under this fence before `frames`. Those that are there already are
  // not written again, so a call whose answer was lost may be repeated. A writer waits for one answer before it
  // makes its next call.
  uint64_t written = 0;
  std::vector<std::string> frames = {};  // none: raises the fence only
  // Not 0: `frames` stand for those that the stream has from replaces_from to replaces_to, its newest, which are forgotten
  // in the same instant. Once anything has been written behind replaces_to they stand for nothing: kFailedPrecondition. A
  // call that is repeated, and had been written, forgets nothing more.
  uint64_t replaces_from = 0;
  uint64_t replaces_to = 0;
};

struct ReadFrames {
  std::string stream = {};
  uint64_t after = 0;  // the last number that is known; 0: none, from the oldest frame that is kept
  int max = 1000;      // fewer come when they are large (limits::kFramePageBytes)
  bool wait = false;   // if there is nothing behind `after`, and it is the last there is or 0: answer when there is
};

struct FramePage {
  std::vector<StreamFrame> frames;  // oldest first
  // The number behind the last one that was trimmed, or else the first of all; higher than `after` + 1: what was
  // between has been trimmed, or the stream was forgotten and has begun anew. Frames that were replaced do not count.
  uint64_t first = 1;
  // Of the newest one; lower than `after`: the stream has been forgotten, or a server that died has lost its end. In
  // that case, and no other, what is written now has these numbers again.
  uint64_t last = 0;
};

class StreamLog {
 public:
  virtual ~StreamLog() = default;

  // Answers with the number of the step's newest frame: the last of `frames`; 0: it has none. On any error nothing is written, but
  // for kUnknown, which may be repeated.
  // kAborted: a higher fence of the step has written. kFailedPrecondition: `written` is more than there is; the
  // stream has been forgotten, or a server that died has lost its end; or replaces_to is not the newest frame.
  // kInvalidArgument: a name or a frame is
  // too long, or these are too many (limits.h).
  virtual void Append(AppendFrames request, Done<uint64_t> done) = 0;

  // A stream that nobody has written to is empty. Returns a name for CancelRead, after which `done` is destroyed
  // uncalled, or is being called; 0: it was called.
  virtual uint64_t Read(ReadFrames request, Done<FramePage> done) = 0;
  virtual void CancelRead(uint64_t name) = 0;

  // Forgets the frames up to `seq`. Numbers are not given again.
  virtual void Trim(std::string stream, uint64_t seq, DoneStatus done) = 0;

  // Forgets up to `limit` streams that nobody has written to for the store's patience (a URL's stream_keep=,
  // limits::kStreamKeep unless said otherwise), and answers how many they were. Whoever opens the store need not
  // call it: appends do a little of it.
  virtual void Sweep(int limit, Done<int64_t> done) = 0;
};

}  // namespace marathon::inline MARATHON_ABI
