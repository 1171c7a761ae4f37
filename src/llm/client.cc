#include "marathon/llm/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "marathon/limits.h"
#include "src/llm/classify.h"
#include "src/llm/paced_call.h"
#include "src/llm/sse_parser.h"
#include "src/llm/wire.h"
#include "src/net/http_loop.h"
#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI::llm {
namespace {

using marathon::detail::HttpLoop;
using marathon::detail::HttpReply;
using marathon::detail::HttpRequest;
using marathon::detail::IsVisible;

constexpr long kConnectionsKept = 256;

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
    if (!marathon::detail::IsHeader(header)) {
      return InvalidArgument("a header of the endpoint is not of the form \"Name: value\"");
    }
  }
  if (std::min({endpoint->connect_timeout, endpoint->idle_timeout, endpoint->total_timeout}) <
      Duration{0}) {
    return InvalidArgument("a timeout of the endpoint is negative");
  }
  for (const int64_t per_minute : {endpoint->requests_per_minute, endpoint->tokens_per_minute}) {
    if (per_minute >= 0 && per_minute <= limits::kLimitMaxAmount) continue;
    return InvalidArgument(fmt::format("{} a minute is not from 0 to {}", per_minute, limits::kLimitMaxAmount));
  }
  return {};
}

struct Call {
  // A client that has closed drops what it has not begun.
  ~Call() {
    if (!done) return;
    Error closed = MakeError(ErrorClass::kCanceled, "the client is closed");
    closed.sent = sent;
    done(std::move(closed));
  }

  // Told of an error, or of none: then the reader has the answer.
  using Done = Callback<void(std::optional<Error>)>;

  HttpRequest request;
  std::stop_token stop;
  Done done;  // empty: answered
  std::shared_ptr<internal::AnswerReader> reader;
  std::shared_ptr<internal::PacedCall> paced;  // null: it goes by no limits
  internal::SseParser events;

  // The loop's own.
  HttpLoop::Id http = 0;  // or the timer of a short wait
  std::optional<std::stop_callback<std::function<void()>>> on_stop;
  bool sent = false;   // the provider may have seen it
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
        secrets_(marathon::detail::SecretsOf(endpoint_.headers, endpoint_.api_key)),
        loop_(kConnectionsKept) {}

  void Open() { loop_.Start(shared_from_this()); }
  void Close() {
    loop_.Post([self = shared_from_this()] { self->EndAll(); });
    loop_.Stop();
  }

  void Chat(const Pace& pace, const ChatRequest& request, std::stop_token stop, OnDelta on_delta,
            OnResult done) {
    auto body = wire_.encode(request, endpoint_);
    if (auto* error = std::get_if<Error>(&body)) return done(std::move(*error));
    std::shared_ptr<internal::ResponseReader> reader = wire_.new_reader(std::move(on_delta));
    auto paced = PacedBy(pace, request);
    auto take = TakeFrom<ChatResult>(reader, paced, std::move(done));
    Begin(RequestOf(wire_.path, std::move(std::get<std::string>(body)), endpoint_.stream), reader,
          std::move(paced), std::move(stop), std::move(take), !endpoint_.stream);
  }

  void Embed(const Pace& pace, const EmbedRequest& request, std::stop_token stop, OnVectors done) {
    if (wire_.encode_embed == nullptr) {
      return done(MakeError(ErrorClass::kBadRequest, "the provider has no embeddings"));
    }
    auto body = wire_.encode_embed(request);
    if (auto* error = std::get_if<Error>(&body)) return done(std::move(*error));
    std::shared_ptr<internal::VectorReader> reader = wire_.new_vector_reader(request.texts.size());
    auto paced = PacedBy(pace, request);
    auto take = TakeFrom<EmbedResult>(reader, paced, std::move(done));
    Begin(RequestOf(wire_.embed_path, std::move(std::get<std::string>(body)), false), reader,
          std::move(paced), std::move(stop), std::move(take), true);
  }

 private:
  template <class Request>
  std::shared_ptr<internal::PacedCall> PacedBy(const Pace& pace, const Request& request) const {
    if (pace.limiter == nullptr) return nullptr;
    return std::make_shared<internal::PacedCall>(pace, endpoint_, request.model, internal::EstimateTokens(request));
  }

