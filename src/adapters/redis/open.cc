// RedisStore: opening, closing, and what is looked at in a server before it is used.
#include <fmt/format.h>

#include <charconv>
#include <string>
#include <utility>

#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// Of keys and values.
constexpr int kFormat = 1;

constexpr int kClusterPartitions = 16;

std::string_view InfoField(std::string_view info, std::string_view name) {
  const std::string start = fmt::format("\n{}:", name);
  const size_t at = info.find(start);
  if (at == info.npos) return {};
  info.remove_prefix(at + start.size());
  return info.substr(0, info.find_first_of("\r\n"));
}

// 6.2 → 602.
int VersionOf(std::string_view text) {
  int major = 0, minor = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), major);
  if (error == std::errc() && end != text.data() + text.size()) {
    std::from_chars(end + 1, text.data() + text.size(), minor);
  }
  return major * 100 + minor;
}

}  // namespace

RedisStore::RedisStore(RedisShared& shared, int partition)
    : shared_(shared),
      hub_(shared.hub),
      loop_(shared.loop),
      partition_(partition),
      keys_(shared.name_space, partition),
      clock_(shared.options.server_clock ? nullptr : &shared.runtime),
      commands_(shared.address, shared.nodes, RedisNodes::SlotOf(keys_.prefix),
                {RedisCommand("SCRIPT", "LOAD", kRedisStepScript)}, shared.runtime.Random(), this),
      subscriber_(shared.address, shared.nodes, RedisNodes::SlotOf(keys_.prefix), {},
                  shared.runtime.Random(), this),
      redirects_(shared.address, shared.nodes, shared.loop, shared.runtime.Random(), [this] {
        ++incarnation_;
        noted_ends_.Clear();
        RecallSessions();
      }),
      look_again_([this] { LookAgain(); }),
      script_(commands_, redirects_, shared.nodes, keys_.absent, clock_),
      lanes_(keys_, writer_, script_, clock_, {shared.options.resend, shared.options.closed_keep}, this) {
  writer_.random = fmt::format("{:x}", shared.runtime.Random());
  if (partition == 0) shared.clock = &clock_;
}

void RedisStore::Open(int partitions, Callback<void(StatusOr<int>)> done) {
  partitions_ = partitions;
  opening_ = std::move(done);
  loop_.Add(&commands_);
  loop_.Add(&subscriber_);
  loop_.Add(&look_again_);
}

void RedisStore::Close() {
  commands_.Close();
  subscriber_.Close();
  redirects_.Close();
}

void RedisStore::FinishOpening(Status status) {
  if (!opening_) return;
  auto done = std::exchange(opening_, nullptr);
  if (status.ok()) return done(partitions_);
  done(std::move(status));
}

void RedisStore::OnConnected(RedisConnection& connection) {
  if (&connection == &subscriber_) {
    RedisCommand subscribe("SUBSCRIBE");
    for (const auto& [channel, listener] : listeners_) subscribe.Add(channel);
    return subscriber_.SendForPushes(subscribe, listeners_.size());
  }
  ++incarnation_;
  if (opening_) return LookAtServer();
  // Where the slot was, what is pushed may be of a server that has left.
  if (subscriber_.connected() && subscriber_.Name() != commands_.Name()) {
    subscriber_.Lose(Unavailable(fmt::format("the slot has moved to Redis at {}", commands_.Name())));
  }
  RecallSessions();
  // The other connection may have come back before this one, and could not ask.
  LookForAll();
}

void RedisStore::OnLost(RedisConnection& connection) {
  if (connection.tried_all()) FinishOpening(connection.status());
  noted_ends_.Clear();
  if (&connection == &commands_) receiving_.clear();  // a server that was restarted may know of nobody
  if (&connection == &subscriber_) {
    hears_ = false;
    look_again_.Set(kLookAgain);
  }
}

// ---- What is looked at, one after the other. Without a connection any more, the next one begins anew, and OnLost knows when
// there will be none.

void RedisStore::LookAtServer() {
  commands_.Send(RedisCommand("INFO"), [this](const RedisConnection::Reply& info) {
    if (!commands_.connected()) return;
    Status status = info.ok() ? CheckServer(*info) : info.status();
    if (!status.ok()) return FinishOpening(std::move(status));
    LookAtSettings();
  });
}

// A server whose settings may not be asked for says nothing about them.
void RedisStore::LookAtSettings() {
  commands_.Send(RedisCommand("CONFIG", "GET", "appendfsync"),
                 [this](const RedisConnection::Reply& reply) {
                   if (!commands_.connected()) return;
                   if (!reply.ok()) return FinishOpening(reply.status());
                   const std::string_view fsync = (*reply)[1].text();
                   if (!fsync.empty() && fsync != "always") {
                     Warn(fmt::format("has appendfsync {}: when it is killed, the last seconds of what "
                                      "was written are lost",
                                      fsync));
                   }
                   Enter();
                 });
}

