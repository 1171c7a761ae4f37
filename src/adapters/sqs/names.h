// What an SQS queue's messages and queues look like. docs/sqs.md has the formats; they are for good.
//
// Pure functions; safe from any thread.
#pragma once

#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI::detail {

// The name of the queue for one kind of task, in SQS's 80 characters of [A-Za-z0-9_-]. Different
// arguments give different names.
std::string SqsQueueName(std::string_view prefix, std::string_view name_space, TaskKind kind,
                         std::string_view task_queue);

// A hint as a message: ids in ASCII JSON. Its kind and task queue are its queue's.
std::string EncodeSqsHint(const TaskHint& hint);
// kInvalidArgument: not a hint. kUnimplemented: one of a newer format.
StatusOr<TaskHint> DecodeSqsHint(std::string_view body, TaskKind kind,
                                 std::string_view task_queue);

}  // namespace marathon::inline MARATHON_ABI::detail