  template <class Result, class Reader, class OnAnswer>
  static Call::Done TakeFrom(std::shared_ptr<Reader> reader, std::shared_ptr<internal::PacedCall> paced,
                             OnAnswer done) {
    return [reader = std::move(reader), paced = std::move(paced),
            done = std::move(done)](std::optional<Error> error) mutable {
      if (error) {
        if (!paced) return done(*std::move(error));
        auto tell = [error, done = std::move(done)]() mutable { done(*std::move(error)); };
        return paced->Failed(*error, std::move(tell));
      }
      auto response = reader->Take();
      if (paced) paced->Answered(response.usage);
      done(std::move(response));
    };
  }

  void Begin(HttpRequest request, std::shared_ptr<internal::AnswerReader> reader,
             std::shared_ptr<internal::PacedCall> paced, std::stop_token stop, Call::Done done, bool whole) {
    auto call = std::make_shared<Call>(endpoint_.response_max);
    call->request = std::move(request);
    call->stop = std::move(stop);
    call->done = std::move(done);
    call->reader = std::move(reader);
    call->paced = std::move(paced);
    call->whole = whole;
    loop_.Post([self = shared_from_this(), call = std::move(call)] { self->Start(call); });
  }

  HttpRequest RequestOf(std::string_view path, std::string body, bool stream) const {
    HttpRequest request{.method = "POST", .url = endpoint_.base_url + std::string(path)};
    request.headers = wire_.headers(endpoint_.api_key);
    request.headers.push_back("Content-Type: application/json");
    request.headers.push_back(stream ? "Accept: text/event-stream" : "Accept: application/json");
    request.headers.insert(request.headers.end(), endpoint_.headers.begin(),
                           endpoint_.headers.end());
    request.body = std::move(body);
    request.once = true;  // an answer costs money, and it is the retry policy's to ask again
    request.timeout = endpoint_.total_timeout;
    request.connect_timeout = endpoint_.connect_timeout;
    if (stream) request.idle_timeout = endpoint_.idle_timeout;
    request.verify_tls = endpoint_.verify_tls;
    request.ca_file = endpoint_.ca_file;
    return request;
  }

  void Start(const CallPtr& call) {
    if (closed_ || call->stop.stop_requested()) return End(call);
    calls_.insert(call);
    call->on_stop.emplace(call->stop, [weak = weak_from_this(), call = std::weak_ptr(call)] {
      const auto self = weak.lock();
      if (!self) return;
      self->loop_.Post([self, call] {
        if (const CallPtr alive = call.lock()) self->End(alive);
      });
    });
    call->paced ? Ask(call) : Send(call);
  }

  // Whether the limits let it go; again after a short wait, lest a pause has begun meanwhile.
  void Ask(const CallPtr& call) {
    call->paced->Ask([self = shared_from_this(), call](StatusOr<Permit> permit) {
      self->loop_.Post([self, call, permit = std::move(permit)] {
        if (call->done) self->OnPermit(call, permit);
      });
    });
  }

  void OnPermit(const CallPtr& call, const StatusOr<Permit>& permit) {
    auto next = call->paced->Take(permit);
    if (auto* error = std::get_if<Error>(&next)) {
      error->sent = false;
      return Finish(call, std::move(*error));
    }
    const Duration wait = std::get<Duration>(next);
    if (wait == Duration(0)) return Send(call);
    call->http = loop_.After(wait, [this, call] { Ask(call); });
  }

  void Send(const CallPtr& call) {
    call->sent = true;
    if (call->paced) call->paced->Sent();
    call->request.on_bytes = [this, call](const HttpReply& head, std::string_view bytes) {
      return OnBytes(*call, head, bytes);
    };
    call->http = loop_.Send(std::move(call->request), [this, call](StatusOr<HttpReply> reply) {
      OnEnd(call, std::move(reply));
    });
  }

  // Whatever it was doing, the caller wants no more of it.
  void End(const CallPtr& call) {
    if (!call->done) return;
    loop_.Cancel(call->http);
    Error error = MakeError(ErrorClass::kCanceled,
                            closed_ ? "the client is closed" : "the call was canceled");
    error.partial = call->reader->begun();
    error.sent = call->sent;
    Finish(call, std::move(error));
  }

  void EndAll() {
    closed_ = true;
    for (const CallPtr& call : std::set<CallPtr>(calls_)) End(call);
  }

