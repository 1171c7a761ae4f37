// HttpFloor: bare libcurl, which sends as many requests at a time and drops what comes. Its connections are kept.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace bench {

class HttpFloor {
 public:
  HttpFloor(const std::string& url, std::string body, int streams);
  ~HttpFloor();

  // Sends them all, and gives the bytes of their answers once all have come.
  int64_t Stream();

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace bench
