// RedisPartitions: opening, closing, and the calls that go to one partition. Those to all are in
// partitions_all.cc.
#include "partitions.h"

#include <fmt/format.h>

#include <future>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

RedisPartitions::RedisPartitions(RedisAddress address, std::vector<RedisPlace> places,
                                 std::string name_space, RedisOptions options, Runtime& runtime)
    : shared_{std::move(address), std::move(name_space), std::move(options), runtime,
              RedisNodes(std::move(places))},
      domain_(fmt::format("redis:{}/{}?namespace={}", shared_.address.Name(),
                          shared_.address.database, shared_.name_space)) {
  shared_.send_hints = [this](std::vector<TaskHint> hints) {
    GiveBack(std::move(hints), [](const Status&) {});
  };
}

StatusOr<std::shared_ptr<RedisPartitions>> RedisPartitions::Open(
    RedisAddress address, std::vector<RedisPlace> places, std::string name_space, int partitions,
    RedisOptions options, Runtime& runtime) {
  std::shared_ptr<RedisPartitions> all(new RedisPartitions(
      std::move(address), std::move(places), std::move(name_space), std::move(options), runtime));
  all->shared_.loop.Start(all);
  if (Status status = all->OpenStores(partitions); !status.ok()) {
    all->Close();
    return status;
  }
  // The loop keeps the stores alive until it has ended; the pointers that are given out end the
  // loop.
  RedisPartitions* const raw = all.get();
  return std::shared_ptr<RedisPartitions>(
      raw, [all = std::move(all)](RedisPartitions*) { all->Close(); });
}

// The first partition knows how many there are.
Status RedisPartitions::OpenStores(int partitions) {
  int count = 1;
  for (int partition = 0; partition < count; ++partition) {
    stores_.push_back(std::make_unique<RedisStore>(shared_, partition));
    std::promise<StatusOr<int>> opened;
    shared_.loop.Post([&, store = stores_.back().get()] {
      store->Open(partition == 0 ? partitions : count,
                  [&](StatusOr<int> reply) { opened.set_value(std::move(reply)); });
    });
    const StatusOr<int> reply = opened.get_future().get();
    if (!reply.ok()) return reply.status();
    count = *reply;
  }
  return {};
}

void RedisPartitions::Close() {
  shared_.loop.Post([this] {
    for (const auto& store : stores_) store->Close();
  });
  shared_.loop.Stop();
}

// FNV-1a: which partition has a name never changes.
RedisStore& RedisPartitions::Of(std::string_view name) const {
  return *stores_[RedisPartitionOf(name, stores_.size())];
}

// ---- Of one run

// Each partition counts its own incarnations, and who starts a run or puts a message ends its activity in another one,
// perhaps: a reply that many partitions could have given names none.
template <class Reply>
Done<Reply> RedisPartitions::ForAnyPartition(Done<Reply> done) const {
  if (stores_.size() == 1) return done;
  return [done = std::move(done)](StatusOr<Reply> reply) mutable {
    if (reply.ok()) reply->incarnation = 0;
    done(std::move(reply));
  };
}

void RedisPartitions::Start(StartRequest request, Done<StartReply> done) {
  RedisStore& store = Of(request.run.workflow_id);
  store.Start(std::move(request), ForAnyPartition(std::move(done)));
}

void RedisPartitions::Put(PutRequest request, Done<PutReply> done) {
  RedisStore& store = Of(request.run.workflow_id);
  store.Put(std::move(request), ForAnyPartition(std::move(done)));
}

void RedisPartitions::TakeTurn(TakeTurnRequest request, Done<RunSnapshot> done) {
  RedisStore& store = Of(request.run.workflow_id);
  store.TakeTurn(std::move(request), std::move(done));
}

void RedisPartitions::Commit(TurnCommit commit, Done<CommitReply> done) {
  RedisStore& store = Of(commit.run.workflow_id);
  store.Commit(std::move(commit), std::move(done));
}

void RedisPartitions::Block(RunKey run, EventId version, BlockInfo info, DoneStatus done) {
  RedisStore& store = Of(run.workflow_id);
  store.Block(std::move(run), version, std::move(info), std::move(done));
}

void RedisPartitions::Unblock(RunKey run, DoneStatus done) {
  RedisStore& store = Of(run.workflow_id);
  store.Unblock(std::move(run), std::move(done));
}

void RedisPartitions::Pause(RunKey run, std::string reason, DoneStatus done) {
  RedisStore& store = Of(run.workflow_id);
  store.Pause(std::move(run), std::move(reason), std::move(done));
}

void RedisPartitions::Resume(RunKey run, DoneStatus done) {
  RedisStore& store = Of(run.workflow_id);
  store.Resume(std::move(run), std::move(done));
}

void RedisPartitions::Pin(RunKey run, std::string build_id, DoneStatus done) {
  RedisStore& store = Of(run.workflow_id);
  store.Pin(std::move(run), std::move(build_id), std::move(done));
}

void RedisPartitions::RetryActivity(ActivityKey key, DoneStatus done) {
  RedisStore& store = Of(key.run.workflow_id);
  store.RetryActivity(std::move(key), std::move(done));
}

void RedisPartitions::Delete(RunKey run, DoneStatus done) {
  RedisStore& store = Of(run.workflow_id);
  store.Delete(std::move(run), std::move(done));
}

void RedisPartitions::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  // Told by another run, whose partition counts by itself.
  if (stores_.size() > 1 && end.epoch == kAnyEpoch) end.incarnation = 0;
  RedisStore& store = Of(end.key.run.workflow_id);
  store.EndAttempt(std::move(end), std::move(done));
}

void RedisPartitions::Heartbeat(HeartbeatRequest request, Done<HeartbeatReply> done) {
  RedisStore& store = Of(request.key.run.workflow_id);
  store.Heartbeat(std::move(request), std::move(done));
}

void RedisPartitions::ReadBlobs(std::string workflow_id, std::vector<BlobRef> refs,
                                Done<std::vector<std::string>> done) {
  RedisStore& store = Of(workflow_id);
  store.ReadBlobs(std::move(workflow_id), std::move(refs), std::move(done));
}

void RedisPartitions::Read(ReadRequest request, Done<RunSnapshot> done) {
  RedisStore& store = Of(request.run.workflow_id);
  store.Read(std::move(request), std::move(done));
}

uint64_t RedisPartitions::Await(AwaitRequest request, Done<RunSnapshot> done) {
  RedisStore& store = Of(request.run.workflow_id);
  return store.Await(std::move(request), std::move(done));
}

}  // namespace marathon::inline MARATHON_ABI::detail
