#include "src/net/http_transfer.h"

#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

constexpr size_t kHeadMax = 256u << 10;

StatusCode CodeOf(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
      return StatusCode::kUnavailable;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return StatusCode::kFailedPrecondition;
    case CURLE_OPERATION_TIMEDOUT:
      return StatusCode::kDeadlineExceeded;
    default:
      return StatusCode::kUnknown;
  }
}

}  // namespace

int64_t SteadyMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string HttpReply::Header(const std::string& name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string() : found->second;
}

HttpTransfer::HttpTransfer(HttpRequest the_request, HttpLoop::Id id,
                           Callback<void(StatusOr<HttpReply>)> on_done)
    : request(std::move(the_request)), done(std::move(on_done)) {
  for (const std::string& header : request.headers) {
    headers_ = curl_slist_append(headers_, header.c_str());
  }
  // Bodies are small, so there is no asking whether they are welcome.
  headers_ = curl_slist_append(headers_, "Expect:");
  curl_easy_setopt(easy, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_);
  curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.method == "HEAD") curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);  // or it would wait for one
  if (request.method == "POST" || !request.body.empty()) {
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    if (request.once && !request.body.empty()) {  // a reader that cannot go back: curl fails instead of sending again
      curl_easy_setopt(easy, CURLOPT_POST, 1L);
      curl_easy_setopt(easy, CURLOPT_READFUNCTION, OnSend);
      curl_easy_setopt(easy, CURLOPT_READDATA, this);
    } else {
      curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.data());
    }
  }
  curl_easy_setopt(easy, CURLOPT_PRIVATE, reinterpret_cast<void*>(id));
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, request.verify_tls ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, request.verify_tls ? 2L : 0L);
  if (!request.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, request.ca_file.c_str());
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
  if (request.direct) curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  if (request.once && request.body.empty()) curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
  curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);  // or the loop would wait for a name that nobody wants any more
#endif
  if (request.refuse != nullptr) {
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, OpenSocket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, this);
  }
}

HttpTransfer::~HttpTransfer() {
  curl_easy_cleanup(easy);
  curl_slist_free_all(headers_);
}

void HttpTransfer::ReadStatus() {
  long status = 0;
  curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
  reply.status = static_cast<int>(status);
}

void HttpTransfer::Finish(CURLcode code) {
  ReadStatus();
  if (code == CURLE_OK || broken_ == Broken::kCut) {
    done(std::move(reply));
  } else if (code == CURLE_COULDNT_CONNECT && !refused_.empty()) {
    done(FailedPrecondition("an address of the host must not be called: " + std::string(refused_)));
  } else if (broken_ == Broken::kTooLarge) {
    const bool head = head_bytes_ > kHeadMax;
    done(ResourceExhausted((head ? "the reply's headers are larger than " : "the reply is larger than ") +
                           std::to_string(head ? kHeadMax : request.body_max) + " bytes"));
  } else if (broken_ == Broken::kByReader) {
    done(Cancelled("the reader wants no more"));
  } else {
    done(MakeStatus(CodeOf(code), curl_easy_strerror(code)));
  }
}

size_t HttpTransfer::OnSend(char* bytes, size_t, size_t room, void* self) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  const size_t size = transfer.request.body.copy(bytes, room, transfer.sent_);
  transfer.sent_ += size;
  return size;
}

size_t HttpTransfer::OnBody(char* bytes, size_t, size_t size, void* self) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  HttpReply& reply = transfer.reply;
  transfer.last_byte = SteadyMicros();
  if (reply.status == 0) transfer.ReadStatus();
  if (reply.status == 200 && transfer.request.on_bytes) {
    if (transfer.request.on_bytes(reply, {bytes, size})) return size;
    transfer.broken_ = Broken::kByReader;
    return 0;
  }
  if (reply.body.size() + size > transfer.request.body_max) {
    transfer.broken_ = transfer.request.cut ? Broken::kCut : Broken::kTooLarge;
    reply.cut = true;
    reply.body.append(bytes, transfer.request.body_max - reply.body.size());
    return 0;
  }
  reply.body.append(bytes, size);
  return size;
}

size_t HttpTransfer::OnHeader(char* bytes, size_t, size_t size, void* self) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  transfer.last_byte = SteadyMicros();
  transfer.head_bytes_ += size;
  if (transfer.head_bytes_ > kHeadMax) {
    transfer.broken_ = Broken::kTooLarge;
    return 0;
  }
  const std::string_view line(bytes, size);
  if (line.starts_with("HTTP/")) transfer.reply.headers.clear();  // those of a 100 are no more
  const size_t colon = line.find(':');
  if (colon == line.npos) return size;
  std::string name(line.substr(0, colon));
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const size_t from = line.find_first_not_of(" \t", colon + 1);
  const size_t end = line.find_last_not_of("\r\n\t ");
  transfer.reply.headers[std::move(name)] =
      from != line.npos && end >= from ? line.substr(from, end + 1 - from) : std::string_view();
  return size;
}

curl_socket_t HttpTransfer::OpenSocket(void* self, curlsocktype, curl_sockaddr* address) {
  HttpTransfer& transfer = *static_cast<HttpTransfer*>(self);
  const std::string_view refused = transfer.request.refuse(address->addr);
  if (refused.empty()) return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
  transfer.refused_ = refused;
  return CURL_SOCKET_BAD;
}

}  // namespace marathon::inline MARATHON_ABI::detail
