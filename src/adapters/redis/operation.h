// RedisStore::Operation: one call, from its request to its reply.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "marathon/config.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {

// `Reply` is Status or a StatusOr; `Body` makes one of a RedisTransaction.
template <class Reply, class Body>
class RedisStore::Operation final : public RedisOperation {
 public:
  Operation(Together together, Body body, Callback<void(Reply)> done)
      : together_(together), body_(std::move(body)), done_(std::move(done)) {}

  bool joins() const override { return together_ == Together::kYes; }
  void Apply(RedisTransaction& transaction) override { reply_.emplace(body_(transaction)); }
  void Finish(Status status) override {
    if (!status.ok()) return done_(std::move(status));
    done_(*std::move(reply_));
  }

 private:
  const Together together_;
  Body body_;
  Callback<void(Reply)> done_;
  std::optional<Reply> reply_;
};

template <class Reply, class Body>
void RedisStore::Enqueue(std::string lane, Together together, Body body,
                         Callback<void(Reply)> done) {
  loop_.Post([this, lane = std::move(lane),
              operation = std::unique_ptr<RedisOperation>(
                  std::make_unique<Operation<Reply, Body>>(together, std::move(body),
                                                           std::move(done)))]() mutable {
    lanes_.Add(std::move(lane), std::move(operation));
  });
}

// These replies may be followed by user code, which may hang, and would hold up all others on the loop.
template <class Reply>
Done<Reply> RedisStore::OnTurnLane(Done<Reply> done) {
  return [this, done = std::move(done)](StatusOr<Reply> reply) mutable {
    shared_.runtime.Post(Lane::kTurn, [done = std::move(done), reply = std::move(reply)]() mutable {
      done(std::move(reply));
    });
  };
}

}  // namespace marathon::inline MARATHON_ABI::detail
