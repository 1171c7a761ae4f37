// Options of an engine and of single calls: plain structs, each default with its unit and reason.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "marathon/client_requests.h"
#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/labels.h"
#include "marathon/limits.h"
#include "marathon/log_sink.h"
#include "marathon/payload_codec.h"
#include "marathon/retry_policy.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

struct EngineOptions {
  // Queues this process takes work from, with names without '@'. Starts and activities use "default" unless they say
  // otherwise.
  std::vector<std::string> task_queues{"default"};

  int turn_threads = 0;        // 0: as many as cores. Turns never block, so more gains nothing
  int activity_threads = 16;   // blocking activities at a time; at least 1
  int max_async_activities = 10'000;  // asynchronous ones at a time; they hold no thread. At least 1
  // Attempts that begin here in a second, evenly spaced; 0: no limit. Limits of a type: Registry::Bind.
  double max_activities_per_second = 0;

  // Live coroutines kept between turns; a run that is not there is replayed from its history.
  size_t cache_runs = 10'000;
  size_t cache_bytes = 256u << 20;

  // A worker that does not renew for so long is taken for dead and its activities run elsewhere. It
  // renews every third of it. From limits::kMinLease to limits::kRestingLease.
  Duration lease{30'000};

  // A turn that runs longer is reported, its run left to others and its thread replaced. Up to a day; 0: never.
  Duration watchdog{1'000};

  // Names this build in histories; a run that blocked on it is retried by another, and one that is pinned to it
  // (Versioning::kPinned) is only for it. 1 to 200 bytes. Empty: the executable's own build id.
  std::string build_id{};

  // A payload of more bytes is kept as a blob beside the history that names it, the same bytes once; from
  // limits::kPayloadMaxBytes on none is. Of what is written from now on: what is stored is read either way.
  size_t payload_inline_bytes = limits::kPayloadInlineBytes;

  // What payloads are sealed with before they leave this process, say encrypted: by the first of these. Each opens what has its
  // id, so a new key goes to the front and the old ones stay behind it for as long as they have sealed anything that is
  // kept. None: payloads are stored as they are. All engines of a store are to have the same.
  std::vector<std::shared_ptr<PayloadCodec>> payload_codecs{};

  // Replays every run from its first event after every turn, and blocks the run if the code does not
  // repeat itself. For tests: it costs a whole replay a turn.
  bool verify_determinism = false;

  // Where messages go. Null: warnings and worse to stderr.
  std::shared_ptr<LogSink> log{};
};

struct StartOptions {
  std::string workflow_id{};  // empty: a new one
  std::string request_id{};   // the same again gives the same run. Empty: a new one
  std::string task_queue{};   // empty: "default"
  IdReusePolicy id_reuse = IdReusePolicy::kAllowDuplicate;      // when a closed run has the id
  IdConflictPolicy id_conflict = IdConflictPolicy::kFail;       // when an open run has it
  Duration run_timeout{0};    // the run ends as kTimedOut after this; 0: never
  Duration start_delay{0};    // its first turn waits so long; what comes meanwhile waits with it
  // A run that fails or times out is followed by another one, with the same input and as ctx.attempt()
  // counts, until this policy says no. None: it is not. A run's result is then that of the last.
  std::optional<RetryPolicy> retry{};
  Headers headers{};
  // Texts to show with the run, and to list it by: see labels.h. kInvalidArgument, kResourceExhausted: what is wrong.
  Labels memo{};
  Labels attributes{};
  // Of its activities and children, unless they say otherwise, and so on down: where activities wait in a task queue,
  // those of the smallest number go first. 1 to limits::kMaxPriority; 0: limits::kDefaultPriority. Of the runs that
  // follow it, too. kInvalidArgument: there is no such priority.
  int priority = 0;
};

struct QueryOptions {
  // How long to wait for messages that the run has not taken yet; after that the answer is stale.
  Duration patience{1'000};
};

// What a query handler said, and of what state of its run.
struct QueryReply {
  Payload answer;
  EventId version = 0;  // of the last event it knew
  bool stale = false;   // messages waited that it had not seen
};

struct UpdateOptions {
  std::string update_id{};  // the same again is the same update. Empty: a new one
  UpdateStage wait = UpdateStage::kAccepted;  // how far the calls that give an UpdateHandle wait
  Duration patience = Duration::max();        // … and for how long; the update itself goes on
  Headers headers{};
};

struct SignalOptions {
  std::string request_id{};  // the same again is delivered once. Empty: a new one
  Headers headers{};
};

}  // namespace marathon::inline MARATHON_ABI
