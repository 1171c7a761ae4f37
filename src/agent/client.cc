#include "marathon/agent/client.h"

#include <algorithm>

namespace marathon::inline MARATHON_ABI::agent {
namespace {

// A stream does not say that its run was canceled or terminated: whoever hears nothing looks, less and less often.
constexpr Duration kFirstLook{50};
constexpr Duration kLastLook{2'000};

}  // namespace

Status Watch(Engine& engine, const Run& run, const std::function<void(const StreamEvent&)>& show, uint64_t after) {
  auto described = run.Describe();
  if (!described.ok()) return described.status();
  const Id run_id = described->run.key.run_id;
  StreamReader reader(engine.streams(), StreamOf(run_id), after);
  bool ended = !IsOpen(described->run);
  for (Duration look = kFirstLook;;) {
    const auto events = reader.Next(ended ? Duration(0) : look);
    if (!events.ok()) return events.status();
    for (const StreamEvent& event : *events) show(event);
    if (!events->empty()) {
      look = kFirstLook;
    } else if (ended) {
      return absl::OkStatus();
    } else {
      described = run.Describe();
      if (!described.ok()) return described.status();
      ended = described->run.key.run_id != run_id || !IsOpen(described->run);
      look = std::min(2 * look, kLastLook);
    }
  }
}

}  // namespace marathon::inline MARATHON_ABI::agent
