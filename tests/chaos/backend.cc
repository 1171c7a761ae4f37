#include "backend.h"

#include <fmt/format.h>

#include <filesystem>

#include "../sqs_server.h"
#include "shared.h"
#include "marathon/adapters/redis.h"
#include "marathon/adapters/sqlite.h"
#include "marathon/adapters/sqs.h"

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

// Redis for runs, SQS for hints. The SQS server loses all its queues when it is killed, which SQS does not.
ChaosBackend RedisAndSqsHere(const std::string& folder) {
  ChaosBackend backend = RedisHere(folder);
  backend.name = "redis+sqs";
  const std::string socket = folder + "/sqs.socket";
  const std::string script = std::filesystem::current_path() / "tests/sqs_server.sh";
  backend.servers.push_back({"sqs", {"bash", script, "--socket", socket}, socket, false});
  backend.url = [redis = backend.url](const std::vector<int>& ports) {
    const std::string queue =
        tests::SqsServer::ParameterAt(fmt::format("{}", ports[1]), "chaos");
    return fmt::format("{}&queue={}", redis(ports), queue);
  };
  return backend;
}

SqsOptions Keys() {
  SqsOptions options;
  options.access_key_id = tests::SqsServer::kKeyId;
  options.secret_access_key = tests::SqsServer::kSecret;
  return options;
}

}  // namespace

std::optional<ChaosBackend> FindBackend(std::string_view name, const std::string& folder) {
  if (name == "sqlite") return SqliteHere(folder);
  if (name == "redis") return RedisHere(folder);
  if (name == "redis+sqs") return RedisAndSqsHere(folder);
  return std::nullopt;
}

std::vector<Backend> KnownSchemes() {
  return {SqliteBackend(), RedisBackend(), SqsBackend(Keys())};
}

}  // namespace marathon::chaos
