// SqliteBackend: from a URL to a store.
#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "beside.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/limits.h"
#include "store.h"

namespace marathon::inline MARATHON_ABI {
namespace {

constexpr Duration kHour{3'600'000};

Status ReadParameters(const BackendUrl& url, SqliteOptions* options) {
  if (Status status = url.CheckParameters(
          {"namespace", "synchronous", "check", "busy_timeout", "poll_interval", "resend", "closed_keep",
           "closed_bytes", "blob_keep", "stream_keep", "transaction_limit"});
      !status.ok()) {
    return status;
  }
  if (const auto synchronous = url.Find("synchronous")) {
    if (*synchronous != "full" && *synchronous != "normal") {
      return InvalidArgument(fmt::format("synchronous={}: write full or normal", *synchronous));
    }
    options->full_sync = *synchronous == "full";
  }
  if (const auto check = url.Find("check")) {
    using Check = SqliteOptions::Check;
    if (*check != "auto" && *check != "quick" && *check != "none") {
      return InvalidArgument(fmt::format("check={}: write auto, quick or none", *check));
    }
    options->check = *check == "auto" ? Check::kAuto
                                      : (*check == "quick" ? Check::kQuick : Check::kNone);
  }
  const struct {
    std::string_view key;
    Duration least, most;
    Duration* value;
  } times[] = {{"busy_timeout", Duration(0), kHour, &options->busy_timeout},
               {"poll_interval", Duration(0), kHour, &options->poll_interval},
               {"resend", Duration(1), kHour, &options->resend},
               {"closed_keep", limits::kMinRetention, limits::kMaxKeep, &options->closed_keep},
               {"blob_keep", Duration(0), limits::kMaxKeep, &options->blob_keep},
               {"stream_keep", Duration(0), limits::kMaxKeep, &options->stream_keep},
               {"transaction_limit", Duration(0), kHour, &options->transaction_limit}};
  for (const auto& time : times) {
    if (Status status = url.ReadMillis(time.key, time.least, time.most, time.value); !status.ok()) return status;
  }
  Status status = url.ReadNumber("closed_bytes", 0, INT64_MAX, &options->closed_bytes);
  return status.ok() ? CheckRetention(options->closed_keep, options->closed_bytes) : status;
}

// The same file by any name gets the same lock files.
StatusOr<std::string> FindFile(const BackendUrl& url) {
  if (!url.host.empty()) {
    return InvalidArgument("an SQLite store is a file: write sqlite:PATH, or sqlite:///PATH");
  }
  if (url.path.empty() || url.path == ":memory:") {
    return InvalidArgument(
        "sqlite: needs the path of a file, as in sqlite:app.db (or use memory:, which keeps "
        "nothing)");
  }
  std::error_code error;
  const auto path = std::filesystem::weakly_canonical(std::filesystem::absolute(url.path), error);
  if (error) {
    return InvalidArgument(fmt::format("the path {} cannot be used: {}", url.path, error.message()));
  }
  if (std::filesystem::is_directory(path, error)) {
    return InvalidArgument(fmt::format("{} is a folder; name a file in it", path.string()));
  }
  return path.string();
}

StatusOr<Ports> OpenSqlite(const BackendUrl& url, SqliteOptions options, Runtime& runtime) {
  if (Status status = ReadParameters(url, &options); !status.ok()) return status;
  const StatusOr<std::string> path = FindFile(url);
  if (!path.ok()) return path.status();
  const std::string name_space(url.Find("namespace").value_or("default"));
  if (name_space.empty() || name_space.size() > limits::kMaxNameBytes) {
    return InvalidArgument(
        fmt::format("a namespace has 1 to {} bytes", limits::kMaxNameBytes));
  }
  auto store = detail::SqliteStore::Open(*path, name_space, options, runtime);
  if (!store.ok()) return store.status();
  return Ports{*store, *store, std::make_shared<detail::SqliteBlobs>(*store),
               std::make_shared<detail::SqliteStreams>(*store),
               std::make_shared<detail::SqliteLimiter>(*store),
               std::make_shared<detail::SqliteTransactions>(*store)};
}

}  // namespace

Backend SqliteBackend(SqliteOptions defaults) {
  return Backend{"sqlite", [defaults](const BackendUrl& url, Runtime& runtime) {
                   return OpenSqlite(url, defaults, runtime);
                 }};
}

int64_t SqliteDueSteps(const StateStore& store) {
  return static_cast<const detail::SqliteStore&>(store).DueSteps();
}

}  // namespace marathon::inline MARATHON_ABI
