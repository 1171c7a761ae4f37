// RedisStore: opening, closing, and what is looked at in a server before it is used.
#include <fmt/format.h>

#include <charconv>
#include <string>
#include <utility>

#include "store.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

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

RedisStore::RedisStore(const RedisAddress& address, const std::string& name_space,
                       const RedisOptions& options, Runtime& runtime)
    : domain_(fmt::format("redis:{}/{}?namespace={}", address.Name(), address.database, name_space)),
      options_(options),
      keys_(name_space),
      clock_(options.server_clock ? nullptr : &runtime),
      commands_(address, {RedisCommand("SCRIPT", "LOAD", kRedisStepScript)}, runtime.Random(), this),
      subscriber_(address, {}, runtime.Random(), this),
      script_(commands_, clock_),
      lanes_(keys_, writer_, script_, clock_, options.resend, this) {
  writer_.random = fmt::format("{:x}", runtime.Random());
}

StatusOr<std::shared_ptr<RedisStore>> RedisStore::Open(const RedisAddress& address,
                                                       const std::string& name_space,
                                                       const RedisOptions& options,
                                                       Runtime& runtime) {
  std::shared_ptr<RedisStore> store(new RedisStore(address, name_space, options, runtime));
  std::future<Status> opened = store->opening_.emplace().get_future();
  store->loop_.Start({&store->commands_, &store->subscriber_}, store);
  const Status status = opened.get();
  if (!status.ok()) {
    store->Close();
    return status;
  }
  // The loop keeps the store alive until it has ended; the pointers that are given out end the loop.
  RedisStore* const raw = store.get();
  return std::shared_ptr<RedisStore>(raw, [store = std::move(store)](RedisStore*) { store->Close(); });
}

void RedisStore::Close() {
  loop_.Post([this] {
    commands_.Close();
    subscriber_.Close();
  });
  loop_.Stop();
}

void RedisStore::FinishOpening(Status status) {
  if (opening_) opening_->set_value(std::move(status));
  opening_.reset();
}

void RedisStore::OnConnected(RedisConnection& connection) {
  if (&connection == &commands_) {
    if (opening_) return LookAtServer();
    for (const ReceiveRequest& parked : hub_.ParkedRequests()) Fetch(parked);
    // The other connection may have come back before this one, and could not ask.
    LookAtDue();
    for (const RunKey& run : hub_.AwaitedRuns()) LookAtAwaited(run);
    return;
  }
  RedisCommand subscribe("SUBSCRIBE");
  for (const auto& [channel, listener] : listeners_) subscribe.Add(channel);
  if (!listeners_.empty()) subscriber_.SendUnanswered(subscribe);
}

void RedisStore::OnLost(RedisConnection& connection) {
  if (opening_) FinishOpening(connection.status());
  if (&connection == &commands_) receiving_.clear();  // a server that was restarted may know of nobody
}

void RedisStore::LookAtServer() {
  RedisStep step;
  step.Read("INCR", keys_.store_counter);
  script_.Send(std::move(step), std::nullopt, [this](const StatusOr<RedisStepReply>& reply) {
    if (!reply.ok()) return FinishOpening(reply.status());
    writer_.id = fmt::format("{}", reply->replies[0].number());
    commands_.Send(RedisCommand("INFO"), [this](RedisConnection::Reply info) {
      if (!info.ok()) return FinishOpening(info.status());
      Status status = CheckServer(info->text());
      if (!status.ok()) return FinishOpening(std::move(status));
      Listen(keys_.due_channel, [this](std::optional<std::string_view> message) {
        if (!message) return LookAtDue();
        const size_t space = message->find(' ');
        if (space == message->npos || message->substr(0, space) == writer_.id) return;
        Effects effects;
        effects.NoteDue(
            FromMicros(static_cast<int64_t>(RedisNumber(message->substr(space + 1)))));
        hub_.Publish(std::move(effects));
      });
      Listen(keys_.StoreChannel(writer_.id), [this](std::optional<std::string_view> message) {
        if (!message) {
          for (const RunKey& run : hub_.AwaitedRuns()) LookAtAwaited(run);
        } else if (const auto run = ParseRedisName(*message)) {
          LookAtAwaited(*run);
        }
      });
      FinishOpening(Status());
    });
  });
}

// `info`: what INFO answers; empty where the user may not ask.
Status RedisStore::CheckServer(std::string_view info) {
  if (info.empty()) return {};
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
  if (InfoField(info, "aof_enabled") == "0" && options_.log != nullptr) {
    options_.log->Log(LogLevel::kWarning,
                      "Redis keeps no append-only file: when it ends, what was written since its last "
                      "snapshot is lost (docs/redis.md)");
  }
  return {};
}

// ---- For tests

void RedisStore::Sync(DoneStatus done) {
  loop_.Post([this, done = std::move(done)]() mutable {
    commands_.Send(RedisCommand("PING"), [this, done = std::move(done)](auto) mutable {
      subscriber_.Send(RedisCommand("PING"), [done = std::move(done)](auto reply) mutable {
        done(reply.status());
      });
    });
  });
}

}  // namespace marathon::inline MARATHON_ABI::detail
