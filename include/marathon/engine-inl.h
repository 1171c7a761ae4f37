#pragma once

#include "marathon/engine.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/engine/checks.h"
#include "marathon/engine/host-inl.h"
#include "marathon/engine/process.h"
#include "marathon/engine_impl-inl.h"
#include "marathon/engine_run-inl.h"
#include "marathon/store/open_ports.h"

namespace marathon::inline MARATHON_ABI {

MARATHON_INLINE StatusOr<Engine> Engine::Open(std::string_view url, const Registry& registry,
                                              EngineOptions options) {
  auto impl = std::make_shared<detail::EngineImpl>(options);
  std::vector<std::shared_ptr<const Backend>> backends{
      std::make_shared<const Backend>(MemoryBackend())};
  backends.insert(backends.end(), registry.backends().begin(), registry.backends().end());
  StatusOr<Ports> ports = OpenPorts(url, backends, impl->runtime);
  if (!ports.ok()) return ports.status();
  return OpenImpl(std::move(impl), *std::move(ports), registry, std::move(options));
}

MARATHON_INLINE StatusOr<Engine> Engine::Open(Ports ports, const Registry& registry,
                                              EngineOptions options) {
  auto impl = std::make_shared<detail::EngineImpl>(options);
  return OpenImpl(std::move(impl), std::move(ports), registry, std::move(options));
}

MARATHON_INLINE StatusOr<Engine> Engine::Open(Ports ports, const Registry& registry,
                                              EngineOptions options,
                                              std::shared_ptr<Runtime> runtime) {
  auto impl = std::make_shared<detail::EngineImpl>(std::move(runtime));
  return OpenImpl(std::move(impl), std::move(ports), registry, std::move(options));
}

MARATHON_INLINE StatusOr<Engine> Engine::OpenImpl(std::shared_ptr<detail::EngineImpl> impl, Ports ports,
                                                  const Registry& registry, EngineOptions options) {
  if (!registry.mistakes().empty()) {
    return InvalidArgument("the registry is wrong: " + registry.mistakes());
  }
  if (ports.store->hint_domain() != ports.queue->domain()) {
    return InvalidArgument(fmt::format(
        "the store's hints go to \"{}\" and not to the queue \"{}\": pair them with JoinPorts",
        ports.store->hint_domain(), ports.queue->domain()));
  }
  const std::string_view kind = ports.transactions ? ports.transactions->kind() : std::string_view();
  if (const std::string* name = registry.FindTransactionalElsewhere(kind)) {
    return FailedPrecondition(fmt::format(
        "the activity \"{}\" is transactional: it needs the store that keeps its tables, {}, and {} is not one. "
        "Open that, or bind the activity where it is open",
        *name, registry.FindActivity(*name)->transactions, ports.store->domain()));
  }
  if (options.build_id.empty()) {
    options.build_id = detail::ExecutableBuildId();
    if (options.build_id == detail::kNoBuildId && registry.has_pinned()) {
      return FailedPrecondition(
          "a workflow is pinned to its build, and this executable has no build id, as any other: set "
          "EngineOptions::build_id, or link with --build-id");
    }
  }
  if (Status checked = CheckOptions(options); !checked.ok()) return checked;
  impl->ports = ports;
  impl->host = Host::Create(impl->runtime, std::move(ports), std::make_shared<const Registry>(registry),
                            std::move(options));
  Status status = impl->AwaitStatus([&](DoneStatus done) { impl->host->Open(std::move(done)); });
  if (!status.ok()) return status;
  return Engine(std::move(impl));
}

MARATHON_INLINE Engine& Engine::operator=(Engine&& other) noexcept {
  if (this != &other) {
    if (impl_) detail::CloseEngine(std::move(impl_));
    impl_ = std::move(other.impl_);
  }
  return *this;
}

MARATHON_INLINE Engine::~Engine() {
  if (impl_) detail::CloseEngine(std::move(impl_));
}

MARATHON_INLINE Status Engine::Shutdown(Duration patience) { return impl_->Shutdown(patience); }

MARATHON_INLINE BlobStore& Engine::blobs() const { return impl_->host->blobs(); }

MARATHON_INLINE StreamLog& Engine::streams() const { return impl_->host->streams(); }

MARATHON_INLINE Limiter& Engine::limiter() const { return impl_->host->limiter(); }

MARATHON_INLINE StatusOr<Run> Engine::StartPayload(std::string_view workflow_type, Payload input,
                                                   StartOptions options) {
  return StartWith(workflow_type, std::move(input), std::move(options), {});
}

MARATHON_INLINE StatusOr<Run> Engine::SignalWithStartPayload(std::string_view workflow_type,
                                                             Payload input, std::string_view signal,
                                                             Payload value, StartOptions options,
                                                             SignalOptions signal_options) {
  std::string key = signal_options.request_id.empty() ? impl_->host->NewId().str()
                                                      : std::move(signal_options.request_id);
  Message message{0, std::move(key),
                  SignalReceived{std::string(signal), std::move(value), std::move(signal_options.headers)}};
  options.id_conflict = IdConflictPolicy::kUseExisting;
  return StartWith(workflow_type, std::move(input), std::move(options), {std::move(message)});
}

MARATHON_INLINE StatusOr<Run> Engine::StartWith(std::string_view workflow_type, Payload input,
                                                StartOptions options, std::vector<Message> messages) {
  StartCall call;
  call.workflow_type = workflow_type;
  call.input = std::move(input);
  call.options = std::move(options);
  call.signals = std::move(messages);
  auto started = impl_->Await<StartReply>(
      [&](Done<StartReply> done) { impl_->host->Start(std::move(call), std::move(done)); });
  if (!started.ok()) return std::move(started).status();
  return Run(impl_, std::move(started->run));
}

MARATHON_INLINE Run Engine::Find(std::string_view workflow_id, std::string_view run_id) const {
  return Run(impl_, RunKey{workflow_id, run_id});
}

MARATHON_INLINE StatusOr<ListReply> Engine::List(ListRequest request) const {
  return impl_->Ask<ListReply>(
      [&](StateStore& store, Done<ListReply> done) { store.List(request, std::move(done)); });
}

MARATHON_INLINE StatusOr<int64_t> Engine::Count(ListRequest request) const {
  request.count_only = true;
  request.page_token.clear();
  const StatusOr<ListReply> reply = List(std::move(request));
  if (!reply.ok()) return reply.status();
  return reply->count;
}

MARATHON_INLINE Status Engine::CompleteActivityPayload(std::string_view token, Payload result) {
  if (Status status = CheckPayload("result", result); !status.ok()) return status;
  return impl_->AwaitStatus([&](DoneStatus done) {
    impl_->host->CompleteActivity(token, ActivityCompleted{0, std::move(result), 0}, std::move(done));
  });
}

MARATHON_INLINE Status Engine::FailActivity(std::string_view token, Failure failure) {
  return impl_->AwaitStatus([&](DoneStatus done) {
    impl_->host->CompleteActivity(token, ActivityFailed{0, std::move(failure), 0}, std::move(done));
  });
}

}  // namespace marathon::inline MARATHON_ABI

#include "marathon/event_reader-inl.h"
#include "marathon/schedule-inl.h"
#include "marathon/update_handle-inl.h"
