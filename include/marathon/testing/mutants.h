// Mutants: deliberate protocol bugs, by which the simulator proves that it would find real ones.
// They exist only in builds with MARATHON_MUTANTS=ON (MARATHON_WITH_MUTANTS); config.h has the
// macro.
#pragma once

#include <string_view>

#include "marathon/config.h"

namespace marathon::inline MARATHON_ABI::testing {

#ifdef MARATHON_WITH_MUTANTS
inline constexpr bool kMutantsBuiltIn = true;
#else
inline constexpr bool kMutantsBuiltIn = false;
#endif

inline constexpr std::string_view kMutants[] = {
    "no_version_check",         // a commit is applied at whatever version
    "handover_unchecked",       // … with activities that are no longer the committer's
    "commit_takes_all",         // … and takes messages that its turn has not seen
    "commit_forgets_the_rest",  // … and leaves messages without making the run ready
    "close_ignores_late_signal",
    "ready_not_set_on_put",     // a message does not make its run ready
    "no_signal_dedupe",         // a repeated signal counts twice
    "duplicate_start_new_run",  // a repeated start makes another run
    "timer_not_deleted",        // a timer fires again and again
    "no_resend",                // what nobody took is never published again
    "expire_loses_claims",      // what a dead session held stays its own
    "no_epoch_check",           // any attempt may end an activity
    "retry_without_epoch",      // any attempt may send it to its next one
    "claim_unchecked",          // a claimed activity can be claimed
    "cancel_not_told",          // a worker is not told that its activity was canceled
    "unknown_commit_is_applied",  // a commit in doubt counts as done
    "lost_turn_drops_outcomes",   // a turn that comes to nothing takes its activities' results along
    "chain_leaves_messages",      // what waits for a run does not move to the next one of its chain
    "chain_leaves_keys",          // … nor what tells that a signal is repeated
    "chain_forgets_priority",     // … nor its priority
    "delay_ignored",              // a run that is to wait takes its first turn at once
    "close_drops_owed",           // the end of a run forgets its children
    "detach_forgets_the_end",     // … those that are about to start
    "pause_ignored",              // a paused run takes its turns
    "pin_ignored",                // a pinned run is anyone's
    "update_not_told",            // who waits for an update is not told of its answer
    "fork_forgets_pending",       // a fork does not begin anew what was pending
    "blobs_not_held",             // a commit's blobs are not kept
    "blobs_held_for_ever",        // … or not let go of with their run
    "answers_unsealed",           // a payload codec does not seal what updates are answered
    "enter_unchecked",            // whoever asks for a place of a concurrency key gets one
    "stream_fence_unchecked",     // an attempt that was overtaken goes on writing to a stream
    "frames_come_twice",          // an append that is repeated is written again
    "blobs_swept_early",          // a blob is forgotten while it is in use
    "limit_not_taken",            // what one takes of a limit is left for the next
};

// Those that only a store which loses its tail can show (SimOptions::loses_tail).
inline constexpr std::string_view kTailMutants[] = {
    "incarnation_unchecked",  // a commit, or an end, may rest on what the store has lost
};

// From now on this one is active in the whole process; empty: none. REQUIRES: one of the above or
// empty.
void SetMutant(std::string_view name);

}  // namespace marathon::inline MARATHON_ABI::testing
