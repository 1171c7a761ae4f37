#include "marathon/llm/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "src/llm/classify.h"
#include "src/llm/sse_parser.h"
#include "src/llm/wire.h"
#include "src/net/http_loop.h"
#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI::llm {
namespace {

using marathon::detail::HttpLoop;
using marathon::detail::HttpReply;
using marathon::detail::HttpRequest;

constexpr long kConnectionsKept = 256;
constexpr size_t kSecretMin = 8;  // a shorter value is no secret, and may be part of any word

bool IsVisible(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

// Completes the endpoint, or says what is wrong with it. No message has the key.
Status CheckEndpoint(Endpoint* endpoint) {
  std::string& url = endpoint->base_url;
  if (url.empty()) url = internal::WireOf(endpoint->protocol).default_base;
  while (url.ends_with('/')) url.pop_back();
  const bool https = url.starts_with("https://");
  const std::string host = marathon::detail::HostOfUrl(url);
  if (host.empty() || !IsVisible(url) || (!https && !url.starts_with("http://"))) {
    return InvalidArgument("base_url is not an http or https URL");
  }
  if (url.find_first_of("@?#") != url.npos) {
    return InvalidArgument("base_url has a user, a query or a fragment: keys go into api_key or headers");
  }
  if (!IsVisible(endpoint->api_key)) {
    return InvalidArgument("api_key has spaces, line ends or other characters that no key has");
  }
  const bool secret = !endpoint->api_key.empty() || !endpoint->headers.empty();
  if (!https && secret && !endpoint->insecure && !marathon::detail::IsLoopback(host)) {
    return InvalidArgument(fmt::format(
        "the key for {} would travel by http: use https, or say insecure if it must be so", host));
  }
  for (const std::string& header : endpoint->headers) {
    const size_t colon = header.find(':');
    if (colon == 0 || colon == header.npos || !IsVisible(header.substr(0, colon)) ||
        header.find_first_of("\r\n") != header.npos) {
      return InvalidArgument("a header of the endpoint is not of the form \"Name: value\"");
    }
  }
  if (std::min({endpoint->connect_timeout, endpoint->idle_timeout, endpoint->total_timeout}) <
      Duration{0}) {
    return InvalidArgument("a timeout of the endpoint is negative");
  }
  return {};
}

struct Call {
  // A client that has closed drops what it has not begun.
  ~Call() {
    if (done) done(MakeError(ErrorClass::kCanceled, "the client is closed"));
  }

  HttpRequest request;
  std::stop_token stop;
  Model::OnResult done;  // empty: answered
  std::unique_ptr<internal::ResponseReader> reader;
  internal::SseParser events;

  // The loop's own.
  HttpLoop::Id http = 0;
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  bool started = false;
  bool whole = false;  // the answer is no stream
  std::string request_id;
  size_t received = 0;
  std::string body;            // of one that is whole
  std::optional<Error> error;  // by which it ended

  explicit Call(size_t event_max) : events(event_max) {}
};
using CallPtr = std::shared_ptr<Call>;

}  // namespace

// All calls of a client, on the thread of its loop.
class Client::Calls : public std::enable_shared_from_this<Calls> {
 public:
  explicit Calls(Endpoint endpoint)
      : endpoint_(std::move(endpoint)),
        wire_(internal::WireOf(endpoint_.protocol)),
        loop_(kConnectionsKept) {
    secrets_.push_back(endpoint_.api_key);
    for (const std::string& header : endpoint_.headers) {
      secrets_.push_back(header.substr(header.find_first_not_of(' ', header.find(':') + 1)));
    }
    std::erase_if(secrets_, [](const std::string& text) { return text.size() < kSecretMin; });
  }

  void Open() { loop_.Start(shared_from_this()); }
  void Close() {
    loop_.Post([self = shared_from_this()] { self->EndAll(); });
    loop_.Stop();
  }

  void Chat(const ChatRequest& request, std::stop_token stop, OnDelta on_delta, OnResult done) {
    auto body = wire_.encode(request, endpoint_);
    if (auto* error = std::get_if<Error>(&body)) return done(std::move(*error));
    auto call = std::make_shared<Call>(endpoint_.response_max);
    call->request = RequestOf(std::move(std::get<std::string>(body)));
    call->stop = std::move(stop);
    call->done = std::move(done);
    call->reader = wire_.new_reader(std::move(on_delta));
    loop_.Post([self = shared_from_this(), call = std::move(call)] { self->Start(call); });
  }

 private:
  HttpRequest RequestOf(std::string body) const {
    HttpRequest request{.method = "POST", .url = endpoint_.base_url + std::string(wire_.path)};
    request.headers = wire_.headers(endpoint_.api_key);
    request.headers.push_back("Content-Type: application/json");
    request.headers.push_back(endpoint_.stream ? "Accept: text/event-stream"
                                               : "Accept: application/json");
    request.headers.insert(request.headers.end(), endpoint_.headers.begin(),
                           endpoint_.headers.end());
    request.body = std::move(body);
    request.timeout = endpoint_.total_timeout;
    request.connect_timeout = endpoint_.connect_timeout;
    if (endpoint_.stream) request.idle_timeout = endpoint_.idle_timeout;
    request.verify_tls = endpoint_.verify_tls;
    request.ca_file = endpoint_.ca_file;
    return request;
  }

