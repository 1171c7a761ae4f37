// HttpCaller: a loop of its own for one tool's calls, which looks where each of them goes.
//
// Safe from any thread. It outlives its calls.
#pragma once

#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/time.h"
#include "src/net/http_loop.h"
#include "src/net/http_url.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

// HttpOptions, as far as they are about calls, and checked: hosts in lower case, `headers` by HttpUrl::origin.
struct HttpRules {
  std::vector<std::string> hosts;
  std::map<std::string, std::vector<std::string>> headers;
  size_t body_max = 0;
  Duration timeout{0};
  int redirects = 0;
  std::string_view (*refuse)(const sockaddr& address) = nullptr;  // as HttpRequest's
};

class HttpCaller {
 public:
  struct Call {
    std::string method;
    marathon::detail::HttpUrl url;  // in the end, of the reply
    std::vector<std::string> headers{};  // of every hop
    std::string body{};
    std::string note{};  // why a redirect was not followed
  };

  explicit HttpCaller(HttpRules rules) : rules_(std::move(rules)) {}
  ~HttpCaller() { loop_.Stop(); }
  HttpCaller(const HttpCaller&) = delete;
  HttpCaller& operator=(const HttpCaller&) = delete;

  // Waits for the reply behind the redirects. Errors are HttpLoop::Send's, and:
  // kInvalidArgument: the host may not be called. kCancelled: `stop` was requested; that ends it at once.
  StatusOr<marathon::detail::HttpReply> Make(Call* call, std::stop_token stop);

 private:
  struct Exchange;
  using ExchangePtr = std::shared_ptr<Exchange>;
  using Result = StatusOr<marathon::detail::HttpReply>;

  Status CheckHost(const marathon::detail::HttpUrl& url) const;

  // On the loop's thread.
  void Begin(const ExchangePtr& exchange);
  void Send(const ExchangePtr& exchange);
  void OnReply(const ExchangePtr& exchange, Result reply);
  // Whether the exchange goes on to where the reply points.
  bool Follow(const ExchangePtr& exchange, const marathon::detail::HttpReply& reply);
  void End(const ExchangePtr& exchange, Result result);

  const HttpRules rules_;
  std::once_flag started_;
  marathon::detail::HttpLoop loop_;
};

}  // namespace marathon::inline MARATHON_ABI::agent::internal
