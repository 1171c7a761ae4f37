#pragma once

#include "marathon/workflow_context.h"

#include <fmt/format.h>

#include "marathon/detail/priority.h"
#include "marathon/detail/run_messages.h"
#include "marathon/detail/text.h"
#include "marathon/detail/workflow_core.h"
#include "marathon/errors.h"
#include "marathon/limits.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// Throws unless `name` can be recorded as the name of `what`.
inline void CheckName(std::string_view what, std::string_view name, size_t max = limits::kMaxNameBytes) {
  if (!name.empty() && name.size() <= max && IsCleanText(name)) return;
  throw ApplicationError(
      fmt::format("{} must have 1 to {} bytes of UTF-8 without control characters", what, max),
      {.type = std::string(failure_type::kEncode), .non_retryable = true});
}

// The same for a task queue; none is a way to say "as here".
inline void CheckTaskQueue(std::string_view name) {
  if (name.empty()) return;
  CheckName("a task queue's name", name);
  if (name.find(kPinMark) == name.npos) return;
  throw ApplicationError(fmt::format("the task queue \"{}\" needs a name without {}", name, kPinMark),
                         {.type = std::string(failure_type::kEncode), .non_retryable = true});
}

// Throws unless so many of this concurrency key may be at work; none is as good as any.
inline void CheckConcurrency(std::string_view key, int max) {
  if (!key.empty()) CheckName("a concurrency_key", key, limits::kMaxIdBytes);
  if (max >= 1 && max <= limits::kMaxPlaces) return;
  throw ApplicationError(fmt::format("max_per_key is 1 to {}, and not {}", limits::kMaxPlaces, max),
                         {.type = std::string(failure_type::kEncode), .non_retryable = true});
}

// Throws unless these may be a run's labels.
inline void CheckOwnLabels(std::string_view what, const Labels& labels) {
  const Status status = CheckLabels(what, labels);
  if (status.ok()) return;
  const bool too_large = status.code() == StatusCode::kResourceExhausted;
  throw ApplicationError(std::string(MessageOf(status)),
                         {.type = std::string(too_large ? failure_type::kTooLarge : failure_type::kEncode),
                          .non_retryable = true});
}

// What the options of `what` say, or `own` where they leave it open. Throws if there is no such priority.
inline uint8_t PriorityOf(std::string_view what, std::string_view name, int priority, uint8_t own) {
  if (priority == 0) return own;
  const Status status = CheckPriority(priority);
  if (status.ok()) return static_cast<uint8_t>(priority);
  throw ApplicationError(fmt::format("{} \"{}\": {}", what, name, MessageOf(status)),
                         {.type = std::string(failure_type::kEncode), .non_retryable = true});
}

}  // namespace detail

MARATHON_INLINE HandlerRegistration::~HandlerRegistration() { core_.RemoveHandler(name_); }

// ---- What is the core's

MARATHON_INLINE detail::JoinAwaiter<void> WorkflowContext::Sleep(Duration duration, std::source_location where) {
  return detail::JoinAwaiter<void>(core_.StartTimer(duration, where));
}
MARATHON_INLINE TimerHandle WorkflowContext::StartTimer(Duration duration, std::source_location where) {
  return TimerHandle(core_.StartTimer(duration, where));
}
MARATHON_INLINE Time WorkflowContext::Now() const { return core_.now(); }
MARATHON_INLINE bool WorkflowContext::AllHandlersFinished() const { return core_.handlers_running() == 0; }
MARATHON_INLINE bool WorkflowContext::cancel_requested() const { return core_.cancel_requested(); }
MARATHON_INLINE const std::string& WorkflowContext::cancel_reason() const { return core_.cancel_reason(); }
MARATHON_INLINE int WorkflowContext::Version(std::string_view change, int min, int max, std::source_location where) {
  return core_.Version(change, min, max, where);
}
MARATHON_INLINE bool WorkflowContext::ContinueAsNewSuggested() const { return core_.continue_as_new_suggested(); }
MARATHON_INLINE uint64_t WorkflowContext::Random() { return core_.NextRandom(); }
MARATHON_INLINE const Labels& WorkflowContext::attributes() const { return core_.labels().attributes; }
MARATHON_INLINE const Labels& WorkflowContext::memo() const { return core_.labels().memo; }
MARATHON_INLINE const Id& WorkflowContext::workflow_id() const { return core_.facts().key.workflow_id; }
MARATHON_INLINE const Id& WorkflowContext::run_id() const { return core_.facts().key.run_id; }
MARATHON_INLINE const std::string& WorkflowContext::workflow_type() const { return core_.facts().workflow_type; }
MARATHON_INLINE const Id& WorkflowContext::first_run_id() const { return core_.first_run_id(); }
MARATHON_INLINE int WorkflowContext::attempt() const { return core_.attempt(); }
MARATHON_INLINE int WorkflowContext::priority() const { return core_.priority(); }
MARATHON_INLINE const RunKey* WorkflowContext::parent() const {
  return core_.parent() ? &core_.parent()->run : nullptr;
}
MARATHON_INLINE bool WorkflowContext::is_replaying() const { return core_.replaying(); }
MARATHON_INLINE void WorkflowContext::Log(LogLevel level, std::string_view message) { core_.Log(level, message); }

