// HttpLoop: one thread that makes HTTP calls, thousands at a time over connections that are kept, waits for
// timers and pipes, and runs what is posted. An SQS queue has one, and so has a client of models.
//
// Post and Stop may be called from any thread, everything else on the loop's own.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"
#include "marathon/time.h"

struct sockaddr;

namespace marathon::inline MARATHON_ABI::detail {

struct HttpReply {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;
  bool cut = false;  // there is more of it than HttpRequest::body_max

  std::string Header(const std::string& name) const;  // empty: there is none
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string body;
  Duration timeout{10'000};         // of all of it; 0: none
  Duration connect_timeout{5'000};  // of its beginning
  Duration idle_timeout{0};         // between two pieces of the reply, and before the first; 0: none
  bool direct = false;              // never by a proxy
  // Never sent twice. Otherwise the library sends again what a kept connection has lost before its reply began.
  bool once = false;
  bool verify_tls = true;
  std::string ca_file;           // PEM; empty: the machine's
  size_t body_max = 4u << 20;    // of HttpReply::body; SQS: ten messages of 1 MiB in all
  bool cut = false;              // a larger body is cut off there, and is no error
  // What an address is that must not be called, SpecialUseOf (http_address.h) say; empty: it may be. Each is asked for
  // before a connection to just this one, so what a name stood for earlier does not matter. All requests of a loop have
  // the same rule, since connections are kept.
  std::string_view (*refuse)(const sockaddr& address) = nullptr;
  // Takes the body of a 200 as it comes, instead of HttpReply::body; `head` has the rest. False ends the call
  // (kCancelled). May post, but neither send nor cancel.
  Callback<bool(const HttpReply& head, std::string_view bytes)> on_bytes{};
};

class HttpLoop {
 public:
  using Id = uint64_t;  // of a call, a timer or a watch; 0: none

  // `connections_kept`: open without a call, for the next one.
  explicit HttpLoop(long connections_kept = 32);
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

  // An answer of any status is a reply. Errors:
  //   kUnavailable         the server has certainly not seen it
  //   kFailedPrecondition  nor will it before somebody mends the URL or the certificates; or `refuse` forbids it
  //   kDeadlineExceeded    a timeout of the request; the server may have seen it
  //   kResourceExhausted   the body is larger than body_max, or the headers than anybody's are
  //   kUnknown             the connection broke; the server may have seen it
  Id Send(HttpRequest request, Callback<void(StatusOr<HttpReply>)> done);
  Id After(Duration delay, Callback<void()> work);
  // Calls `ready` once, when something can be read from `fd` or it has ended. One watch an fd.
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