  // False: the call is over.
  bool OnBytes(Call& call, const HttpReply& head, std::string_view bytes) {
    if (!std::exchange(call.started, true)) {
      if (head.Header("content-type").find("json") != std::string::npos) call.whole = true;
      call.request_id = internal::RequestIdOf(head);
      if (call.paced) call.paced->Heard(head, HttpLoop::WallClock().Now());
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
    internal::AnswerReader& reader = *call->reader;
    const bool is_200 = reply.ok() && reply->status == 200;
    if (is_200 && call->whole && !call->error) call->error = reader.OnBody(call->body);
    if (call->error) {
      call->error->http_status = 200;
      if (call->error->request_id.empty()) call->error->request_id = call->request_id;
      call->error->partial = reader.begun();
      return Finish(call, *std::move(call->error));
    }
    if (reply.ok() && !is_200) {
      if (call->paced) call->paced->Heard(*reply, HttpLoop::WallClock().Now());
      return Finish(call, internal::ErrorOfReply(*reply, HttpLoop::WallClock().Now()));
    }
    // If the answer has its end, a connection that breaks behind it does no harm.
    if (reader.complete()) return Finish(call, std::nullopt);
    const bool partial = reader.begun() || !call->body.empty();
    if (!reply.ok()) return Finish(call, internal::ErrorOfCall(reply.status(), partial));
    Error error = MakeError(ErrorClass::kTruncated, "the stream ended before the answer did");
    error.request_id = call->request_id;
    error.http_status = 200;
    error.partial = partial;
    Finish(call, std::move(error));
  }

  void Finish(const CallPtr& call, std::optional<Error> error) {
    calls_.erase(call);
    call->on_stop.reset();
    if (error) Redact(&*error);
    std::exchange(call->done, nullptr)(std::move(error));
  }

  // Some providers repeat the key that they refuse.
  void Redact(Error* error) const {
    for (std::string* text : {&error->message, &error->code, &error->request_id}) {
      marathon::detail::Redact(secrets_, text);
      marathon::detail::RedactEnd(secrets_, text);  // they are excerpts
    }
  }

  const Endpoint endpoint_;
  const internal::Wire& wire_;
  const std::vector<std::string> secrets_;
  std::set<CallPtr> calls_;
  bool closed_ = false;
  HttpLoop loop_;
};

StatusOr<Endpoint> EndpointFromEnvironment() {
  const auto value_of = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value != nullptr ? value : "");
  };
  Endpoint endpoint{.base_url = value_of("OPENAI_BASE_URL"), .api_key = value_of("OPENAI_API_KEY")};
  if (endpoint.base_url.empty() && endpoint.api_key.empty()) {
    endpoint = {.protocol = Protocol::kAnthropic, .base_url = value_of("ANTHROPIC_BASE_URL"),
                .api_key = value_of("ANTHROPIC_API_KEY")};
  }
  if (!endpoint.base_url.empty() || !endpoint.api_key.empty()) return endpoint;
  return NotFound("the environment names no models: set OPENAI_API_KEY or ANTHROPIC_API_KEY, or OPENAI_BASE_URL "
                  "for a server of your own");
}

StatusOr<std::shared_ptr<Client>> Client::Open(Endpoint endpoint) {
  if (Status status = CheckEndpoint(&endpoint); !status.ok()) return status;
  auto calls = std::make_shared<Calls>(std::move(endpoint));
  calls->Open();
  return std::shared_ptr<Client>(new Client(std::move(calls)));
}

Client::Client(std::shared_ptr<Calls> calls) : calls_(std::move(calls)) {}

Client::~Client() { calls_->Close(); }

void Client::Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) {
  ChatWithin({}, std::move(request), std::move(stop), std::move(on_delta), std::move(done));
}

void Client::ChatWithin(Pace pace, ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) {
  calls_->Chat(pace, request, std::move(stop), std::move(on_delta), std::move(done));
}

void Client::Embed(EmbedRequest request, std::stop_token stop, OnVectors done) {
  EmbedWithin({}, std::move(request), std::move(stop), std::move(done));
}

void Client::EmbedWithin(Pace pace, EmbedRequest request, std::stop_token stop, OnVectors done) {
  calls_->Embed(pace, request, std::move(stop), std::move(done));
}

}  // namespace marathon::inline MARATHON_ABI::llm
