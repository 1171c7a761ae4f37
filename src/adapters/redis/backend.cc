// RedisBackend: from a URL to a store.
#include <fmt/format.h>

#include <charconv>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "beside.h"
#include "marathon/adapters/redis.h"
#include "marathon/limits.h"
#include "partitions.h"

namespace marathon::inline MARATHON_ABI {
namespace {

Status ReadNumber(std::string_view what, std::string_view text, int64_t least, int64_t most,
                  int64_t* number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *number);
  if (error == std::errc() && end == text.data() + text.size() && *number >= least &&
      *number <= most) {
    return {};
  }
  return InvalidArgument(fmt::format("{} {}: write a number from {} to {}", what, text, least, most));
}

constexpr Duration kHour{3'600'000};

// HOST, HOST:PORT or [ADDRESS]:PORT
Status ReadHost(std::string_view host, detail::RedisPlace* place) {
  const size_t colon = host.rfind(':');
  const bool has_port = colon != host.npos && host.find(']', colon) == host.npos;
  int64_t port = 6379;
  if (has_port) {
    if (Status s = ReadNumber("port", host.substr(colon + 1), 1, 65'535, &port); !s.ok()) return s;
    host = host.substr(0, colon);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty()) return InvalidArgument("the URL names a server without a host");
  *place = {std::string(host), fmt::format("{}", port)};
  return {};
}

Status ReadPlaces(const BackendUrl& url, detail::RedisAddress* address,
                  std::vector<detail::RedisPlace>* places) {
  std::string database(url.Find("database").value_or("0"));
  if (url.host.empty()) {
    if (url.path.empty() || url.path[0] != '/' || address->tls) {
      return InvalidArgument(fmt::format(
          "{} needs a host, as in {}://localhost:6379/0 (redis: also takes the path of a socket)",
          url.scheme, url.scheme));
    }
    address->socket = url.path;
  } else {
    std::string_view hosts = url.host;
    for (size_t at = 0; at != hosts.npos;) {
      const size_t comma = hosts.find(',', at);
      const std::string_view host = hosts.substr(at, comma == hosts.npos ? comma : comma - at);
      if (Status s = ReadHost(host, &places->emplace_back()); !s.ok()) return s;
      at = comma == hosts.npos ? comma : comma + 1;
    }
    address->host = places->front().host;
    address->port = places->front().port;
    if (!url.path.empty()) database = url.path;
  }
  int64_t number = 0;
  if (Status s = ReadNumber("database", database, 0, 1'000'000, &number); !s.ok()) return s;
  address->database = static_cast<int>(number);
  return {};
}

StatusOr<Ports> OpenRedis(const BackendUrl& url, RedisOptions options, bool tls, Runtime& runtime) {
  if (Status status = url.CheckParameters(
          {"namespace", "partitions", "ca", "cert", "key", "database", "connect_timeout", "reply_timeout", "resend",
           "closed_keep", "closed_bytes", "blob_keep", "stream_keep"});
      !status.ok()) {
    return status;
  }
  detail::RedisAddress address;
  address.tls = tls;
  address.user = url.user;
  address.password = url.password;
  address.ca_file = url.Find("ca").value_or(options.ca_file);
  address.cert_file = url.Find("cert").value_or(options.cert_file);
  address.key_file = url.Find("key").value_or(options.key_file);
  if (address.cert_file.empty() != address.key_file.empty()) {
    return InvalidArgument("a certificate of this client needs its key, and the key its certificate: write cert=FILE and key=FILE");
  }
  if (!address.user.empty() && address.password.empty()) {
    return InvalidArgument(fmt::format("the URL names a user but no password: write {}://USER:PASSWORD@HOST", url.scheme));
  }
  address.connect_timeout = options.connect_timeout;
  address.reply_timeout = options.reply_timeout;
  std::vector<detail::RedisPlace> places;
  Status status = ReadPlaces(url, &address, &places);
  const struct {
    std::string_view key;
    Duration least, most;
    Duration* value;
  } times[] = {{"connect_timeout", Duration(1), kHour, &address.connect_timeout},
               {"reply_timeout", Duration(1), kHour, &address.reply_timeout},
               {"resend", Duration(1), kHour, &options.resend},
               {"closed_keep", limits::kMinRetention, limits::kMaxKeep, &options.closed_keep},
               {"blob_keep", Duration(1), limits::kMaxKeep, &options.blob_keep},
               {"stream_keep", Duration(1), limits::kMaxKeep, &options.stream_keep}};
  for (const auto& time : times) {
    if (status.ok()) status = url.ReadMillis(time.key, time.least, time.most, time.value);
  }
  if (status.ok()) status = url.ReadNumber("closed_bytes", 0, INT64_MAX, &options.closed_bytes);
  if (status.ok()) status = CheckRetention(options.closed_keep, options.closed_bytes);
  int64_t partitions = 0;
  if (status.ok()) status = url.ReadNumber("partitions", 1, 1024, &partitions);
  if (!status.ok()) return status;
  const std::string name_space(url.Find("namespace").value_or("default"));
  if (name_space.empty() || name_space.size() > limits::kMaxNameBytes) {
    return InvalidArgument(fmt::format("a namespace has 1 to {} bytes", limits::kMaxNameBytes));
  }
  auto store = detail::RedisPartitions::Open(std::move(address), std::move(places), name_space,
                                             static_cast<int>(partitions), options, runtime);
  if (!store.ok()) return store.status();
  return Ports{*store, *store, std::make_shared<detail::RedisBlobs>(*store),
               std::make_shared<detail::RedisStreams>(*store),
               std::make_shared<detail::RedisLimiter>(*store)};
}

}  // namespace

Backend RedisBackend(RedisOptions defaults) {
  return Backend{"redis", [defaults](const BackendUrl& url, Runtime& runtime) {
                   return OpenRedis(url, defaults, /*tls=*/false, runtime);
                 }};
}

Backend RedisTlsBackend(RedisOptions defaults) {
  return Backend{"rediss", [defaults](const BackendUrl& url, Runtime& runtime) {
                   return OpenRedis(url, defaults, /*tls=*/true, runtime);
                 }};
}

void RedisSync(StateStore& store, DoneStatus done) {
  static_cast<detail::RedisPartitions&>(store).Sync(std::move(done));
}

int64_t RedisDueVisited(const StateStore& store) {
  return static_cast<const detail::RedisPartitions&>(store).due_visited();
}

}  // namespace marathon::inline MARATHON_ABI
