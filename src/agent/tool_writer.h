// ToolWriter: what one delivery of a tool's call says in its run's stream: how far it is, and what it gives.
//
// One call of the log is under way at a time. Of what comes meanwhile, only the newest waits: a quick tool and a slow
// store lose steps in between, and make no queue. A log that is away for a moment costs the progress of that moment.
//
// Safe from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "marathon/agent/steps.h"
#include "marathon/agent/stream.h"
#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/stream_log.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

class ToolWriter : public std::enable_shared_from_this<ToolWriter> {
 public:
  // `log` lives as long as the delivery, and answers what is under way then. `fence` is the delivery's.
  ToolWriter(StreamLog& log, std::string stream, const ToolTask& task, uint64_t fence);

  // `elapsed`: since the delivery began. What comes too soon after another is dropped.
  void Progress(std::string text, std::optional<double> fraction, Duration elapsed);

  // One of these is the last call. Both wait for the log, which is not used any more then: so a result comes before what
  // the model makes of it. A log that is away is no reason to lose it.
  void Result(const ToolReply& reply);
  void Stop();

 private:
  // With mutex_ held: the next call of the log, with `frame` as its last.
  AppendFrames RequestWith(std::string frame);
  void StopProgress(std::unique_lock<std::mutex>& lock);
  void Write(AppendFrames request);
  void Written(const Status& status);

  StreamLog& log_;
  const std::string stream_;
  const std::string writer_;
  const int step_;
  const std::string call_id_;
  const uint64_t fence_;

  std::mutex mutex_;  // guards:
  std::condition_variable changed_;
  bool writing_ = false;
  bool silent_ = false;   // the log takes no more progress
  bool refused_ = false;  // … nor anything else of this delivery
  uint64_t written_ = 0;
  std::vector<std::string> sent_;  // behind those; under way, or perhaps written
  std::optional<std::string> waiting_;
  Duration due_;  // the limit's mark: how much has been said, as a time
};

}  // namespace marathon::inline MARATHON_ABI::agent::internal
