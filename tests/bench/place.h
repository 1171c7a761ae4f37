// Place: where the runs of one measurement are kept, as the engine opens it, and the floor beside it.
//
// One thread at a time.
#pragma once

#include <marathon/marathon.h>

#include <functional>
#include <memory>
#include <string>

#include "../redis_server.h"
#include "../sqs_server.h"
#include "bench.h"

namespace bench {

class Place {
 public:
  // `backend`: memory, sqlite (sync: full, normal), redis (sync: always, everysec, no: its appendfsync), or
  // redis+sqs (the same, with an SQS server for its hints).
  Place(const std::string& folder, std::string backend, std::string sync);
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  const std::string& backend() const { return backend_; }
  const std::string& sync() const { return sync_; }
  bool memory() const { return backend_ == "memory"; }
  bool redis() const { return backend_.starts_with("redis"); }
  std::string url() const;

  // Forgets all that is kept.
  void Clear();
  // Ports that outlive an engine.
  marathon::Ports Open(marathon::Runtime& runtime) const;
  // Runs a second of the bare loop, over about `seconds`, with `group` of them together.
  double Floor(int group, const marathon::History& sample,
               const std::function<void(const marathon::Payload&)>& convert, double seconds);

 private:
  std::string backend_;
  std::string sync_;
  std::string file_;
  std::unique_ptr<marathon::tests::RedisServer> server_;
  std::unique_ptr<marathon::tests::SqsServer> sqs_;
};

// With every backend that there is to measure.
marathon::Registry TheRegistry();

}  // namespace bench
