// What an agent says while it works, for whoever watches: events in its store's StreamLog, beside the history.
//
//   agent::StreamReader reader(engine.streams(), agent::StreamOf(run.run_id()), last_seen);
//   while (auto events = reader.Next(10s); events.ok()) { … }
//
// A reader that comes back with the last number it has seen, to any process, misses nothing. What a step says counts
// from its newest kStepBegin on, until it is kStepDone: a model that is asked again, since its worker died or its
// answer broke off, begins anew, and nothing of an older attempt comes behind that. Once it is done, a long answer is
// kept as a whole (kSnapshot), and not in its pieces. The recorded answer is in the
// history all the same, and no step waits for a reader.
//
// Values; no thread rule. A StreamReader is one thread's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/id.h"
#include "marathon/llm/chat.h"
#include "marathon/status.h"
#include "marathon/stream_log.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent {

struct StreamEvent {
  enum class Kind : uint8_t {
    kStepBegin,      // the model `text` is asked; what the step has said before does not count
    kText,           // `text` is appended to a block of the answer
    kReasoning,      // … of what the model thinks
    kToolCall,       // a call `id` of the tool `text` begins
    kToolArguments,  // `text` is appended to its arguments
    kReset,          // what the step has said so far does not count; `text` says why
    kStepDone,       // the answer is complete; `text` is the digest of the conversation with it
    kToolResult,     // of the call `id`, by the tool or in its place; the newest one of a call counts
    kApproval,       // the call `id` (PendingApproval::key) of `tool` waits for a person; `text` has its arguments
    kDecision,       // it does not wait any more; `text` is what came of it
    kDone,           // the agent, or a session's turn, has ended; `text` is how (NameOf(StopReason)), `why` as in its
                     // Result. "continued": the session goes on in the next run of its chain, and in that one's stream
    kStartOver,      // the reader's own: the log has not got what was between; show nothing and begin again
    kToolProgress,   // how far the call `id` is, by the tool itself (ToolContext::Progress); the newest one counts
    kSnapshot,       // all that the step has said, once more, follows up to its kStepDone, in place of its pieces, which the
                     // log has dropped. As kStepBegin. A reader that has seen all of them is not told
    kUsage,          // what the step's answer has cost, if the provider says it
  };
  Kind kind = Kind::kText;
  int step = 0;      // from 1
  size_t block = 0;  // of the answer
  std::string text{};
  std::string id{};
  bool is_error = false;  // kToolResult
  std::optional<double> fraction{};  // kToolProgress: 0 to 1
  int turn = 0;     // kStepBegin, kDone: of the session, from 1 (StopOrder::turn)
  int attempt = 0;  // kStepBegin, kReset: at the step, from 1; a worker that died is none. 0: it is not known
  std::string tool{};    // kApproval: its name
  std::string digest{};  // kApproval: PendingApproval::digest, for a Decision
  Time expires{};        // kApproval: counts as denied then; Time(): never
  bool cut = false;      // kApproval: `text` is a part; agent::Pending has all of it
  std::string why{};     // kDone
  llm::Usage usage{};    // kUsage
  uint64_t seq = 0;       // in the log; not part of the frame

  friend bool operator==(const StreamEvent&, const StreamEvent&) = default;
};

// The stream of an agent's run.
inline std::string StreamOf(const Id& run_id) { return "agent/" + run_id.str(); }

// A frame of the log: JSON, whose names never change. kDataLoss: it is none.
MARATHON_EXPORT std::string EncodeEvent(const StreamEvent& event);
MARATHON_EXPORT StatusOr<StreamEvent> DecodeEvent(std::string_view frame);

// As a server-sent event: `id`, `event` and `data` lines.
MARATHON_EXPORT std::string SseOf(const StreamEvent& event);

// What there is to see: the texts of all steps, and the calls of tools, as far as they have come.
class MARATHON_EXPORT StreamView {
 public:
  void Apply(const StreamEvent& event);

  // All texts of the steps, in order.
  std::string Text() const;
  std::string TextOf(int step) const;
  bool IsDone(int step) const;
  // How far a call is, as it said last. Null: it has not, or has its result. Good until the next Apply.
  const StreamEvent* ProgressOf(int step, const std::string& call_id) const;

 private:
  struct Step {
    std::map<size_t, std::string> texts;  // by block
    std::map<std::string, StreamEvent> progress;  // by call
    bool done = false;
  };
  std::map<int, Step> steps_;
};

class MARATHON_EXPORT StreamReader {
 public:
  // `log` outlives it. `after`: the number of the last event that was seen.
  StreamReader(StreamLog& log, std::string stream, uint64_t after = 0)
      : log_(log), stream_(std::move(stream)), after_(after) {}

  // The events that follow; waits for one up to `patience`, and gives none after that. 0: those that are there. Errors
  // are those of StreamLog::Read; kDataLoss: a frame is none of an agent's, and the next call goes on behind it.
  StatusOr<std::vector<StreamEvent>> Next(Duration patience);

  uint64_t after() const { return after_; }

 private:
  bool Skips(const StreamEvent& event);
  StatusOr<std::vector<StreamEvent>> NextPage(Duration patience, bool* skipped);

  StreamLog& log_;
  const std::string stream_;
  uint64_t after_;
  uint64_t at_ = 0;   // how far a snapshot has been skipped; 0: none is being
};

}  // namespace marathon::inline MARATHON_ABI::agent
