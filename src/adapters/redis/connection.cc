#include "connection.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// The pause before the next attempt to connect: doubling, with half of it by chance.
constexpr RedisLoop::Micros kFirstPause = 20'000;
constexpr RedisLoop::Micros kLongestPause = 3'000'000;

RedisLoop::Micros MicrosOf(Duration duration) {
  return std::chrono::microseconds(duration).count();
}

}  // namespace

RedisConnection::RedisConnection(RedisAddress address, RedisNodes& nodes, uint16_t slot,
                                 std::vector<RedisCommand> greeting, uint64_t jitter, Owner* owner)
    : address_(std::move(address)),
      nodes_(nodes),
      slot_(slot),
      greeting_(std::move(greeting)),
      owner_(owner),
      jitter_(jitter | 1) {}

void RedisConnection::Connect() {
  state_ = State::kConnecting;
  deadline_ = RedisLoop::Now() + MicrosOf(address_.connect_timeout);
  reader_.reset(redisReaderCreate());
  out_.clear();
  appended_ = written_ = 0;
  if (InCluster()) {
    const RedisPlace& place = ask_owner_ ? nodes_.OwnerOf(slot_) : nodes_.Any(failures_);
    address_.host = place.host;
    address_.port = place.port;
    ask_owner_ = !ask_owner_;  // next time
  }
  auto socket = RedisSocket::Connect(address_);
  if (!socket.ok()) return Lose(socket.status());
  socket_ = *std::move(socket);
}

void RedisConnection::Greet() {
  state_ = State::kGreeting;
  std::vector<RedisCommand> commands;
  if (!address_.password.empty()) {
    RedisCommand auth("AUTH");
    if (!address_.user.empty()) auth.Add(address_.user);
    commands.push_back(auth.Add(address_.password));
  }
  if (address_.database != 0) commands.emplace_back("SELECT", address_.database);
  commands.insert(commands.end(), greeting_.begin(), greeting_.end());
  commands.emplace_back("PING");
  greetings_left_ = commands.size();
  if (InCluster()) {  // a server that is in none, or may not tell, answers with an error
    Append(RedisCommand("CLUSTER", "SLOTS"), [this](const Reply& reply) {
      if (reply.ok()) nodes_.LearnSlots(*reply, Place());
    });
  }
  for (const RedisCommand& command : commands) {
    Append(command, [this](Reply reply) {
      if (!reply.ok()) return;
      if (reply->is_error()) return Lose(StatusOfError(reply->text()));
      if (--greetings_left_ == 0) OnGreeted();
    });
  }
}

void RedisConnection::OnGreeted() {
  if (nodes_.is_cluster() && nodes_.OwnerOf(slot_) != Place()) {
    ask_owner_ = true;
    Rest(Unavailable(fmt::format("Redis at {} does not have slot {}", address_.Name(), slot_)));
    if (failures_ == 0) deadline_ = RedisLoop::Now();
    return;
  }
  state_ = State::kReady;
  status_ = Status();
  failures_ = 0;
  ask_owner_ = true;
  owner_->OnConnected(*this);
}

void RedisConnection::Append(const RedisCommand& command, Callback<void(Reply)> done) {
  const std::string bytes = command.Bytes();
  out_ += bytes;
  appended_ += static_cast<int64_t>(bytes.size());
  if (done) pending_.push_back({std::move(done), appended_, RedisLoop::Now()});
}

void RedisConnection::Send(const RedisCommand& command, Callback<void(Reply)> done) {
  if (state_ != State::kReady) return done(Unavailable(MessageOf(status_)));
  Append(command, std::move(done));
}

void RedisConnection::SendUnanswered(const RedisCommand& command) {
  if (state_ == State::kReady) Append(command, nullptr);
}

int RedisConnection::Prepare(short* events) {
  if (state_ == State::kGreeting || state_ == State::kReady) Flush();
  if (socket_ == nullptr) return -1;
  *events = socket_->Events(!out_.empty());
  return socket_->fd();
}

