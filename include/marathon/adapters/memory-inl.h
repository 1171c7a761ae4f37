#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "marathon/adapters/memory.h"
#include "marathon/adapters/memory_blobs.h"
#include "marathon/adapters/memory_limiter.h"
#include "marathon/adapters/memory_streams.h"
#include "marathon/adapters/memory_tables.h"
#include "marathon/store/local_hub.h"
#include "marathon/store/store_protocol.h"

namespace marathon::inline MARATHON_ABI {

namespace detail {

static_assert(RunTables<MemoryShard> && SessionTables<MemorySessions>);

// Each operation: lock the run's shard, let StoreProtocol do it, unlock, spread the effects,
// answer.
class MemoryStore final : public StateStore {
  static constexpr size_t kShards = 16;
  using Protocol = StoreProtocol<MemoryShard>;
  using Sessions = SessionProtocol<MemorySessions>;

  MemoryShard& ShardOf(const RunKey& run) {
    const uint64_t hash = std::hash<std::string_view>()(run.workflow_id);
    return *shards_[(hash * 0x9E3779B97F4A7C15u) >> 60];
  }

  // Runs `operation` on the shard, under its lock, and spreads its effects afterwards.
  template <class Operation>
  auto With(MemoryShard& shard, Operation operation) {
    Effects effects;
    auto reply = [&] {
      const std::lock_guard lock(shard.mutex());
      effects.events_awaited = hub_->AwaitsEvents();
      Protocol protocol(shard, clock_.Now(), effects, shared_.times);
      return operation(protocol);
    }();
    Spread(std::move(effects));
    return reply;
  }
  template <class Operation, class Then>
  auto WithSessions(Operation operation, Then then) {
    Effects effects;
    auto reply = [&] {
      const std::lock_guard lock(shared_.sessions.mutex());
      Sessions protocol(shared_.sessions, clock_.Now(), effects);
      return operation(protocol);
    }();
    then(reply);
    Spread(std::move(effects));
    return reply;
  }
  template <class Operation>
  auto WithSessions(Operation operation) {
    return WithSessions(std::move(operation), [](const auto&) {});
  }

 public:
  MemoryStore(const Clock& clock, MemoryOptions options, std::shared_ptr<LocalHub> hub,
              std::string domain)
      : clock_(clock), hub_(std::move(hub)), domain_(std::move(domain)), shared_(clock) {
    shared_.times.closed_keep = options.closed_keep;
    shared_.closed_bytes_max = options.closed_bytes;
    for (auto& shard : shards_) shard = std::make_unique<MemoryShard>(shared_);
  }

  std::string_view domain() const override { return domain_; }
  Status SetOutlet(std::shared_ptr<TaskQueue> outlet) override {
    return hub_->SetOutlet(std::move(outlet));
  }
  std::string_view hint_domain() const override {
    return hub_->outlet() != nullptr ? hub_->outlet()->domain() : domain_;
  }
  Time Now() const override { return clock_.Now(); }
  int64_t due_visited() const { return shared_.due_visited.load(std::memory_order_relaxed); }

  // ---- Sessions
  void OpenSession(SessionRow row, std::weak_ptr<StoreWatcher> watcher, Done<Time> done) override {
    const SessionId id = row.id;
    const auto reply = WithSessions([&](auto& protocol) { return protocol.Open(std::move(row)); },
                                    [&](const auto& opened) {
                                      if (opened.ok()) hub_->AddWatcher(id, std::move(watcher));
                                    });
    done(reply);
  }
  void RenewSession(RenewRequest request, Done<std::vector<ActivityKey>> done) override {
    done(WithSessions([&](auto& protocol) { return protocol.Renew(request); }));
  }
  void CloseSession(SessionId session, DoneStatus done) override {
    done(EndSession(session, false, [&](auto& protocol) { return protocol.Close(session); }));
  }
  void ExpireSession(SessionId session, DoneStatus done) override {
    done(EndSession(session, true, [&](auto& protocol) { return protocol.Expire(session); }));
  }

  // ---- Runs
  void Start(StartRequest request, Done<StartReply> done) override {
    MemoryShard& shard = ShardOf(request.run);
    done(With(shard, [&](auto& protocol) { return protocol.Start(std::move(request)); }));
  }
  void Put(PutRequest request, Done<PutReply> done) override {
    MemoryShard& shard = ShardOf(request.run);
    done(With(shard, [&](auto& protocol) { return protocol.Put(std::move(request)); }));
  }
  void TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) override {
    done(With(ShardOf(request.run), [&](auto& protocol) { return protocol.TakeTurn(request); }));
  }
  void Commit(TurnCommit commit, Done<CommitReply> done) override {
    MemoryShard& shard = ShardOf(commit.run);
    done(With(shard, [&](auto& protocol) { return protocol.Commit(std::move(commit)); }));
  }
  void Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) override {
    done(With(ShardOf(run),
              [&](auto& protocol) { return protocol.Block(run, version, std::move(info)); }));
  }
  void Unblock(RunKey run, DoneStatus done) override {
    done(With(ShardOf(run), [&](auto& protocol) { return protocol.Unblock(run); }));
  }

