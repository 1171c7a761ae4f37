#include "observed.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace marathon::chaos {
namespace {

std::string KeyText(const ActivityKey& key) { return fmt::format("{}/{}", key.run.run_id, key.id); }

// Takes one of what the supervisor wants, if it wants any.
bool TakeOne(std::atomic<int64_t>& wanted) {
  int64_t left = wanted.load();
  while (left > 0) {
    if (wanted.compare_exchange_weak(left, left - 1)) return true;
  }
  return false;
}

}  // namespace

// ---- ObservedStore

void ObservedStore::Commit(TurnCommit commit, Done<CommitReply> done) {
  std::string lines = fmt::format("committed {} {} {}", commit.run.run_id, commit.new_version,
                                  commit.record.empty() ? 0 : commit.commit_id);
  std::vector<std::string> resolved;
  for (const HandedOver& handed : commit.handed_over) {
    resolved.push_back(
        fmt::format("resolved {}/{} {}", commit.run.run_id, handed.id, handed.epoch));
  }
  base()->Commit(std::move(commit),
                 [effects = effects_, lines = std::move(lines), resolved = std::move(resolved),
                  done = std::move(done)](StatusOr<CommitReply> reply) mutable {
                   if (reply.ok()) {
                     effects->Jot(lines);
                     for (const std::string& one : resolved) effects->Jot(one);
                   }
                   done(std::move(reply));
                 });
}

void ObservedStore::ClaimActivities(SessionId session, std::vector<ClaimRequest> requests,
                                    Done<std::vector<ActivityRow>> done) {
  base()->ClaimActivities(std::move(session), std::move(requests),
                          [this, since = NowMicros(), done = std::move(done)](
                              StatusOr<std::vector<ActivityRow>> rows) mutable {
                            if (rows.ok()) {
                              const std::lock_guard lock(mutex_);
                              for (const ActivityRow& row : *rows) claimed_[row.key] = since;
                            }
                            done(std::move(rows));
                          });
}

void ObservedStore::EndAttempt(AttemptEnd end, Done<AttemptReply> done) {
  std::string line;
  if (end.kind == AttemptEnd::Kind::kFinal) {
    line = fmt::format("resolved {} {}", KeyText(end.key), end.epoch);
  }
  base()->EndAttempt(std::move(end),
                     [effects = effects_, line = std::move(line),
                      done = std::move(done)](StatusOr<AttemptReply> reply) mutable {
                       if (reply.ok() && reply->applied && !line.empty()) effects->Jot(line);
                       done(std::move(reply));
                     });
}

int64_t ObservedStore::ClaimedAt(const ActivityKey& key) {
  const std::lock_guard lock(mutex_);
  const auto found = claimed_.find(key);
  return found == claimed_.end() ? 0 : found->second;
}

// ---- LossyQueue

void LossyQueue::Receive(ReceiveRequest request, Done<std::vector<Delivery>> done) {
  std::vector<Delivery> again;
  {
    const std::lock_guard lock(state_->mutex);
    std::erase_if(state_->copies, [&](Delivery& copy) {
      if (copy.hint.kind != request.kind || again.size() >= static_cast<size_t>(request.max)) {
        return false;
      }
      again.push_back(std::move(copy));
      return true;
    });
  }
  if (!again.empty()) return done(std::move(again));
  base()->Receive(std::move(request), [state = state_, base = base(), done = std::move(done)](
                                          StatusOr<std::vector<Delivery>> batch) mutable {
    if (!batch.ok()) return done(std::move(batch));
    std::vector<std::string> lost;
    std::erase_if(*batch, [&](const Delivery& delivery) {
      if (!TakeOne(state->shared->drops_wanted)) return false;
      ++state->shared->dropped;
      lost.push_back(delivery.receipt);
      return true;
    });
    if (!lost.empty()) base->Ack(std::move(lost), [](const Status&) {});
    for (const Delivery& delivery : *batch) {
      if (!TakeOne(state->shared->doubles_wanted)) continue;
      ++state->shared->doubled;
      const std::lock_guard lock(state->mutex);
      state->copies.push_back(delivery);
    }
    done(std::move(batch));
  });
}

std::vector<Backend> Observed(std::vector<Backend> backends, Ledger* effects, Shared* shared,
                              std::shared_ptr<ObservedStore>* store) {
  for (Backend& backend : backends) {
    backend.open = [open = backend.open, effects, shared, store](
                       const BackendUrl& url, Runtime& runtime) -> StatusOr<Ports> {
      StatusOr<Ports> ports = open(url, runtime);
      if (!ports.ok()) return ports;
      Ports observed = *ports;  // activities' limits, too
      observed.transactions = nullptr;
      observed.store = nullptr;
      observed.queue = std::make_shared<LossyQueue>(ports->queue, shared);
      if (ports->store == nullptr) return observed;  // a queue only
      *store = std::make_shared<ObservedStore>(ports->store, effects);
      observed.store = *store;
      return observed;
    };
  }
  return backends;
}

}  // namespace marathon::chaos
