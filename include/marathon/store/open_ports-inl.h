#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "marathon/store/hint_outbox.h"
#include "marathon/store/open_ports.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

// What to link for a scheme that Marathon ships; empty: it ships none.
inline std::string HowToAdd(std::string_view scheme) {
  struct Shipped {
    std::string_view scheme, target, backend;
  };
  static constexpr Shipped kShipped[] = {{"sqlite", "sqlite", "SqliteBackend"},
                                         {"redis", "redis", "RedisBackend"},
                                         {"rediss", "redis", "RedisTlsBackend"},
                                         {"sqs", "sqs", "SqsBackend"}};
  for (const Shipped& one : kShipped) {
    if (one.scheme != scheme) continue;
    return fmt::format(
        ". Link marathon::{}, include <marathon/adapters/{}.h> and call "
        "registry.Use(marathon::{}())",
        one.target, one.target, one.backend);
  }
  return {};
}

inline StatusOr<Ports> OpenBackend(const BackendUrl& url,
                                   const std::vector<std::shared_ptr<const Backend>>& backends,
                                   Runtime& runtime) {
  std::string schemes;
  for (const auto& backend : backends) {
    if (backend->scheme == url.scheme) return backend->open(url, runtime);
    schemes += fmt::format("{}\"{}:\"", schemes.empty() ? "" : ", ", backend->scheme);
  }
  return InvalidArgument(fmt::format("no backend for \"{}:\"; this registry has {}{}", url.scheme,
                                     schemes, HowToAdd(url.scheme)));
}

}  // namespace detail

MARATHON_INLINE StatusOr<Ports> JoinPorts(std::shared_ptr<StateStore> store,
                                          std::shared_ptr<TaskQueue> queue, Runtime& runtime) {
  if (store->domain() == queue->domain()) return Ports{std::move(store), std::move(queue)};
  auto outbox = HintOutbox::Create(std::move(queue), runtime);
  if (Status status = store->SetOutlet(outbox); !status.ok()) return status;
  return Ports{std::move(store), std::move(outbox)};
}

MARATHON_INLINE StatusOr<Ports> OpenPorts(
    std::string_view text, const std::vector<std::shared_ptr<const Backend>>& backends,
    Runtime& runtime) {
  StatusOr<BackendUrl> url = ParseBackendUrl(text);
  if (!url.ok()) return url.status();
  const auto is_queue = [](const auto& parameter) { return parameter.first == "queue"; };
  const auto found = std::find_if(url->parameters.begin(), url->parameters.end(), is_queue);
  if (found == url->parameters.end()) {
    StatusOr<Ports> ports = detail::OpenBackend(*url, backends, runtime);
    if (!ports.ok() || ports->store != nullptr) return ports;
    return InvalidArgument(fmt::format(
        "\"{0}:\" is a task queue and keeps no runs: name it as the queue of a store, as in "
        "sqlite:app.db?queue={0}%3A%2F%2F…",
        url->scheme));
  }
  StatusOr<BackendUrl> queue_url = ParseBackendUrl(found->second);
  url->parameters.erase(found);
  if (!queue_url.ok()) {
    return InvalidArgument(fmt::format("queue=: {}", MessageOf(queue_url.status())));
  }
  const auto name_space = url->Find("namespace");
  if (name_space && !queue_url->Find("namespace")) {
    queue_url->parameters.emplace_back("namespace", *name_space);
  }
  StatusOr<Ports> queue = detail::OpenBackend(*queue_url, backends, runtime);
  if (!queue.ok()) return queue.status();
  StatusOr<Ports> store = detail::OpenBackend(*url, backends, runtime);
  if (!store.ok()) return store.status();
  if (store->store == nullptr) {
    return InvalidArgument(fmt::format("\"{}:\" is a task queue and keeps no runs", url->scheme));
  }
  StatusOr<Ports> joined = JoinPorts(std::move(store->store), std::move(queue->queue), runtime);
  if (!joined.ok()) return joined;
  joined->blobs = std::move(store->blobs);
  joined->streams = std::move(store->streams);
  joined->limiter = std::move(store->limiter);
  joined->transactions = std::move(store->transactions);
  return joined;
}

}  // namespace marathon::inline MARATHON_ABI
