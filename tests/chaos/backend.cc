#include "backend.h"

#include <fmt/format.h>

#include "shared.h"
#include "marathon/adapters/redis.h"
#include "marathon/adapters/sqlite.h"

namespace marathon::chaos {
namespace {

ChaosBackend SqliteHere(const std::string& folder) {
  ChaosBackend backend;
  backend.name = "sqlite";
  const std::string file = folder + "/chaos.db";
  backend.direct_url = fmt::format("sqlite:{}?resend={}", file, kResend.count());
  backend.url = [url = backend.direct_url](const std::vector<int>&) { return url; };
  backend.check = [file] { return CheckSqliteFile(file); };
  return backend;
}

ChaosBackend RedisHere(const std::string& folder) {
  ChaosBackend backend;
  backend.name = "redis";
  const std::string socket = folder + "/redis.socket";
  backend.servers.push_back(
      {"redis",
       {"redis-server", "--port", "0", "--unixsocket", socket, "--dir", folder, "--save", "",
        "--appendonly", "yes", "--appendfsync", "always"},
       socket});
  backend.direct_url = fmt::format("redis:{}?resend={}", socket, kResend.count());
  backend.url = [](const std::vector<int>& ports) {
    return fmt::format("redis://127.0.0.1:{}?resend={}", ports[0], kResend.count());
  };
  return backend;
}

}  // namespace

std::optional<ChaosBackend> FindBackend(std::string_view name, const std::string& folder) {
  std::optional<ChaosBackend> backend;
  if (name == "sqlite") backend = SqliteHere(folder);
  if (name == "redis") backend = RedisHere(folder);
  if (backend) backend->folder = folder;
  return backend;
}

std::vector<Backend> KnownSchemes() { return {SqliteBackend(), RedisBackend()}; }

}  // namespace marathon::chaos
