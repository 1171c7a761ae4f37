// Cancellation scopes: what belongs together when something is given up.
//
//   {
//     marathon::CancellationScope race(ctx);          // from here on, things start in `race`
//     auto fast = ctx.Start(kAskFast, question);
//     auto good = ctx.Start(kAskGood, question);
//     co_await ctx.Any(fast, good);
//     race.Cancel();                                   // the other one
//   }
//
//   bool canceled = false;
//   try {
//     co_await ctx.Run(kBook, trip);
//     co_await ctx.Receive<bool>("paid");
//   } catch (const marathon::CanceledError&) {
//     canceled = true;
//   }
//   if (canceled) {
//     marathon::ShieldedScope cleanup(ctx);            // a cancel of the run does not reach in here
//     co_await ctx.Run(kRefund, trip);
//   }
//
// A scope is current, in the branch that opened it, until it is destroyed; scopes nest as blocks do. A canceled
// scope makes each co_await in it that waits, or would wait, throw CanceledError. What starts in a canceled
// scope is canceled before it begins, and leaves no event.
//
// Thread rule: only from the workflow's own body.
#pragma once

#include <source_location>

#include "marathon/config.h"
#include "marathon/detail/operation.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI {

class CancellationScope {
 public:
  explicit CancellationScope(WorkflowContext& ctx) : CancellationScope(ctx, false) {}
  CancellationScope(const CancellationScope&) = delete;
  CancellationScope& operator=(const CancellationScope&) = delete;
  ~CancellationScope();

  // Cancels all that was started in this scope and in those inside it, also in other branches. It may be
  // called from any branch of the run, such as a signal handler's.
  void Cancel(std::source_location where = std::source_location::current());
  bool canceled() const;

 protected:
  CancellationScope(WorkflowContext& ctx, bool shielded);

 private:
  detail::WorkflowCore& core_;
  const detail::ScopeId outer_;
  const detail::ScopeId scope_;
};

// A scope that is canceled only by its own Cancel, whatever becomes of the scopes around it and of the run.
class ShieldedScope : public CancellationScope {
 public:
  explicit ShieldedScope(WorkflowContext& ctx) : CancellationScope(ctx, true) {}
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/cancellation_scope-inl.h"
#endif
