#pragma once

#include "marathon/cancellation_scope.h"

#include "marathon/detail/workflow_core.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE CancellationScope::CancellationScope(WorkflowContext& ctx, bool shielded)
    : core_(ctx.core()), outer_(core_.current_scope()), scope_(core_.OpenScope(shielded)) {}
MARATHON_INLINE CancellationScope::~CancellationScope() { core_.SetCurrentScope(outer_); }

MARATHON_INLINE void CancellationScope::Cancel(std::source_location where) { core_.CancelScope(scope_, where); }
MARATHON_INLINE bool CancellationScope::canceled() const { return core_.IsCanceled(scope_); }

}  // namespace marathon::inline MARATHON_ABI
