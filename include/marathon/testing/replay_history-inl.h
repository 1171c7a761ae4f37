#pragma once

#include "marathon/testing/replay_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include "marathon/engine/replayer.h"
#include "marathon/engine/sealing_store.h"
#include "marathon/testing/history_json.h"

namespace marathon::inline MARATHON_ABI::testing {

namespace internal {

inline const WorkflowStarted* StartOf(const History& history) {
  for (const Event& event : history) {
    if (const auto* started = std::get_if<WorkflowStarted>(&event.body)) return started;
  }
  return nullptr;
}

inline StatusOr<std::string> ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file.is_open() || file.bad()) return NotFound("cannot be read");
  return text;
}

}  // namespace internal

MARATHON_INLINE Status ReplayHistory(const Registry& registry, const History& history,
                                     const RunKey& run) {
  if (!registry.mistakes().empty()) {
    return InvalidArgument("the registry is wrong: " + registry.mistakes());
  }
  const WorkflowStarted* started = internal::StartOf(history);
  if (started == nullptr) return InvalidArgument("the history has no WorkflowStarted");
  const marathon::detail::WorkflowFactory* factory = registry.FindWorkflow(started->workflow_type);
  if (factory == nullptr) {
    return NotFound(fmt::format("workflow type \"{}\" is not registered; this registry has {}",
                                started->workflow_type, registry.WorkflowNames()));
  }
  if (Status sealed = PayloadSealer().CheckHistory(history, run.workflow_id); !sealed.ok()) {
    return MakeStatus(sealed.code(), fmt::format("export it by an engine that opens it: {}", MessageOf(sealed)));
  }
  Replayer replayer(RunFacts{run, started->workflow_type, started->task_queue}, *factory);
  const std::optional<Mismatch> mismatch = replayer.Replay(history);
  return mismatch ? FailedPrecondition(mismatch->ToString()) : Status();
}

MARATHON_INLINE Status ReplayHistoryJson(const Registry& registry, std::string_view json) {
  const StatusOr<History> history = HistoryFromJson(json);
  if (!history.ok()) return history.status();
  const StatusOr<RunKey> run = RunFromJson(json);
  if (!run.ok()) return run.status();
  return ReplayHistory(registry, *history, *run);
}

MARATHON_INLINE Status ReplayHistories(const Registry& registry, const std::filesystem::path& folder) {
  std::error_code error;
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  if (files.empty()) {
    return NotFound(fmt::format("no history *.json in \"{}\"{}{}", folder.string(), error ? ": " : "",
                                error ? error.message() : ""));
  }
  std::sort(files.begin(), files.end());
  StatusCode code = StatusCode::kOk;
  std::string lines;
  for (const std::filesystem::path& path : files) {
    const StatusOr<std::string> text = internal::ReadFile(path);
    const Status status = text.ok() ? ReplayHistoryJson(registry, *text) : text.status();
    if (status.ok()) continue;
    if (code == StatusCode::kOk) code = status.code();
    lines += fmt::format("{}{}: {}", lines.empty() ? "" : "\n", path.string(), MessageOf(status));
  }
  return MakeStatus(code, lines);
}

}  // namespace marathon::inline MARATHON_ABI::testing
