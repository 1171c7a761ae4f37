#include "place.h"

#include <marathon/adapters/redis.h>
#include <marathon/adapters/sqlite.h>
#include <marathon/adapters/sqs.h>
#include <marathon/store/open_ports.h>

#include <filesystem>
#include <utility>
#include <vector>

namespace bench {
namespace {

// Warnings about what its settings may lose are not news here.
marathon::Backend Redis() { return marathon::RedisBackend({.log = nullptr}); }

marathon::Backend Sqs() {
  marathon::SqsOptions options;
  options.access_key_id = marathon::tests::SqsServer::kKeyId;
  options.secret_access_key = marathon::tests::SqsServer::kSecret;
  return marathon::SqsBackend(options);
}

// Besides memory.
std::vector<marathon::Backend> Linked() {
  return {marathon::SqliteBackend(), Redis(), Sqs()};
}

}  // namespace

Place::Place(const std::string& folder, std::string backend, std::string sync)
    : backend_(std::move(backend)),
      sync_(std::move(sync)),
      file_(folder + "/" + std::to_string(getpid()) + ".db") {
  Clear();
}

Place::~Place() {
  server_.reset();
  if (backend_ == "sqlite") Clear();
}

std::string Place::url() const {
  if (memory()) return "memory:";
  if (sqs_ != nullptr) return "redis:" + server_->socket() + "?queue=" + sqs_->Parameter("bench");
  if (redis()) return "redis:" + server_->socket();
  return "sqlite:" + file_ + "?synchronous=" + sync_;
}

void Place::Clear() {
  for (const char* end : {"", "-wal", "-shm", "-lock", "-locks"}) {
    std::filesystem::remove_all(file_ + end);
  }
  if (!redis()) return;
  server_.reset();
  server_ = std::make_unique<marathon::tests::RedisServer>(std::vector<std::string>{
      "--appendonly", sync_ == "no" ? "no" : "yes", "--appendfsync", sync_});
  if (backend_ == "redis+sqs" && sqs_ == nullptr) sqs_ = std::make_unique<marathon::tests::SqsServer>();
}

marathon::Ports Place::Open(marathon::Runtime& runtime) const {
  std::vector<std::shared_ptr<const marathon::Backend>> backends{
      std::make_shared<const marathon::Backend>(marathon::MemoryBackend())};
  for (marathon::Backend& backend : Linked()) {
    backends.push_back(std::make_shared<const marathon::Backend>(std::move(backend)));
  }
  return Must(marathon::OpenPorts(url(), backends, runtime));
}

double Place::Floor(int group, const marathon::History& sample,
                    const std::function<void(const marathon::Payload&)>& convert, double seconds) {
  if (memory()) return MemoryFloor(sample, convert, seconds / 2);
  Clear();
  const double floor = redis()
                           ? RedisFloor(*server_, group, sample, convert, seconds)
                           : SqliteFloor(file_, sync_ == "full", group, sample, convert, seconds);
  Clear();
  return floor;
}

marathon::Registry TheRegistry() {
  marathon::Registry registry;
  BindAll(registry);
  for (marathon::Backend& backend : Linked()) registry.Use(std::move(backend));
  return registry;
}

}  // namespace bench
