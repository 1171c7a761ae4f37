// SameHead: the check of a step's recorded head against what the code makes of it. If they differ, the code has said
// something else to the model than history has: a mismatch, which blocks the run as any other does.
#pragma once

#include <coroutine>
#include <source_location>
#include <string>
#include <utility>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/detail/workflow_core.h"
#include "marathon/workflow.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

class [[nodiscard]] SameHead : public marathon::detail::Awaitable {
 public:
  SameHead(marathon::detail::WorkflowCore& core, int step, const BlobRef& recorded, const BlobRef& computed)
      : core_(core), step_(step), recorded_(recorded.sha256), computed_(computed.sha256) {}
  SameHead(const SameHead&) = delete;
  SameHead& operator=(const SameHead&) = delete;

  bool await_ready() const { return recorded_ == computed_; }
  // Nothing resumes any more: the frame waits to be destroyed.
  void await_suspend(std::coroutine_handle<>) const {
    const std::string what = "the conversation of step " + std::to_string(step_) + " as ";
    core_.mismatch() = marathon::detail::Mismatch{core_.last_event_id(), what + recorded_, "has " + what + computed_,
                                                  std::source_location()};
  }
  void await_resume() const {}

 private:
  marathon::detail::WorkflowCore& core_;
  const int step_;
  const std::string recorded_, computed_;
};

}  // namespace marathon::inline MARATHON_ABI::agent::internal
