#include "marathon/agent/stream.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "marathon/codec.h"
#include "marathon/llm/json.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

using nlohmann::json;
using Kind = StreamEvent::Kind;

// By the values of Kind; they never change.
constexpr std::array<std::string_view, 15> kTypes = {
    "step_begin", "delta",       "reasoning",        "tool_call",         "tool_args", "reset",
    "step_done",  "tool_result", "approval_request", "approval_decision", "done",      "start_over",
    "tool_progress", "snapshot", "usage"};

std::string_view TypeOf(Kind kind) { return kTypes.at(static_cast<size_t>(kind)); }

// The member that `text` is.
const char* TextNameOf(Kind kind) {
  switch (kind) {
    case Kind::kStepBegin:
    case Kind::kSnapshot: return "model";
    case Kind::kToolCall: return "name";
    case Kind::kReset: return "why";
    case Kind::kStepDone: return "digest";
    case Kind::kApproval: return "arguments";
    case Kind::kDecision: return "verdict";
    case Kind::kDone: return "stop";
    default: return "text";
  }
}

json JsonOf(const StreamEvent& event) {
  json to = {{"type", TypeOf(event.kind)}};
  if (event.step != 0) to["step"] = event.step;
  if (event.block != 0) to["block"] = event.block;
  if (!event.text.empty()) to[TextNameOf(event.kind)] = event.text;
  if (!event.id.empty()) to["id"] = event.id;
  if (event.is_error) to["is_error"] = true;
  if (event.fraction) to["fraction"] = *event.fraction;
  if (event.turn != 0) to["turn"] = event.turn;
  if (!event.tool.empty()) to["tool"] = event.tool;
  if (!event.digest.empty()) to["digest"] = event.digest;
  if (event.expires != Time()) to["expires"] = ToMicros(event.expires);
  if (event.cut) to["cut"] = true;
  if (!event.why.empty()) to["why"] = event.why;
  if (event.usage != llm::Usage()) to["usage"] = event.usage;
  if (event.attempt != 0) to["attempt"] = event.attempt;
  return to;
}

// Where the answer to a read arrives.
struct Arrival {
  std::mutex mutex;  // guards:
  std::condition_variable changed;
  std::optional<StatusOr<FramePage>> page;
};

}  // namespace

std::string EncodeEvent(const StreamEvent& event) {
  // A model's pieces are what it sent, and may be no UTF-8.
  return JsonOf(event).dump(-1, ' ', false, json::error_handler_t::replace);
}

StatusOr<StreamEvent> DecodeEvent(std::string_view frame) {
  const auto parsed = Decode<json>({std::string(frame), Encoding::kJson});
  if (!parsed.ok() || !parsed->is_object()) return DataLoss("a frame of the stream is not a JSON object");
  try {
    StreamEvent event;
    const std::string type = parsed->value("type", "");
    const auto* found = std::find(kTypes.begin(), kTypes.end(), type);
    if (found == kTypes.end()) return DataLoss("a frame of the stream has the unknown type \"" + type + "\"");
    event.kind = static_cast<Kind>(found - kTypes.begin());
    event.step = parsed->value("step", 0);
    event.block = parsed->value("block", size_t{0});
    event.text = parsed->value(TextNameOf(event.kind), "");
    event.id = parsed->value("id", "");
    event.is_error = parsed->value("is_error", false);
    if (parsed->contains("fraction")) event.fraction = parsed->at("fraction").get<double>();
    event.turn = parsed->value("turn", 0);
    event.tool = parsed->value("tool", "");
    // The text of a step's end goes by that name.
    if (event.kind != Kind::kStepDone) event.digest = parsed->value("digest", "");
    if (parsed->contains("expires")) event.expires = FromMicros(parsed->at("expires").get<int64_t>());
    event.cut = parsed->value("cut", false);
    event.why = event.kind == Kind::kReset ? "" : parsed->value("why", "");
    if (parsed->contains("usage")) event.usage = parsed->at("usage").get<llm::Usage>();
    event.attempt = parsed->value("attempt", 0);
    return event;
  } catch (const json::exception& error) {
    return DataLoss(std::string("a frame of the stream: ") + error.what());
  }
}

std::string SseOf(const StreamEvent& event) {
  json data = JsonOf(event);
  data.erase("type");
  return "id: " + std::to_string(event.seq) + "\nevent: " + std::string(TypeOf(event.kind)) +
         "\ndata: " + data.dump(-1, ' ', false, json::error_handler_t::replace) + "\n\n";
}

// ---- StreamView

