#include "src/agent/tools/http_caller.h"

#include <condition_variable>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

namespace marathon::inline MARATHON_ABI::agent::internal {

using marathon::detail::HttpLoop;
using marathon::detail::HttpReply;
using marathon::detail::HttpRequest;
using marathon::detail::HttpUrl;
using marathon::detail::ResolveHttpUrl;

// One call, from its first hop to its last.
struct HttpCaller::Exchange {
  // The loop's, until there is a result.
  Call call;
  int hops = 0;
  HttpLoop::Id http = 0;
  HttpLoop::Id timer = 0;

  std::mutex mutex;  // guards:
  std::condition_variable ended;
  std::optional<Result> result;  // the first that there is

  bool HasEnded() {
    const std::lock_guard lock(mutex);
    return result.has_value();
  }
  void Set(Result the_result) {
    const std::lock_guard lock(mutex);
    if (!result) result = std::move(the_result);
    ended.notify_all();
  }
};

namespace {

bool MayRedirect(const std::string& method, int status) {
  const bool points = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
  return points && (method == "GET" || method == "HEAD");
}

bool IsOf(std::string_view host, std::string_view pattern) {
  if (!pattern.starts_with("*.")) return host == pattern;
  return host.size() >= pattern.size() && host.ends_with(pattern.substr(1));
}

}  // namespace

StatusOr<HttpReply> HttpCaller::Make(Call* call, std::stop_token stop) {
  std::call_once(started_, [this] { loop_.Start(nullptr); });
  auto exchange = std::make_shared<Exchange>();
  exchange->call = std::move(*call);
  loop_.Post([this, exchange] { Begin(exchange); });
  const std::stop_callback on_stop(std::move(stop), [this, exchange] {
    exchange->Set(Cancelled("the call was stopped"));
    loop_.Post([this, exchange] { End(exchange, Cancelled("")); });
  });
  std::unique_lock lock(exchange->mutex);
  exchange->ended.wait(lock, [&] { return exchange->result.has_value(); });
  if (exchange->result->ok()) *call = std::move(exchange->call);
  return *std::move(exchange->result);
}

Status HttpCaller::CheckHost(const HttpUrl& url) const {
  if (rules_.hosts.empty()) return {};
  for (const std::string& pattern : rules_.hosts) {
    if (IsOf(url.host, pattern)) return {};
  }
  return InvalidArgument("the host " + url.host + " is refused: it is none of those that this tool may call");
}

void HttpCaller::Begin(const ExchangePtr& exchange) {
  if (exchange->HasEnded()) return;
  exchange->timer = loop_.After(rules_.timeout, [this, exchange] {
    End(exchange, DeadlineExceeded("no whole reply within " + std::to_string(rules_.timeout.count()) + " ms"));
  });
  Send(exchange);
}

void HttpCaller::Send(const ExchangePtr& exchange) {
  const Call& call = exchange->call;
  if (Status status = CheckHost(call.url); !status.ok()) return End(exchange, std::move(status));
  HttpRequest request{.method = call.method, .url = call.url.text, .headers = call.headers, .body = call.body};
  if (const auto own = rules_.headers.find(call.url.origin); own != rules_.headers.end()) {
    request.headers.insert(request.headers.end(), own->second.begin(), own->second.end());
  }
  request.timeout = Duration(0);  // that of the exchange counts
  request.direct = true;
  request.once = call.method != "GET" && call.method != "HEAD";
  request.body_max = rules_.body_max;
  request.cut = true;
  request.refuse = rules_.refuse;
  exchange->http = loop_.Send(std::move(request), [this, exchange](Result reply) {
    OnReply(exchange, std::move(reply));
  });
}

void HttpCaller::OnReply(const ExchangePtr& exchange, Result reply) {
  exchange->http = 0;
  if (exchange->HasEnded()) return End(exchange, std::move(reply));
  if (reply.ok() && Follow(exchange, *reply)) return Send(exchange);
  End(exchange, std::move(reply));
}

bool HttpCaller::Follow(const ExchangePtr& exchange, const HttpReply& reply) {
  Call& call = exchange->call;
  const std::string location = reply.Header("location");
  if (location.empty() || !MayRedirect(call.method, reply.status)) return false;
  StatusOr<HttpUrl> next = ResolveHttpUrl(call.url, location);
  if (!next.ok()) {
    call.note = std::string(MessageOf(next.status()));
  } else if (call.url.tls && !next->tls) {
    call.note = "from https to http";
  } else if (Status allowed = CheckHost(*next); !allowed.ok()) {
    call.note = std::string(MessageOf(allowed));
  } else if (exchange->hops == rules_.redirects) {
    call.note = "there were " + std::to_string(rules_.redirects) + " before it";
  } else {
    ++exchange->hops;
    call.url = *std::move(next);
    return true;
  }
  return false;
}

void HttpCaller::End(const ExchangePtr& exchange, Result result) {
  loop_.Cancel(std::exchange(exchange->http, 0));
  loop_.Cancel(std::exchange(exchange->timer, 0));
  exchange->Set(std::move(result));
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
