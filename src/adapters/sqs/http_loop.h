// HttpLoop: the one thread of an SQS queue. It makes HTTP calls, many at a time over connections that are
// kept, waits for timers and pipes, and runs what is posted.
//
// Post and Stop may be called from any thread, everything else on the loop's own.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  Duration timeout{10'000};  // of all of it
  bool direct = false;       // never by a proxy
};

struct HttpReply {
  int status = 0;
  std::string body;
  std::string date;  // the header
};

class HttpLoop {
 public:
  using Id = uint64_t;  // of a call, a timer or a watch; 0: none

  HttpLoop();
  ~HttpLoop();  // after Stop()
  HttpLoop(const HttpLoop&) = delete;
  HttpLoop& operator=(const HttpLoop&) = delete;

  // Starts the thread, which keeps `owner` alive.
  void Start(std::shared_ptr<void> owner);
  // Work posted after Stop() is destroyed, not run.
  void Post(Callback<void()> work);
  bool IsThisThread() const;
  // Ends the thread after what has been posted and the calls under way, or a second, and waits for it
  // unless that is the caller. What is still under way then is destroyed.
  void Stop();

  // kUnavailable: the server has certainly not seen it; kUnknown: it may have.
  Id Send(HttpRequest request, Callback<void(StatusOr<HttpReply>)> done);
  Id After(Duration delay, Callback<void()> work);
  // Calls `ready` once, when something can be read from `fd` or it has ended.
  Id WhenReadable(int fd, Callback<void()> ready);
  // Whatever it was: its callback is destroyed uncalled.
  void Cancel(Id id);

  // The machine's wall clock: what others call now.
  static const Clock& WallClock();

 private:
  struct State;
  std::shared_ptr<State> state_;  // the thread's too
  std::thread thread_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