void StreamView::Apply(const StreamEvent& event) {
  switch (event.kind) {
    case Kind::kStartOver: steps_.clear(); return;
    case Kind::kStepBegin:
    case Kind::kSnapshot:
    case Kind::kReset: steps_[event.step] = Step(); return;
    case Kind::kText: steps_[event.step].texts[event.block] += event.text; return;
    case Kind::kStepDone: steps_[event.step].done = true; return;
    case Kind::kToolProgress: steps_[event.step].progress[event.id] = event; return;
    case Kind::kToolResult: steps_[event.step].progress.erase(event.id); return;
    case Kind::kReasoning:
    case Kind::kToolCall:
    case Kind::kToolArguments:
    case Kind::kApproval:
    case Kind::kDecision:
    case Kind::kDone:
    case Kind::kUsage: return;
  }
}

std::string StreamView::TextOf(int step) const {
  std::string all;
  const auto found = steps_.find(step);
  if (found == steps_.end()) return all;
  for (const auto& [block, text] : found->second.texts) all += text;
  return all;
}

std::string StreamView::Text() const {
  std::string all;
  for (const auto& [step, unused] : steps_) all += TextOf(step);
  return all;
}

bool StreamView::IsDone(int step) const {
  const auto found = steps_.find(step);
  return found != steps_.end() && found->second.done;
}

const StreamEvent* StreamView::ProgressOf(int step, const std::string& call_id) const {
  const auto found = steps_.find(step);
  if (found == steps_.end()) return nullptr;
  const auto progress = found->second.progress.find(call_id);
  return progress == found->second.progress.end() ? nullptr : &progress->second;
}

// ---- StreamReader

// A snapshot stands for the numbers right before it. Who has the last of these has them all.
bool StreamReader::Skips(const StreamEvent& event) {
  const bool begins = event.kind == Kind::kSnapshot && after_ != 0 && event.seq == after_ + 1;
  if (at_ == 0 && !begins) return false;
  at_ = event.seq;
  if (event.kind == Kind::kStepDone) after_ = std::exchange(at_, 0);
  return true;
}

StatusOr<std::vector<StreamEvent>> StreamReader::Next(Duration patience) {
  using Watch = std::chrono::steady_clock;
  const auto begin = Watch::now();
  for (Duration left = patience;;) {
    bool skipped = false;
    auto events = NextPage(left, &skipped);
    if (!events.ok() || !events->empty() || !skipped) return events;
    const auto passed = std::chrono::duration_cast<Duration>(Watch::now() - begin);
    left = std::max(patience - passed, Duration(0));
  }
}

StatusOr<std::vector<StreamEvent>> StreamReader::NextPage(Duration patience, bool* skipped) {
  auto arrival = std::make_shared<Arrival>();
  const bool waits = patience > Duration(0);
  const uint64_t name = log_.Read({.stream = stream_, .after = std::max(after_, at_), .wait = waits},
                                  [arrival](StatusOr<FramePage> page) {
                                    const std::lock_guard lock(arrival->mutex);
                                    arrival->page = std::move(page);
                                    arrival->changed.notify_all();
                                  });
  std::unique_lock lock(arrival->mutex);
  const auto arrived = [&] { return arrival->page.has_value(); };
  if (!waits) arrival->changed.wait(lock, arrived);  // the log takes its time, and no more
  constexpr Duration kCentury = std::chrono::hours(24 * 365 * 100);  // more would overflow the clock
  if (waits && !arrival->changed.wait_for(lock, std::min(patience, kCentury), arrived)) {
    lock.unlock();
    log_.CancelRead(name);
    return std::vector<StreamEvent>();
  }
  if (!arrival->page->ok()) return arrival->page->status();
  const FramePage& page = **arrival->page;
  std::vector<StreamEvent> events;
  // Whoever has seen nothing has nothing to start over.
  const bool missed = after_ != 0 && (after_ > page.last || after_ + 1 < page.first);
  if (missed) {
    after_ = at_ = 0;  // as one that comes anew
    events.push_back({.kind = Kind::kStartOver});
  }
  for (const StreamFrame& frame : page.frames) {
    if (frame.seq <= after_) continue;
    StatusOr<StreamEvent> event = DecodeEvent(frame.bytes);
    if (!event.ok() && !events.empty()) break;  // told by the next call
    if (event.ok()) {
      event->seq = frame.seq;
      if (Skips(*event)) {
        *skipped = true;
        continue;
      }
    }
    after_ = frame.seq;
    if (!event.ok()) return event.status();
    events.push_back(*std::move(event));
  }
  return events;
}

}  // namespace marathon::inline MARATHON_ABI::agent
