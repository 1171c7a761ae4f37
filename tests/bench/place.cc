#include "place.h"

#include <marathon/adapters/redis.h>
#include <marathon/adapters/sqlite.h>

#include <filesystem>
#include <utility>
#include <vector>

namespace bench {
namespace {

// Warnings about what its settings may lose are not news here.
marathon::Backend Redis() { return marathon::RedisBackend({.log = nullptr}); }

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
  if (backend_ == "redis") return "redis:" + server_->socket();
  return "sqlite:" + file_ + "?synchronous=" + sync_;
}

void Place::Clear() {
  for (const char* end : {"", "-wal", "-shm", "-lock", "-locks"}) {
    std::filesystem::remove_all(file_ + end);
  }
  if (backend_ != "redis") return;
  server_.reset();
  server_ = std::make_unique<marathon::tests::RedisServer>(std::vector<std::string>{
      "--appendonly", sync_ == "no" ? "no" : "yes", "--appendfsync", sync_});
}

marathon::Ports Place::Open(marathon::Runtime& runtime) const {
  const marathon::Backend backend = memory()               ? marathon::MemoryBackend()
                                    : backend_ == "redis" ? Redis()
                                                           : marathon::SqliteBackend();
  return Must(backend.open(Must(marathon::ParseBackendUrl(url())), runtime));
}

double Place::Floor(int group, const marathon::History& sample,
                    const std::function<void(const marathon::Payload&)>& convert, double seconds) {
  if (memory()) return MemoryFloor(sample, convert, seconds / 2);
  Clear();
  const double floor = backend_ == "redis"
                           ? RedisFloor(*server_, group, sample, convert, seconds)
                           : SqliteFloor(file_, sync_ == "full", group, sample, convert, seconds);
  Clear();
  return floor;
}

marathon::Registry TheRegistry() {
  marathon::Registry registry;
  BindAll(registry);
  registry.Use(marathon::SqliteBackend());
  registry.Use(Redis());
  return registry;
}

}  // namespace bench
