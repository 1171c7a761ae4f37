// StreamWriter: one attempt of one step, on its way into a stream.
//
// One call of the log is under way at a time, and what comes meanwhile goes with the next one: a quick model and a
// slow store make larger batches, not longer queues. Neither the model nor the step waits, but at the end.
//
// Safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/agent/control.h"
#include "marathon/agent/stream.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/llm/chat.h"
#include "marathon/stream_log.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

class StreamWriter : public std::enable_shared_from_this<StreamWriter> {
 public:
  // `log` lives until the last `done`, or until the writer has nothing more to say. `fence` is the attempt's.
  StreamWriter(StreamLog& log, std::string stream, int step, uint64_t fence)
      : log_(log), stream_(std::move(stream)), step_(step), fence_(fence) {}

  void Begin(std::string_view model, int turn = 1, int attempt = 1);
  void Add(const llm::Delta& delta);

  // The answer is complete: `done` is called when all of it is in the log, or cannot be: false.
  // An answer of many pieces then stands there as a whole, in their place.
  void Finish(const llm::ChatResponse& response, std::string digest, Callback<void(bool)> done);
  // The attempt has failed, and the next one begins anew: `done` is called when nothing is under way any more.
  void Abandon(Callback<void(bool)> done);

 private:
  void Put(StreamEvent event);
  // With mutex_ held.
  void AddWaiting(StreamEvent event);
  bool Gather(AppendFrames& request);
  void End(Callback<void(bool)> done);
  void Write();
  void Written(const StatusOr<uint64_t>& last);

  StreamLog& log_;
  const std::string stream_;
  const int step_;
  const uint64_t fence_;
  StreamEvent begin_;  // set before the first piece

  std::mutex mutex_;  // guards:
  std::vector<StreamEvent> waiting_;
  std::vector<std::string> batch_;  // under way; empty: nothing is
  uint64_t written_ = 0;
  uint64_t first_ = 0, last_ = 0;   // the numbers of its own frames
  std::vector<std::string> whole_;  // what is to stand for all of them in the end
  bool replacing_ = false;          // … is under way
  int failures_ = 0;
  bool broken_ = false;  // the log takes no more of this attempt
  bool absent_ = false;  // since there is none
  bool writing_ = false;
  Callback<void(bool)> done_;
};

// The frames of an answer that is complete, from `begin` to its end.
std::vector<std::string> FramesOf(const StreamEvent& begin, const llm::ChatResponse& response, const std::string& digest);

// A call that waits for a person, with all that a decision takes.
std::string ApprovalFrame(int step, const PendingApproval& call);

// As much of a text as fits a frame of its own, or `max` bytes.
inline constexpr size_t kShownBytes = limits::kFrameMaxBytes / 8;  // JSON may make six bytes of one
std::string ShownPart(const std::string& text, size_t max = kShownBytes);

// By whom a step of the model writes, and a call of a tool. What the loop has to say goes by another name, or in a step's under kLastFence.
inline std::string ModelWriter(int step) { return "model/" + std::to_string(step); }
std::string ToolCallWriter(int step, const std::string& call_id);
inline constexpr uint64_t kLastFence = ~uint64_t{0};

}  // namespace marathon::inline MARATHON_ABI::agent::internal
