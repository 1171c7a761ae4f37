// Recorded histories held against today's code: whether runs of an older build can go on with this one. Keep a
// few histories of real runs as JSON files beside the tests (HistoryToJson), and replay the folder in CI:
//
//   EXPECT_EQ(ReplayHistories(registry, "tests/histories"), absl::OkStatus());
//
// Nothing is run but workflow code; no activity is. Functions only; safe from any thread.
#pragma once

#include <filesystem>
#include <string_view>

#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/ids.h"
#include "marathon/registry.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::testing {

// kFailedPrecondition: the code does not do what history says; the message has the event's id, both sides and
// the line of the co_await. kNotFound: its workflow is not in the registry. kInvalidArgument: this is no
// history. `run`: its own ids; ctx.Random depends on them, and on nothing else of a run.
Status ReplayHistory(const Registry& registry, const History& history, const RunKey& run = {});

// The same of a text as HistoryToJson writes it, which may have the run's ids.
Status ReplayHistoryJson(const Registry& registry, std::string_view json);

// All files *.json of a folder, in the order of their names. The message has a line for each that does not
// match; the code is the first one's. kNotFound: there is no such file.
Status ReplayHistories(const Registry& registry, const std::filesystem::path& folder);

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/replay_history-inl.h"
#endif