MARATHON_INLINE detail::OperationRef WorkflowContext::StartBranch(std::coroutine_handle<> root) {
  return core_.Spawn(root);
}
MARATHON_INLINE detail::OperationRef WorkflowContext::NextSignal(std::string_view signal) {
  return core_.Receive(signal);
}
MARATHON_INLINE std::vector<detail::OperationRef> WorkflowContext::SignalOrTimer(std::string_view signal,
                                                                                 Duration timeout,
                                                                                 std::source_location where) {
  std::vector<detail::OperationRef> operations{core_.Receive(signal)};
  if (!operations.front()->done) operations.push_back(core_.StartTimer(timeout, where));
  return operations;
}
MARATHON_INLINE HandlerRegistration WorkflowContext::SetHandler(std::string_view signal, detail::SignalHandler handler) {
  return {core_, core_.SetHandler(signal, std::move(handler))};
}
MARATHON_INLINE HandlerRegistration WorkflowContext::SetHandler(std::string_view query, detail::QueryHandler handler) {
  return {core_, core_.SetHandler(query, std::move(handler))};
}
MARATHON_INLINE HandlerRegistration WorkflowContext::SetHandler(std::string_view update, detail::UpdateHandler handler) {
  return {core_, core_.SetHandler(update, std::move(handler))};
}
MARATHON_INLINE bool WorkflowContext::NextIsScheduled(std::string_view activity) {
  return core_.NextIsScheduled(activity);
}
MARATHON_INLINE RunKey WorkflowContext::ChildKey(const detail::Operation& operation, const ChildOptions& options) const {
  return detail::ChildKey({core_.facts().key, operation.id}, options.workflow_id);
}

MARATHON_INLINE void WorkflowContext::SetAttributes(Labels changes, std::source_location where) {
  detail::CheckOwnLabels("attribute", changes);
  Labels after = core_.labels().attributes;
  detail::SetLabels(after, changes);
  detail::CheckOwnLabels("attribute", after);
  core_.SetAttributes(std::move(changes), where);
}

MARATHON_INLINE detail::ContinueAsNewAwaiter WorkflowContext::ContinueEncoded(
    std::string_view workflow_type, Payload input, const ContinueAsNewOptions& options,
    std::source_location where) {
  if (!workflow_type.empty()) detail::CheckName("a workflow's type", workflow_type);
  detail::CheckTaskQueue(options.task_queue);
  WorkflowContinuedAsNew next;
  next.workflow_type = workflow_type;
  next.task_queue = options.task_queue;
  next.input = std::move(input);
  next.run_timeout = options.run_timeout.value_or(core_.run_timeout());
  next.upgrade = options.upgrade;
  return detail::ContinueAsNewAwaiter(core_, std::move(next), where);
}

