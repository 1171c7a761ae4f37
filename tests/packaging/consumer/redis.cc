// Where no server is, opening is a typed error.
#include <marathon/adapters/redis.h>
#include <marathon/marathon.h>

int main() {
  marathon::Registry registry;
  registry.Use(marathon::RedisBackend());
  registry.Use(marathon::RedisTlsBackend());
  for (const char* const url : {"redis://127.0.0.1:1", "rediss://127.0.0.1:1"}) {
    if (marathon::Engine::Open(url, registry).status().code() != marathon::StatusCode::kUnavailable) return 1;
  }
}
