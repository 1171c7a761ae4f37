#include "lanes.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// Operations that go together at most: a transaction has to fit into one script's time.
constexpr size_t kTogether = 200;

// Lanes that are kept for what they know; beyond, all that rest forget it.
constexpr size_t kMaxLanes = 20'000;

// So often may others be quicker before an operation gives up.
constexpr int kMaxTries = 100;

}  // namespace

struct RedisLanes::Transaction {
  Transaction(RedisLanes& lanes, Lane& its_lane)
      : lane(its_lane), tables(lanes.keys_, its_lane.known, lanes.writer_) {}

  Lane& lane;
  RedisTables tables;
  std::vector<std::unique_ptr<RedisOperation>> operations;
  Effects effects;
  std::vector<Awaited> awaited;
  std::optional<Time> now;  // the same for all attempts, or reads would differ
  int tries = 0;
  bool reads = false;  // the step under way
};

void RedisLanes::Add(std::string name, std::unique_ptr<RedisOperation> operation) {
  std::unique_ptr<Lane>& lane = lanes_[name];
  if (lane == nullptr) {
    lane = std::make_unique<Lane>();
    lane->name = std::move(name);
  }
  lane->waiting.push_back(std::move(operation));
  Run(*lane);
}

void RedisLanes::Run(Lane& lane) {
  if (lane.busy || lane.waiting.empty()) return;
  lane.busy = true;
  auto transaction = std::make_unique<Transaction>(*this, lane);
  auto& operations = transaction->operations;
  do {
    operations.push_back(std::move(lane.waiting.front()));
    lane.waiting.pop_front();
  } while (operations.back()->joins() && !lane.waiting.empty() && lane.waiting.front()->joins() &&
           operations.size() < kTogether);
  Try(std::move(transaction));
}

void RedisLanes::Try(std::unique_ptr<Transaction> transaction) {
  RedisTables& tables = transaction->tables;
  if (!transaction->now) transaction->now = clock_.Now();
  const Time now = *transaction->now;
  tables.Begin();
  transaction->effects = Effects();
  transaction->effects.events_awaited = true;  // by other stores, perhaps
  transaction->awaited.clear();
  RedisTransaction view{tables, now, transaction->effects, transaction->awaited, times_};
  for (const auto& operation : transaction->operations) operation->Apply(view);
  if (!tables.error().ok()) return Finish(std::move(transaction), tables.error());
  transaction->reads = tables.wants_more();
  if (!transaction->reads) spreader_->SpreadInStep(view);
  // That may ask for something, too.
  transaction->reads = tables.wants_more();
  std::optional<RedisStep> step = tables.End();
  if (!step) return Finish(std::move(transaction), Status());
  script_.Send(*std::move(step), now,
               [this, transaction = std::move(transaction)](StatusOr<RedisStepReply> reply) mutable {
                 OnReply(std::move(transaction), std::move(reply));
               });
}

void RedisLanes::OnReply(std::unique_ptr<Transaction> transaction,
                         StatusOr<RedisStepReply> reply) {
  using Outcome = RedisStepReply::Outcome;
  if (!reply.ok()) {
    transaction->lane.known.Clear();  // it may or may not have been written
    return Finish(std::move(transaction), reply.status());
  }
  if (reply->outcome == Outcome::kDone && !transaction->reads) {
    return Finish(std::move(transaction), Status());
  }
  if (reply->outcome == Outcome::kDone) {
    transaction->tables.AddAnswers(reply->replies);
  } else {
    transaction->now.reset();
    if (reply->outcome == Outcome::kCheckFailed) transaction->tables.Forget();
  }
  if (++transaction->tries == kMaxTries) {
    return Finish(std::move(transaction),
                  Unavailable("others write to the same rows without a pause"));
  }
  Try(std::move(transaction));
}

void RedisLanes::Finish(std::unique_ptr<Transaction> transaction, Status status) {
  Lane& lane = transaction->lane;
  if (status.ok()) transaction->tables.Keep();
  lane.busy = false;
  auto operations = std::move(transaction->operations);
  Effects effects = std::move(transaction->effects);
  std::vector<Awaited> awaited = std::move(transaction->awaited);
  transaction.reset();
  const std::string name = lane.name;  // the lane may go while others are called
  if (status.ok()) spreader_->SpreadHere(std::move(effects), std::move(awaited));
  for (const auto& operation : operations) operation->Finish(status);
  if (const auto found = lanes_.find(name); found != lanes_.end()) Run(*found->second);
  // Without a connection what ran has ended already, and perhaps its lane.
  if (const auto found = lanes_.find(name); found != lanes_.end()) Tidy(*found->second);
}

// A lane that rests and knows nothing goes.
void RedisLanes::Tidy(Lane& lane) {
  const auto rests = [](const Lane& one) { return !one.busy && one.waiting.empty(); };
  if (rests(lane) && lane.known.empty()) lanes_.erase(std::string(lane.name));
  if (lanes_.size() <= kMaxLanes) return;
  std::erase_if(lanes_, [&](const auto& entry) { return rests(*entry.second); });
}

}  // namespace marathon::inline MARATHON_ABI::detail