// Draws a number, and learns or lays down how many partitions there are.
void RedisStore::Enter() {
  const int fresh = partitions_ > 0              ? partitions_
                    : shared_.nodes.is_cluster() ? kClusterPartitions
                                                 : 1;
  RedisStep step;
  step.Read("probe", keys_.probe);
  step.Read("INCR", keys_.store_counter);
  step.Read("HSETNX", keys_.meta, "format", kFormat);
  step.Read("HSETNX", keys_.meta, "partitions", fresh);
  step.Read("HMGET", keys_.meta, "format", "partitions");
  script_.Send(std::move(step), std::nullopt, [this](const StatusOr<RedisStepReply>& reply) {
    if (!commands_.connected()) return;
    if (!reply.ok()) return FinishOpening(reply.status());
    if (const RedisReply probe = reply->replies[0]; probe.is_error()) {
      return FinishOpening(StatusOfError(probe.text()));
    }
    writer_.id = fmt::format("{}", reply->replies[1].number());
    const RedisReply stored = reply->replies[4];
    if (stored[0].number() != kFormat) {
      return FinishOpening(FailedPrecondition(fmt::format(
          "what namespace {} of Redis holds is of format {}; this version of Marathon reads {}",
          shared_.name_space, stored[0].text(), kFormat)));
    }
    const int count = static_cast<int>(stored[1].number());
    if (partitions_ > 0 && partitions_ != count) {
      return FinishOpening(FailedPrecondition(fmt::format(
          "namespace {} of Redis was laid out in {} partitions, which cannot change: open it "
          "without partitions={}",
          shared_.name_space, count, partitions_)));
    }
    partitions_ = count;
    const int64_t closed_bytes = shared_.options.closed_bytes;
    if (closed_bytes > 0) writer_.closed_bytes = std::max<int64_t>(closed_bytes / count, 1);
    ListenToOthers();
  });
}

// Opens the store, as soon as it hears.
void RedisStore::ListenToOthers() {
  Listen(keys_.due_channel, [this](std::optional<std::string_view> message) {
    if (!message) return LookAtDue();
    const size_t space = message->find(' ');
    if (space == message->npos || message->substr(0, space) == writer_.id) return;
    Effects effects;
    effects.NoteDue(FromMicros(static_cast<int64_t>(RedisNumber(message->substr(space + 1)))));
    Publish(std::move(effects));
  });
  Listen(keys_.StoreChannel(writer_.id), [this](std::optional<std::string_view> message) {
    if (!message) {
      FinishOpening(Status());
      noted_ends_.Clear();
      for (const RunKey& run : hub_.AwaitedRuns()) LookAtAwaited(run);
    } else if (const auto run = ParseRedisName(*message)) {
      noted_ends_.Remove(*run);
      LookAtAwaited(*run);
    }
  });
}

// `reply`: what INFO answers.
Status RedisStore::CheckServer(const RedisReply& reply) {
  if (reply.is_error()) {
    Status status = StatusOfError(reply.text());
    if (status.code() != StatusCode::kFailedPrecondition) return status;
    Warn("does not say how it is set (INFO), so it may be one that evicts keys, or forgets them when it ends");
    return {};
  }
  const std::string_view info = reply.text();
  if (InfoField(info, "cluster_enabled") == "1") shared_.nodes.LearnCluster();
  constexpr int kOldest = 602;  // XTRIM MINID, ZRANGE BYSCORE
  const std::string_view version = InfoField(info, "redis_version");
  if (VersionOf(version) < kOldest) {
    return FailedPrecondition(
        fmt::format("Redis is of version {}: Marathon needs 6.2 or newer", version));
  }
  const std::string_view eviction = InfoField(info, "maxmemory_policy");
  if (!eviction.empty() && eviction != "noeviction") {
    return FailedPrecondition(fmt::format(
        "Redis may evict keys (maxmemory-policy {}), and workflows with them: set it to noeviction",
        eviction));
  }
  if (InfoField(info, "aof_enabled") == "0") {
    Warn("keeps no append-only file: when it ends, what was written since its last snapshot is lost");
  }
  return {};
}

// Once for each setting of each server, however many partitions it has.
void RedisStore::Warn(std::string_view what) {
  WarnOf(fmt::format("Redis at {} {} (docs/redis.md)", commands_.Name(), what));
}

void RedisStore::WarnOf(const std::string& text) {
  LogSink* const log = shared_.options.log.get();
  if (log != nullptr && shared_.warned.insert(text).second) log->Log(LogLevel::kWarning, text);
}

// ---- For tests

void RedisStore::Sync(DoneStatus done) {
  commands_.Send(RedisCommand("PING"), [this, done = std::move(done)](auto) mutable {
    subscriber_.Send(RedisCommand("PING"), [done = std::move(done)](auto reply) mutable {
      done(reply.status());
    });
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