void RedisConnection::OnReady() {
  if (socket_ == nullptr) return;
  if (state_ == State::kConnecting) {
    const StatusOr<bool> connected = socket_->Finish();
    if (!connected.ok()) return Lose(connected.status());
    if (*connected) Greet();
    return;
  }
  Flush();
  if (socket_ != nullptr) ReadReplies();
}

void RedisConnection::Flush() {
  size_t sent = 0;
  while (sent < out_.size()) {
    const auto count = socket_->Write(std::string_view(out_).substr(sent));
    if (!count.ok()) return Lose(count.status());
    if (*count == 0) break;
    sent += *count;
    written_ += static_cast<int64_t>(*count);
  }
  out_.erase(0, sent);
}

void RedisConnection::ReadReplies() {
  char buffer[65536];
  for (;;) {
    const auto count = socket_->Read(buffer, sizeof buffer);
    if (!count.ok()) return Lose(count.status());
    if (*count == 0) return;
    if (redisReaderFeed(reader_.get(), buffer, *count) != REDIS_OK) {
      return Lose(Unavailable(reader_->errstr));
    }
    for (;;) {
      void* reply = nullptr;
      if (redisReaderGetReply(reader_.get(), &reply) != REDIS_OK) {
        return Lose(Unavailable(
            fmt::format("{} does not speak Redis's protocol: {}", address_.Name(), reader_->errstr)));
      }
      if (reply == nullptr) break;
      Deliver(RedisReply(static_cast<redisReply*>(reply)));
      if (socket_ == nullptr) return;  // a callback has ended the connection
    }
    if (*count < sizeof buffer) return;
  }
}

void RedisConnection::Deliver(RedisReply reply) {
  if (reply.is_push()) return owner_->OnPush(reply);
  if (pending_.empty()) return Lose(Unavailable("a reply to no command"));
  Pending first = std::move(pending_.front());
  pending_.pop_front();
  const bool elsewhere =
      state_ == State::kReady && reply.is_error() && AsksToReconnect(reply.text());
  Status why = elsewhere ? StatusOfError(reply.text()) : Status();
  if (elsewhere && reply.text().starts_with("MOVED")) nodes_.LearnMove(reply.text(), Place());
  first.done(std::move(reply));
  if (elsewhere && state_ == State::kReady) Lose(std::move(why));
}

RedisLoop::Micros RedisConnection::Deadline() {
  switch (state_) {
    case State::kResting:
    case State::kConnecting:
      return deadline_;
    case State::kGreeting:
    case State::kReady:
      if (pending_.empty()) return -1;
      return pending_.front().since + MicrosOf(address_.reply_timeout);
    case State::kClosed:
      return -1;
  }
  return -1;
}

void RedisConnection::OnDeadline() {
  if (state_ == State::kResting) return Connect();
  Lose(Unavailable(fmt::format("Redis at {} does not answer", address_.Name())));
}

void RedisConnection::Lose(Status why) {
  Rest(std::move(why));
  ++failures_;
  if (state_ == State::kResting) owner_->OnLost(*this);
}

// Answers all that waits, and connects again after a pause.
void RedisConnection::Rest(Status why) {
  socket_.reset();
  status_ = std::move(why);
  RedisLoop::Micros pause = kFirstPause << std::min(failures_, 10);
  pause = std::min(pause, kLongestPause);
  jitter_ = jitter_ * 6364136223846793005u + 1442695040888963407u;
  pause = pause / 2 + static_cast<RedisLoop::Micros>((jitter_ >> 33) % static_cast<uint64_t>(pause / 2));
  if (state_ != State::kClosed) state_ = State::kResting;
  deadline_ = RedisLoop::Now() + pause;
  std::deque<Pending> pending = std::exchange(pending_, {});
  for (Pending& one : pending) {
    one.done(one.end <= written_ ? Unknown(MessageOf(status_)) : Unavailable(MessageOf(status_)));
  }
}

void RedisConnection::Close() {
  state_ = State::kClosed;
  Lose(Unavailable("the store is closed"));
}

}  // namespace marathon::inline MARATHON_ABI::detail
