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

RedisConnection::RedisConnection(RedisAddress address, RedisNodes& nodes, std::optional<uint16_t> slot,
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
    const RedisPlace* const owner = ask_owner_ ? nodes_.OwnerOf(*slot_) : nullptr;
    const RedisPlace& place = owner != nullptr ? *owner : nodes_.Any(seeds_tried_++);
    address_.host = place.host;
    address_.port = place.port;
    ask_owner_ = owner == nullptr;  // next time
  }
  auto endpoints = RedisSocket::Lookup(address_);
  if (!endpoints.ok()) return Lose(endpoints.status());
  auto socket = RedisSocket::Connect(address_, *std::move(endpoints), endpoint_);
  if (!socket.ok()) return Lose(socket.status());
  socket_ = *std::move(socket);
}

// A server that turns everybody away says so before it reads anything, so the first command is one whose error counts.
// That of CLUSTER SLOTS does not: the server is in no cluster, or this user may not know. It comes behind AUTH, or none may.
void RedisConnection::Greet() {
  state_ = State::kGreeting;
  std::vector<RedisCommand> commands;
  if (!address_.password.empty()) {
    RedisCommand auth("AUTH");
    if (!address_.user.empty()) auth.Add(address_.user);
    commands.push_back(auth.Add(address_.password));
  }
  commands.emplace_back("PING");
  if (address_.database != 0) commands.emplace_back("SELECT", address_.database);
  commands.insert(commands.end(), greeting_.begin(), greeting_.end());
  greetings_left_ = commands.size() + 1;
  for (const RedisCommand& command : commands) {
    Append(command, [this](const Reply& reply) {
      if (!reply.ok()) return;
      if (!reply->is_error()) return static_cast<void>(--greetings_left_);
      Status why = StatusOfError(reply->text());
      if (why.code() == StatusCode::kUnknown) why = Unavailable(MessageOf(why));  // nothing was to be done
      Lose(std::move(why));
    });
  }
  const RedisCommand last = InCluster() ? RedisCommand("CLUSTER", "SLOTS") : RedisCommand("PING");
  Append(last, [this](const Reply& reply) {
    if (!reply.ok()) return;
    if (InCluster()) nodes_.LearnSlots(*reply, Place());
    if (--greetings_left_ == 0) OnGreeted();
  });
}

void RedisConnection::OnGreeted() {
  if (InCluster()) {
    const RedisPlace* const owner = nodes_.OwnerOf(*slot_);
    if (owner != nullptr && *owner != Place()) return GoTo(RedisPlace(*owner));
  }
  state_ = State::kReady;
  status_ = Status();
  ask_owner_ = true;
  redirected_ = false;
  endpoint_ = socket_->endpoint();
  owner_->OnConnected(*this);
}

// At once, the first time; then two servers disagree, or the owner is away.
void RedisConnection::GoTo(const RedisPlace& owner) {
  Status why = Unavailable(fmt::format("Redis at {} does not have slot {}, but {}:{} has", address_.Name(), *slot_,
                                       owner.host, owner.port));
  if (std::exchange(redirected_, true)) return Lose(std::move(why));
  ask_owner_ = true;
  Rest(std::move(why));
  deadline_ = RedisLoop::Now();
}

void RedisConnection::Append(const RedisCommand& command, Callback<void(Reply)> done, size_t pushes) {
  const size_t before = out_.size();
  command.AppendTo(out_);
  appended_ += static_cast<int64_t>(out_.size() - before);
  used_ = RedisLoop::Now();
  pending_.push_back({std::move(done), appended_, used_, pushes});
}

void RedisConnection::Send(const RedisCommand& command, Callback<void(Reply)> done) {
  if (state_ != State::kReady) return done(Unavailable(MessageOf(status_)));
  Append(command, std::move(done));
}

void RedisConnection::SendForPushes(const RedisCommand& command, size_t channels) {
  if (state_ != State::kReady || channels == 0) return;
  const auto refused = [this](const Reply& reply) {
    if (reply.ok()) Lose(reply->is_error() ? StatusOfError(reply->text()) : Unavailable("a reply instead of a push"));
  };
  Append(command, refused, channels);
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
    if (!*connected) return;
    Greet();
  }
  ReadReplies();  // before anything is written: the last words of a server that has closed
}

void RedisConnection::Flush() {
  size_t sent = 0;
  while (sent < out_.size()) {
    const auto count = socket_->Write(std::string_view(out_).substr(sent));
    if (!count.ok()) {
      ReadReplies();  // its last words may say why
      if (socket_ != nullptr) Lose(count.status());
      return;
    }
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
  if (reply.is_push()) return OnPush(reply);
  if (pending_.empty()) {
    return Lose(reply.is_error() ? StatusOfError(reply.text()) : Unavailable("a reply to no command"));
  }
  Pending first = std::move(pending_.front());
  pending_.pop_front();
  if (state_ == State::kReady && !reply.is_error()) ComeToSomething();
  if (state_ == State::kReady && reply.is_error() && TurnsAway(reply.text())) {
    if (reply.text().starts_with("MOVED")) nodes_.LearnMove(reply.text(), Place());
    turned_away_ = RedisLoop::Now();
    Lose(StatusOfError(reply.text()));  // before the answer: who gets it sees that there is no connection
  }
  first.done(std::move(reply));
}

// A server that was asked for once may well say that the slot is elsewhere: it serves others that it does have.
bool RedisConnection::TurnsAway(std::string_view error) const {
  return AsksToReconnect(error) && (slot_ || !error.starts_with("MOVED"));
}

void RedisConnection::OnPush(const RedisReply& message) {
  if (message[0].text() != "message") {
    if (!pending_.empty() && pending_.front().pushes > 0 && --pending_.front().pushes == 0) pending_.pop_front();
    ComeToSomething();
  }
  owner_->OnPush(message);
}

// A greeting is no sign yet that a server serves, and neither is one good reply soon after it has refused to: a replica
// that was a master reads, and refuses each write.
void RedisConnection::ComeToSomething() {
  if (turned_away_ && RedisLoop::Now() - *turned_away_ <= 2 * kLongestPause) return;
  failures_ = seeds_tried_ = 0;
}

RedisLoop::Micros RedisConnection::Deadline() {
  switch (state_) {
    case State::kResting:
      return owner_->Wants(*this) ? deadline_ : -1;
    case State::kConnecting:
      return deadline_;
    case State::kGreeting:
    case State::kReady:
      if (pending_.empty()) return slot_ ? -1 : used_ + MicrosOf(address_.reply_timeout);
      return pending_.front().since + MicrosOf(address_.reply_timeout);
    case State::kClosed:
      return -1;
  }
  return -1;
}

void RedisConnection::OnDeadline() {
  if (state_ == State::kResting) return Connect();
  if (state_ == State::kReady && pending_.empty()) return Rest(Unavailable("nobody has wanted it for a while"));
  if (state_ == State::kConnecting && socket_->BeginNext()) {
    deadline_ = RedisLoop::Now() + MicrosOf(address_.connect_timeout);
    return;
  }
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