MARATHON_INLINE detail::OperationRef WorkflowContext::ScheduleEncoded(std::string_view activity,
                                                                      Payload input,
                                                                      const ActivityOptions& options,
                                                                      std::source_location where) {
  detail::CheckName("an activity's name", activity);
  detail::CheckTaskQueue(options.task_queue);
  ActivityPolicy policy;
  policy.start_to_close = options.start_to_close_timeout;
  policy.schedule_to_start = options.schedule_to_start_timeout;
  policy.schedule_to_close = options.schedule_to_close_timeout;
  policy.heartbeat = options.heartbeat_timeout;
  if (policy.start_to_close.count() <= 0 && policy.schedule_to_close.count() <= 0) {
    policy.start_to_close = limits::kDefaultStartToClose;
  }
  if (options.retry != nullptr) policy.retry = StoredRetryPolicy(*options.retry);
  policy.hold_dead_letter = options.hold_dead_letter;
  policy.priority = detail::PriorityOf("activity", activity, options.priority, core_.priority());
  detail::CheckConcurrency(options.concurrency_key, options.max_per_key);
  if (!options.concurrency_key.empty()) {
    policy.concurrency_key = options.concurrency_key;
    policy.max_per_key = options.max_per_key;
  }
  return core_.ScheduleActivity(activity, std::move(input), options.task_queue, std::move(policy),
                                options.cancellation, where);
}

MARATHON_INLINE detail::OperationRef WorkflowContext::StartLocalEncoded(std::string_view activity,
                                                                        Payload input,
                                                                        const LocalOptions& options,
                                                                        std::source_location where) {
  detail::CheckName("an activity's name", activity);
  if (IsBuiltIn(activity)) {
    throw ApplicationError(fmt::format("\"{}\" is one of the library's own activities and cannot run locally", activity),
                           {.type = std::string(failure_type::kEncode), .non_retryable = true});
  }
  const Duration time = options.start_to_close_timeout;
  if (time <= Duration(0) || time > limits::kMaxLocalTime) {
    throw ApplicationError(
        fmt::format("the start_to_close_timeout of local activity \"{}\" is {} ms; it must be 1 to {}: what takes "
                    "longer is for ctx.Run",
                    activity, time.count(), limits::kMaxLocalTime.count()),
        {.type = std::string(failure_type::kEncode), .non_retryable = true});
  }
  detail::LocalCall call{std::move(input), time};
  if (options.retry != nullptr) call.retry = StoredRetryPolicy(*options.retry);
  return core_.StartLocal(activity, std::move(call), options.cancellation, where);
}

// The activity is the child, from its start to its end: it has no deadlines, and the retry policy and the priority are
// the child's.
MARATHON_INLINE detail::OperationRef WorkflowContext::ScheduleChildEncoded(
    std::string_view workflow, Payload input, const ChildOptions& options,
    std::source_location where) {
  detail::CheckName("a child's workflow type", workflow);
  Headers headers;
  if (!options.workflow_id.empty()) {
    detail::CheckName("a child's workflow id", options.workflow_id, limits::kMaxIdBytes);
    headers.emplace_back(detail::header::kWorkflowId, options.workflow_id);
  }
  detail::CheckTaskQueue(options.task_queue);
  if (!options.task_queue.empty()) {
    headers.emplace_back(detail::header::kTaskQueue, options.task_queue);
  }
  const auto add_time = [&](std::string_view name, Duration time) {
    if (time > Duration(0)) headers.emplace_back(name, std::to_string(time.count()));
  };
  add_time(detail::header::kRunTimeout, options.run_timeout);
  add_time(detail::header::kStartDelay, options.start_delay);
  if (options.on_parent_close != ParentClosePolicy::kTerminate) {
    const bool cancel = options.on_parent_close == ParentClosePolicy::kCancel;
    headers.emplace_back(detail::header::kOnParentClose, cancel ? "cancel" : "abandon");
  }
  const auto add_labels = [&](std::string_view prefix, std::string_view what, const Labels* labels) {
    if (labels == nullptr) return;
    detail::CheckOwnLabels(what, *labels);
    for (const auto& [name, text] : *labels) headers.emplace_back(fmt::format("{}{}", prefix, name), text);
  };
  add_labels(detail::header::kMemo, "memo", options.memo);
  add_labels(detail::header::kAttribute, "attribute", options.attributes);
  ActivityPolicy policy;
  if (options.retry != nullptr) {
    policy.retry = StoredRetryPolicy(*options.retry);
  } else {
    policy.retry.maximum_attempts = 1;
  }
  policy.priority = detail::PriorityOf("child", workflow, options.priority, core_.priority());
  return core_.ScheduleActivity(fmt::format("{}{}", detail::kChildRun, workflow), std::move(input), "",
                                std::move(policy), options.cancellation, where, std::move(headers));
}