  void Start(const CallPtr& call) {
    if (closed_ || call->stop.stop_requested()) return End(call);
    calls_.insert(call);
    call->request.on_bytes = [this, call](const HttpReply& head, std::string_view bytes) {
      return OnBytes(*call, head, bytes);
    };
    call->http = loop_.Send(std::move(call->request), [this, call](StatusOr<HttpReply> reply) {
      OnEnd(call, std::move(reply));
    });
    call->on_stop.emplace(call->stop, [weak = weak_from_this(), call = std::weak_ptr(call)] {
      const auto self = weak.lock();
      if (!self) return;
      self->loop_.Post([self, call] {
        if (const CallPtr alive = call.lock()) self->End(alive);
      });
    });
  }

  // Whatever it was doing, the caller wants no more of it.
  void End(const CallPtr& call) {
    if (!call->done) return;
    loop_.Cancel(call->http);
    Error error = MakeError(ErrorClass::kCanceled,
                            closed_ ? "the client is closed" : "the call was canceled");
    error.partial = call->reader->begun();
    Finish(call, std::move(error));
  }

  void EndAll() {
    closed_ = true;
    for (const CallPtr& call : std::set<CallPtr>(calls_)) End(call);
  }

  // False: the call is over.
  bool OnBytes(Call& call, const HttpReply& head, std::string_view bytes) {
    if (!std::exchange(call.started, true)) {
      const bool json = head.Header("content-type").find("json") != std::string::npos;
      call.whole = json || !endpoint_.stream;
      call.request_id = internal::RequestIdOf(head);
    }
    call.received += bytes.size();
    if (call.received > endpoint_.response_max) {
      call.error = MakeError(ErrorClass::kTooLarge, "the answer is larger than response_max");
      return false;
    }
    if (call.whole) {
      call.body += bytes;
      return true;
    }
    call.events.Feed(bytes);
    for (internal::SseEvent event; !call.error && call.events.Next(&event);) {
      call.error = call.reader->OnEvent(event);
    }
    return !call.error;
  }

  void OnEnd(const CallPtr& call, StatusOr<HttpReply> reply) {
    if (!call->done) return;
    internal::ResponseReader& reader = *call->reader;
    const bool is_200 = reply.ok() && reply->status == 200;
    if (is_200 && call->whole && !call->error) call->error = reader.OnBody(call->body);
    if (call->error) {
      call->error->http_status = 200;
      if (call->error->request_id.empty()) call->error->request_id = call->request_id;
      call->error->partial = reader.begun();
      return Finish(call, *std::move(call->error));
    }
    if (reply.ok() && !is_200) {
      return Finish(call, internal::ErrorOfReply(*reply, HttpLoop::WallClock().Now()));
    }
    // If the answer has its end, a connection that breaks behind it does no harm.
    if (reader.complete()) return Finish(call, reader.Take());
    const bool partial = reader.begun() || !call->body.empty();
    if (!reply.ok()) return Finish(call, internal::ErrorOfCall(reply.status(), partial));
    Error error = MakeError(ErrorClass::kTruncated, "the stream ended before the answer did");
    error.request_id = call->request_id;
    error.http_status = 200;
    error.partial = partial;
    Finish(call, std::move(error));
  }

  void Finish(const CallPtr& call, ChatResult result) {
    calls_.erase(call);
    call->on_stop.reset();
    if (auto* error = std::get_if<Error>(&result)) Redact(error);
    std::exchange(call->done, nullptr)(std::move(result));
  }

  // Some providers repeat the key that they refuse.
  void Redact(Error* error) const {
    for (std::string* text : {&error->message, &error->code, &error->request_id}) {
      for (const std::string& secret : secrets_) {
        constexpr std::string_view kInstead = "[secret]";
        for (size_t at = 0; (at = text->find(secret, at)) != text->npos; at += kInstead.size()) {
          text->replace(at, secret.size(), kInstead);
        }
      }
    }
  }

  const Endpoint endpoint_;
  const internal::Wire& wire_;
  std::vector<std::string> secrets_;
  std::set<CallPtr> calls_;
  bool closed_ = false;
  HttpLoop loop_;
};

StatusOr<std::shared_ptr<Client>> Client::Open(Endpoint endpoint) {
  if (Status status = CheckEndpoint(&endpoint); !status.ok()) return status;
  auto calls = std::make_shared<Calls>(std::move(endpoint));
  calls->Open();
  return std::shared_ptr<Client>(new Client(std::move(calls)));
}

Client::Client(std::shared_ptr<Calls> calls) : calls_(std::move(calls)) {}

Client::~Client() { calls_->Close(); }

void Client::Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) {
  calls_->Chat(request, std::move(stop), std::move(on_delta), std::move(done));
}

}  // namespace marathon::inline MARATHON_ABI::llm
