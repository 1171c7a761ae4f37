// From a URL to a store and the queue that it feeds, of one domain or of two:
//
//   sqlite:app.db                                   the store is its own queue
//   sqlite:app.db?queue=sqs%3A%2F%2Feu-west-1…      its hints go to a queue of another domain
//
// Functions; safe from any thread.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"
#include "marathon/status.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI {

// Makes a pair of a new store and a queue of another domain: the store's hints go to the queue, once what
// they tell of is durable, through a HintOutbox, which is the pair's queue. `runtime` outlives the ports.
StatusOr<Ports> JoinPorts(std::shared_ptr<StateStore> store, std::shared_ptr<TaskQueue> queue,
                          Runtime& runtime);

// Opens what `url` stands for by the first of `backends` that has its scheme. The parameter `queue` is the
// percent-encoded URL of the queue, if that is not the store's own; it is in the store's namespace unless it
// names another one.
StatusOr<Ports> OpenPorts(std::string_view url,
                          const std::vector<std::shared_ptr<const Backend>>& backends,
                          Runtime& runtime);

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/store/open_ports-inl.h"
#endif