namespace detail {

inline Headers TargetHeaders(std::string_view workflow_id, std::string_view run_id) {
  CheckName("a workflow id", workflow_id, limits::kMaxIdBytes);
  Headers headers{{std::string(header::kWorkflowId), std::string(workflow_id)}};
  if (!run_id.empty()) {
    CheckName("a run id", run_id, limits::kMaxIdBytes);
    headers.emplace_back(header::kRunId, run_id);
  }
  return headers;
}

}  // namespace detail

MARATHON_INLINE detail::OperationRef WorkflowContext::SendSignalEncoded(const Target& target,
                                                                        std::string_view signal, Payload value,
                                                                        std::source_location where) {
  detail::CheckName("a signal's name", signal);
  Headers headers = detail::TargetHeaders(target.workflow_id, target.run_id);
  if (target.child != 0) headers.emplace_back(detail::header::kEvent, std::to_string(target.child));
  return core_.ScheduleActivity(fmt::format("{}{}", detail::kSignalRun, signal), std::move(value), "",
                                ActivityPolicy(), ActivityCancellation::kTry, where,
                                std::move(headers));
}

MARATHON_INLINE detail::JoinAwaiter<void> WorkflowContext::CancelRun(std::string_view workflow_id,
                                                                     std::string_view reason,
                                                                     TargetOptions target,
                                                                     std::source_location where) {
  Headers headers = detail::TargetHeaders(workflow_id, target.run_id);
  if (!reason.empty()) {
    detail::CheckName("a reason", reason, limits::kMaxReasonBytes);
    headers.emplace_back(detail::header::kReason, reason);
  }
  return detail::JoinAwaiter<void>(
      core_.ScheduleActivity(detail::kCancelRun, Payload(), "", ActivityPolicy(),
                             ActivityCancellation::kTry, where, std::move(headers)));
}

MARATHON_INLINE std::string WorkflowContext::NewUuid() {
  const uint64_t high = Random();
  return detail::UuidText(high, Random(), 4);
}

namespace detail {

MARATHON_INLINE void ThrowEncodeError(std::string_view what, const Status& status) {
  const bool too_large = status.code() == StatusCode::kResourceExhausted;
  throw ApplicationError(
      fmt::format("the value for \"{}\" cannot be recorded: {}", what, MessageOf(status)),
      {.type = std::string(too_large ? failure_type::kTooLarge : failure_type::kEncode),
       .non_retryable = true});
}

MARATHON_INLINE void ThrowDecodeError(std::string_view what, const Status& status) {
  throw ApplicationError(
      fmt::format("the value of \"{}\" is not what the code expects: {}", what, MessageOf(status)),
      {.type = std::string(failure_type::kDecode), .non_retryable = true});
}

MARATHON_INLINE void ThrowCanceled() {
  throw CanceledError(Failure{.kind = FailureKind::kCanceled,
                              .type = std::string(failure_type::kCanceled),
                              .message = "canceled by its workflow"});
}

MARATHON_INLINE void ThrowFailure(const Operation& operation) {
  const Failure& failure = *operation.failure;
  if (IsChildRun(operation.name) && failure.kind != FailureKind::kCanceled) {
    throw ChildRunError(failure, operation.name.substr(kChildRun.size()));
  }
  if (failure.type == failure_type::kNotDelivered) throw DeliveryError(failure);
  switch (failure.kind) {
    case FailureKind::kTimeout:
      throw TimeoutError(failure, operation.name, operation.attempt);
    case FailureKind::kCanceled:
      throw CanceledError(failure);
    default:
      throw ActivityError(failure, operation.name, operation.attempt);
  }
}

}  // namespace detail
}  // namespace marathon::inline MARATHON_ABI