  // ---- What operators do
  void Pause(RunKey run, std::string reason, DoneStatus done) override {
    done(With(ShardOf(run),
              [&](auto& protocol) { return protocol.Pause(run, std::move(reason)); }));
  }
  void Resume(RunKey run, DoneStatus done) override {
    done(With(ShardOf(run), [&](auto& protocol) { return protocol.Resume(run); }));
  }
  void Pin(RunKey run, std::string build_id, DoneStatus done) override {
    done(With(ShardOf(run),
              [&](auto& protocol) { return protocol.Pin(run, std::move(build_id)); }));
  }
  void RetryActivity(ActivityKey key, DoneStatus done) override {
    done(With(ShardOf(key.run), [&](auto& protocol) { return protocol.RetryActivity(key); }));
  }
  void Delete(RunKey run, DoneStatus done) override {
    done(With(ShardOf(run), [&](auto& protocol) { return protocol.Delete(run); }));
  }

  // ---- Activities
  void ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                       Done<std::vector<ActivityRow>> done) override {
    std::vector<ActivityRow> won;
    for (const ClaimRequest& request : requests) {
      const Status status = With(ShardOf(request.key.run), [&](auto& protocol) -> Status {
        if (Status known = protocol.SessionKnown(session); !known.ok()) return known;
        if (auto row = protocol.Claim(session, request)) won.push_back(*std::move(row));
        return {};
      });
      if (!status.ok()) return done(status);
    }
    done(std::move(won));
  }
  void EndAttempt(AttemptEnd end, Done<AttemptReply> done) override {
    MemoryShard& shard = ShardOf(end.key.run);
    done(With(shard, [&](auto& protocol) { return protocol.EndAttempt(std::move(end)); }));
  }
  void Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) override {
    MemoryShard& shard = ShardOf(request.key.run);
    done(With(shard, [&](auto& protocol) { return protocol.Heartbeat(std::move(request)); }));
  }

  // ---- Time
  void PollDue(DueRequest request, Done<DueReply> done) override { done(Poll(std::move(request))); }

  // ---- Blobs that runs hold
  bool keeps_blobs() const override { return true; }
  void ReadBlobs(std::string, std::vector<BlobRef> refs, Done<std::vector<std::string>> done) override {
    done(shared_.blobs.Read(refs));
  }
  MemoryHeldBlobs& held_blobs() { return shared_.blobs; }

  // ---- Reading
  void Read(ReadRequest request, Done<RunSnapshot> done) override {
    done(With(ShardOf(request.run), [&](auto& protocol) { return protocol.Read(request); }));
  }
  void List(ListRequest request, Done<ListReply> done) override { done(ListRuns(request)); }
  uint64_t Await(AwaitRequest request, Done<RunSnapshot> done) override;
  void CancelAwait(uint64_t name) override {
    if (name != 0) hub_->TakeAwaiter(name);
  }

 private:
  void Spread(Effects&& effects);
  StatusOr<std::optional<RunSnapshot>> ReadAwaited(const AwaitRequest& request) {
    return With(ShardOf(request.run), [&](auto& protocol) { return protocol.ReadAwaited(request); });
  }
  template <class Operation>
  Status EndSession(const SessionId& session, bool died, Operation operation);
  DueReply Poll(DueRequest&& request);
  StatusOr<ListReply> ListRuns(const ListRequest& request);

  const Clock& clock_;
  const std::shared_ptr<LocalHub> hub_;
  const std::string domain_;
  MemoryShared shared_;
  std::array<std::unique_ptr<MemoryShard>, kShards> shards_;
};

MARATHON_INLINE void MemoryStore::Spread(Effects&& effects) {
  for (const std::vector<RunKey>* runs : {&effects.closed, &effects.answered}) {
    for (const RunKey& run : *runs) {
      for (const AwaitRequest& request : hub_->AwaitedOf(run)) {
        auto read = ReadAwaited(request);
        if (!read.ok()) {
          hub_->AnswerAwaiters({request, read.status()});
        } else if (read->has_value()) {
          hub_->AnswerAwaiters({request, **std::move(read)});
        }
      }
    }
  }
  hub_->Publish(std::move(effects));
}

// The session's row goes first: a claim that comes later is refused, and one that came before is
// found.
template <class Operation>
Status MemoryStore::EndSession(const SessionId& session, bool died, Operation operation) {
  if (Status status = WithSessions(std::move(operation)); !status.ok()) return status;
  hub_->RemoveWatcher(session);
  for (const auto& shard : shards_) {
    With(*shard, [&](auto& protocol) {
      protocol.ReleaseHeld(session, died);
      return true;
    });
  }
  return {};
}

