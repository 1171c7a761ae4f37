// Amazon SQS as task queue, for a store of another kind: workers that share a store find each other's work
// through SQS.
//
//   registry.Use(marathon::RedisBackend());
//   registry.Use(marathon::SqsBackend());
//   auto engine = marathon::Engine::Open(
//       "redis://localhost:6379/0?queue=sqs%3A%2F%2Feu-west-1%2F123456789012%2Fmyapp", registry);
//
// The queue's URL, before it is percent-encoded into the store's, is
//   sqs://REGION/ACCOUNT/PREFIX
// with any of these parameters (docs/sqs.md says more, also on queues, permissions and credentials):
//   namespace=NAME        the store's, unless it is said here
//   endpoint=URL          of another service than AWS's, or of a VPC; percent-encoded once more
//   insecure=true         lets that be http: on another machine than this one
//   create=true           makes queues that do not exist
//   visibility=SECONDS    30; how long SQS waits for a worker that took a hint and said no more
//   profile=NAME          of the shared AWS files, whatever the environment says
// REGION may be left out (sqs:///ACCOUNT/PREFIX): AWS_REGION, AWS_DEFAULT_REGION or the profile tell it.
// Link marathon::sqs.
#pragma once

#include <memory>
#include <string>

#include "marathon/backend.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/log_sink.h"
#include "marathon/runtime.h"
#include "marathon/task_queue.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

// What a URL does not say.
struct SqsOptions {
  // AWS keys; empty: from the environment, the shared files, a container's or an instance's service.
  std::string access_key_id, secret_access_key, session_token;
  Duration visibility = std::chrono::seconds(30);  // whole seconds, 1 to 43200
  // One ReceiveMessage waits so long for a message; at most 20 s.
  Duration long_poll = std::chrono::seconds(20);
  // Told when SQS cannot be used, and why; null: nobody.
  std::shared_ptr<LogSink> log = NewStderrLogSink();
  // For tests: by which requests are dated; null: the machine's. Outlives the queue.
  const Clock* clock = nullptr;
};

// A backend of a queue only: named by a store's `queue` parameter.
MARATHON_EXPORT Backend SqsBackend(SqsOptions defaults = {});

}  // namespace marathon::inline MARATHON_ABI
