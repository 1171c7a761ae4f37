// RedisRedirects: single steps to a server that is about to get their slot ("ASK"). It answers for what has left the other
// one already, to whoever says ASKING right before. Who has the slot stays as it is known, and so do the connections there.
//
// On the loop's thread only, but for the constructor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "address.h"
#include "connection.h"
#include "io_loop.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "nodes.h"
#include "wire.h"

namespace marathon::inline MARATHON_ABI::detail {

class RedisRedirects final : private RedisConnection::Owner {
 public:
  // `jitter` is any number. `on_connected`: a server behind a new connection may have lost something.
  RedisRedirects(const RedisAddress& address, RedisNodes& nodes, RedisLoop& loop, uint64_t jitter,
                 std::function<void()> on_connected)
      : address_(address), nodes_(nodes), loop_(loop), jitter_(jitter), on_connected_(std::move(on_connected)) {}

  // To the server at `place`. Waits for a connection if there is none, or for why there will be none: kUnavailable.
  void Send(const RedisPlace& place, RedisCommand command, Callback<void(RedisConnection::Reply)> done);
  // Whatever waits is answered.
  void Close();

 private:
  struct Waiting {
    RedisCommand command;
    Callback<void(RedisConnection::Reply)> done;
  };
  struct Target {
    RedisPlace place;
    RedisConnection connection;
    std::vector<Waiting> waiting;
  };

  void OnConnected(RedisConnection& connection) override;
  void OnLost(RedisConnection& connection) override;
  void OnPush(const RedisReply&) override {}
  bool Wants(const RedisConnection& connection) const override { return !Of(connection).waiting.empty(); }

  Target& At(const RedisPlace& place);
  Target& Of(const RedisConnection& connection) const;
  static void SendAsking(Target& target, Waiting step);

  const RedisAddress& address_;  // how to be let in
  RedisNodes& nodes_;
  RedisLoop& loop_;
  const uint64_t jitter_;
  const std::function<void()> on_connected_;
  std::vector<std::unique_ptr<Target>> targets_;  // few
  bool closed_ = false;
};

}  // namespace marathon::inline MARATHON_ABI::detail
