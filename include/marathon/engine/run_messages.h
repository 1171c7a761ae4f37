// What a Host brings for runs that reach other runs: the activities behind ctx.RunChild, SignalRun and CancelRun
// (detail/run_messages.h), and the one by which a child that has ended tells its parent.
//
// A child is an activity of its parent: its first delivery starts the child's run and detaches; the child's end
// completes it. It is owed (store_rows.h): when the parent's chain has ended, a last delivery ends the child.
//
// Functions only; safe from any thread.
#pragma once

#include <memory>
#include <string_view>

#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/registry.h"
#include "marathon/state_store.h"

namespace marathon::inline MARATHON_ABI {

class Host;

namespace detail {

void AddRunMessages(Registry& registry, const std::weak_ptr<Host>& host);

// What a child's closing commit, which ends in event `closing`, owes its parent.
NewActivity NewsForParent(const ActivityKey& parent, EventId closing, std::string_view task_queue);

}  // namespace detail
}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine/run_messages-inl.h"
#endif
