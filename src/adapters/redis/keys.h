// RedisKeys: the names of what a store keeps in Redis. docs/redis.md lists them.
//
// Values and pure functions; safe from any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/store/store_protocol.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI::detail {

// A run in keys and members: "LENGTH:WORKFLOW_ID" and the run id.
std::string RedisName(const RunKey& run);
std::optional<RunKey> ParseRedisName(std::string_view name);

// An activity of a set: "ID:" and its run.
std::string RedisName(const ActivityKey& activity);
std::optional<ActivityKey> ParseActivityName(std::string_view name);

// A member of the due index, or (kExcess) of the closed runs, which has the bytes it counts for as its id.
std::string RedisName(const DueEntry& entry);
std::optional<DueEntry> ParseDueName(std::string_view name);

// A hint, but for its kind and task queue, which its queue's key tells.
std::string RedisName(const TaskHint& hint);
// False: not one.
bool ParseHintName(std::string_view name, TaskHint* hint);

// Which of `partitions` has a name, such as a workflow id. Never changes.
size_t RedisPartitionOf(std::string_view name, size_t partitions);

class RedisKeys {
 public:
  // Keys of a partition share its tag, and so a slot of a cluster.
  RedisKeys(std::string_view name_space, int partition);

  // ---- Of a run, by its name
  std::string Run(std::string_view name) const { return Of("r:", name); }
  std::string Activities(std::string_view name) const { return Of("a:", name); }
  std::string History(std::string_view name) const { return Of("h:", name); }
  std::string Inbox(std::string_view name) const { return Of("i:", name); }
  std::string DedupeKeys(std::string_view name) const { return Of("k:", name); }
  std::string Answers(std::string_view name) const { return Of("u:", name); }
  std::string Timers(std::string_view name) const { return Of("t:", name); }
  std::string BlobsHeld(std::string_view name) const { return Of("v:", name); }  // by the run: digests
  // A blob that runs hold, and which do, by its digest
  std::string HeldBlob(std::string_view sha256) const { return Of("vb:", sha256); }
  std::string BlobHolders(std::string_view sha256) const { return Of("vh:", sha256); }
  // Of the runs that have an attribute, as `runs` has all
  std::string Attribute(std::string_view name, std::string_view text) const;
  // Of a workflow id
  std::string Workflow(std::string_view workflow_id) const { return Of("w:", workflow_id); }

  // ---- Beside the runs: a blob by its digest, a stream, a limit, and the places of a key
  std::string Blob(std::string_view sha256) const { return Of("b:", sha256); }
  std::string Stream(std::string_view name) const { return Of("s:", name); }
  std::string Frames(std::string_view name) const { return Of("f:", name); }
  std::string Limit(std::string_view key) const { return Of("l:", key); }
  std::string Places(std::string_view key) const { return Of("p:", key); }
  std::string PlacesHeld(std::string_view key) const { return Of("ph:", key); }
  std::string PlacesPassed(std::string_view key) const { return Of("pp:", key); }
  std::string PlacesAwaited(std::string_view key) const { return Of("pw:", key); }

  // ---- Of a session
  std::string Held(std::string_view session) const { return Of("held:", session); }
  std::string Ready(std::string_view session) const { return Of("ready:", session); }
  std::string Canceled(std::string_view session) const { return Of("canceled:", session); }
  std::string OwnQueues(std::string_view session) const { return Of("queues:", session); }

  // Hints of a task queue for a session, or (empty) for anyone.
  std::string Queue(TaskKind kind, std::string_view task_queue, std::string_view session) const;

  // ---- Channels
  std::string CancelChannel(std::string_view session) const { return Of("cancel:", session); }
  std::string StoreChannel(std::string_view store) const { return Of("store:", store); }
  std::string FrameChannel(std::string_view stream) const { return Of("frames:", stream); }
  // Of the queues of one kind and name; the message is the key of the one that was empty.
  std::string QueueChannel(TaskKind kind, std::string_view task_queue) const {
    return WakeChannel(Queue(kind, task_queue, ""));
  }
  // … by the key of the queue for anyone.
  std::string WakeChannel(std::string_view queue) const { return Of("wake:", queue); }

  // ---- One of each
  const std::string prefix;
  const std::string runs, due, due_sessions, closed, closed_bytes, sessions, receivers, hint_counter, run_counter,
      store_counter, meta, probe, absent, due_channel;

 private:
  std::string Of(std::string_view kind, std::string_view name) const;
};

}  // namespace marathon::inline MARATHON_ABI::detail