// Shard by shard, beginning where something has been due for the longest time.
MARATHON_INLINE DueReply MemoryStore::Poll(DueRequest&& request) {
  hub_->BeginPoll();
  DueReply reply;
  WithSessions([&](auto& protocol) {
    protocol.PollDue(request, reply);
    return true;
  });
  std::array<std::pair<Time, size_t>, kShards> order;
  for (size_t i = 0; i < kShards; ++i) {
    const std::lock_guard lock(shards_[i]->mutex());
    order[i] = {shards_[i]->EarliestDue(), i};
  }
  std::sort(order.begin(), order.end());
  for (const auto& [earliest, i] : order) {
    if (earliest > reply.now) {  // and so are the others
      reply.next_due = std::min(reply.next_due, earliest);
      break;
    }
    request.limit -=
        With(*shards_[i], [&](auto& protocol) { return protocol.PollDue(request, reply); });
  }
  return reply;
}

MARATHON_INLINE StatusOr<ListReply> MemoryStore::ListRuns(const ListRequest& request) {
  uint64_t before = ~uint64_t{0};
  if (const std::string& token = request.page_token; !token.empty()) {
    const auto [end, error] = std::from_chars(token.data(), token.data() + token.size(), before);
    if (error != std::errc() || end != token.data() + token.size()) {
      return InvalidArgument("the page token is not one of this store's");
    }
  }
  const auto accept = [&](const MemoryRun& run) { return Fits(request, run); };
  const size_t limit = static_cast<size_t>(std::max(request.limit, 1));
  std::vector<std::pair<uint64_t, RunRow>> found;
  ListReply reply;
  for (const auto& shard : shards_) {
    const std::lock_guard lock(shard->mutex());
    if (request.count_only) {
      reply.count += shard->Count(accept);
    } else {
      shard->Scan(before, limit + 1, accept, found);
    }
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
  for (size_t i = 0; i < std::min(limit, found.size()); ++i) {
    reply.runs.push_back(std::move(found[i].second));
  }
  if (found.size() > limit) reply.next_page_token = std::to_string(found[limit - 1].first);
  return reply;
}

MARATHON_INLINE uint64_t MemoryStore::Await(AwaitRequest request, Done<RunSnapshot> done) {
  if (request.run.run_id.empty()) {  // the newest run of now, whatever comes later
    auto newest = With(ShardOf(request.run),
                       [&](auto& protocol) { return protocol.Read({.run = request.run}); });
    if (newest.ok()) request.run = newest->row.key;
  }
  auto read = ReadAwaited(request);
  if (read.ok() && read->has_value()) {
    done(**std::move(read));
    return 0;
  }
  const uint64_t name = hub_->AddAwaiter(request, std::move(done));
  read = ReadAwaited(request);  // it may have been answered before the awaiter was there
  if (read.ok() && !read->has_value()) return name;
  if (Done<RunSnapshot> taken = hub_->TakeAwaiter(name)) {
    read.ok() ? taken(**std::move(read)) : taken(read.status());
  }
  return name;
}

}  // namespace detail

MARATHON_INLINE Ports NewMemoryPorts(const Clock& clock, MemoryOptions options) {
  auto hub = std::make_shared<LocalHub>();
  const std::string domain = fmt::format("memory:{}", static_cast<const void*>(hub.get()));
  return Ports{std::make_shared<detail::MemoryStore>(clock, options, hub, domain),
               NewLocalTaskQueue(hub, domain), NewMemoryBlobs(clock, options.blob_keep),
               NewMemoryStreams(clock, options.stream_keep), NewMemoryLimiter(clock)};
}

MARATHON_INLINE Backend MemoryBackend(MemoryOptions options) {
  return Backend{"memory", [options](const BackendUrl& url, Runtime& runtime) -> StatusOr<Ports> {
                   if (Status s = url.CheckParameters({}); !s.ok()) return s;
                   if (!url.path.empty() || !url.host.empty()) {
                     return InvalidArgument("a memory store has no name: write \"memory:\"");
                   }
                   return NewMemoryPorts(runtime, options);
                 }};
}

MARATHON_INLINE int64_t MemoryBlobsHeld(const StateStore& store) {
  auto& blobs = const_cast<detail::MemoryStore&>(static_cast<const detail::MemoryStore&>(store)).held_blobs();
  blobs.Sweep(std::numeric_limits<int>::max());
  return blobs.size();
}

MARATHON_INLINE int64_t MemoryDueVisited(const StateStore& store) {
  return static_cast<const detail::MemoryStore&>(store).due_visited();
}

}  // namespace marathon::inline MARATHON_ABI
