// RedisConnection: commands out, replies in, in order and without waiting for each other; and the
// same again after the connection is lost, with back-off. In a cluster it is always one to the server
// that has its slot, or, for no slot, to one server and only while somebody wants it.
//
// On its loop's thread only, but for the constructor.
#pragma once

#include <hiredis/read.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "address.h"
#include "io_loop.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/status.h"
#include "nodes.h"
#include "socket.h"
#include "wire.h"

namespace marathon::inline MARATHON_ABI::detail {

class RedisConnection final : public RedisLoop::Waiter {
 public:
  // What its owner does when. Called on the loop's thread.
  class Owner {
   public:
    virtual ~Owner() = default;
    virtual void OnConnected(RedisConnection& connection) = 0;
    // It will be tried again.
    virtual void OnLost(RedisConnection& connection) = 0;
    // What the server sends a subscriber.
    virtual void OnPush(const RedisReply& message) = 0;
    // Whether to connect.
    virtual bool Wants(const RedisConnection&) const { return true; }
  };
  // A server's error is a reply, too. kUnavailable: the command has certainly not been executed;
  // kUnknown: perhaps.
  using Reply = StatusOr<RedisReply>;

  // `jitter` is any number. `greeting` is sent first on each connection, after AUTH and SELECT, and must be
  // answered without error. `nodes` knows where `slot` is; not asked for a Unix socket. No slot: to `address` and nowhere
  // else, until it has rested for as long as a reply may take.
  RedisConnection(RedisAddress address, RedisNodes& nodes, std::optional<uint16_t> slot,
                  std::vector<RedisCommand> greeting, uint64_t jitter, Owner* owner);

  bool connected() const { return state_ == State::kReady; }
  // Of the server, for messages.
  std::string Name() const { return address_.Name(); }
  RedisPlace Place() const { return {address_.host, address_.port}; }
  // Whether each place that is known has been tried since there last was a connection that served.
  bool tried_all() const { return InCluster() ? seeds_tried_ >= nodes_.count() : failures_ > 0; }
  // Why there is no connection; OK: there is.
  const Status& status() const { return status_; }

  // At once kUnavailable while there is no connection.
  void Send(const RedisCommand& command, Callback<void(Reply)> done);
  // SUBSCRIBE or UNSUBSCRIBE, each of so many channels answered by a push. Nothing while there is no
  // connection; one that refuses is lost.
  void SendForPushes(const RedisCommand& command, size_t channels);

  // RedisLoop::Waiter
  int Prepare(short* events) override;
  void OnReady() override;
  RedisLoop::Micros Deadline() override;
  void OnDeadline() override;

  // Begins anew, for a reason: whatever waits is answered.
  void Lose(Status why);
  // Ends the connection for good: whatever waits is answered.
  void Close();

 private:
  enum class State { kResting, kConnecting, kGreeting, kReady, kClosed };
  struct Pending {
    Callback<void(Reply)> done;
    int64_t end = 0;  // of its bytes, in all that were ever to be sent on this connection
    RedisLoop::Micros since = 0;
    size_t pushes = 0;  // that answer it instead of a reply, and are still to come
  };

  bool InCluster() const { return slot_ && address_.socket.empty(); }  // possibly
  bool TurnsAway(std::string_view error) const;

  void Connect();
  void Greet();
  void OnGreeted();
  void GoTo(const RedisPlace& owner);
  void Rest(Status why);
  void Append(const RedisCommand& command, Callback<void(Reply)> done, size_t pushes = 0);
  void Flush();
  void ReadReplies();
  void Deliver(RedisReply reply);
  void OnPush(const RedisReply& message);
  void ComeToSomething();

  RedisAddress address_;
  RedisNodes& nodes_;
  const std::optional<uint16_t> slot_;
  const std::vector<RedisCommand> greeting_;
  Owner* const owner_;
  uint64_t jitter_;

  State state_ = State::kResting;
  Status status_ = Unavailable("not connected yet");
  int failures_ = 0;          // attempts in a row that came to nothing
  int seeds_tried_ = 0;       // of all places, in turn
  bool ask_owner_ = true;     // of the slot; or anybody
  bool redirected_ = false;   // by a server that was asked, since there last was a connection
  size_t endpoint_ = 0;       // of the host's addresses, the one that was reached last
  std::optional<RedisLoop::Micros> turned_away_;  // when a server that had greeted last refused to serve
  RedisLoop::Micros deadline_ = 0;  // to connect again, or to have connected
  RedisLoop::Micros used_ = 0;      // last
  std::unique_ptr<RedisSocket> socket_;
  std::unique_ptr<redisReader, void (*)(redisReader*)> reader_{nullptr, redisReaderFree};
  std::string out_;
  int64_t appended_ = 0, written_ = 0;  // bytes
  std::deque<Pending> pending_;
  size_t greetings_left_ = 0;
};

}  // namespace marathon::inline MARATHON_ABI::detail
