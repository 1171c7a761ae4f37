#include "socket.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

bool IsIpAddress(const std::string& host) {
  in6_addr buffer;
  return inet_pton(AF_INET, host.c_str(), &buffer) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &buffer) == 1;
}

// A peer that vanished without a word is noticed after half a minute, although nothing is sent.
void SetKeepAlive(int fd) {
  const int on = 1, idle_seconds = 15, interval_seconds = 5, probes = 3;
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

// OpenSSL's own words for what went wrong last.
std::string TlsError() {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "the server closed the connection";
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("OpenSSL error {:#x}", code);
}

// Whether what went wrong last is that the server does not let this client in: it shows no certificate, or another one.
bool IsAboutOurCertificate() {
  const unsigned long code = ERR_peek_error();
  if (ERR_GET_LIB(code) != ERR_LIB_SSL) return false;
  switch (ERR_GET_REASON(code)) {
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return true;
    default:
      return false;
  }
}

}  // namespace

StatusOr<std::vector<RedisEndpoint>> RedisSocket::Lookup(const RedisAddress& address) {
  const auto failed = [&](std::string_view why) {
    return Unavailable(fmt::format("no connection to Redis at {}: {}", address.Name(), why));
  };
  std::vector<RedisEndpoint> endpoints;
  if (!address.socket.empty()) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (address.socket.size() >= sizeof name.sun_path) return failed("the path is too long");
    std::copy(address.socket.begin(), address.socket.end(), name.sun_path);
    std::memcpy(&endpoints.emplace_back().name, &name, sizeof name);
    endpoints.back().size = sizeof name;
    return endpoints;
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(address.host.c_str(), address.port.c_str(), &hints, &found);
  if (error != 0) return failed(gai_strerror(error));
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    std::memcpy(&endpoints.emplace_back().name, one->ai_addr, one->ai_addrlen);
    endpoints.back().size = one->ai_addrlen;
  }
  freeaddrinfo(found);
  return endpoints;
}

StatusOr<std::unique_ptr<RedisSocket>> RedisSocket::Connect(const RedisAddress& address,
                                                            std::vector<RedisEndpoint> endpoints, size_t first) {
  std::unique_ptr<RedisSocket> socket(new RedisSocket(address, std::move(endpoints), first));
  if (Status status = socket->Begin(); !status.ok()) return status;
  return socket;
}

RedisSocket::~RedisSocket() {
  tls_.reset();
  if (fd_ >= 0) close(fd_);
}

Status RedisSocket::Error(std::string_view what) const {
  return Unavailable(fmt::format("no connection to Redis at {}: {}", address_.Name(), what));
}

Status RedisSocket::Refusal(std::string_view what) const {
  return FailedPrecondition(fmt::format("no connection to Redis at {}: {}", address_.Name(), what));
}

Status RedisSocket::Begin() {
  int error = ETIMEDOUT;
  tls_.reset();
  connected_ = false;
  wants_write_ = true;
  while (left_ > 0) {
    --left_;
    endpoint_ = next_++ % endpoints_.size();
    const RedisEndpoint& to = endpoints_[endpoint_];
    if (fd_ >= 0) close(fd_);
    fd_ = socket(to.name.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd_ < 0) {
      error = errno;
      continue;
    }
    if (to.name.ss_family != AF_UNIX) {
      const int on = 1;
      setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      SetKeepAlive(fd_);
    }
    if (connect(fd_, reinterpret_cast<const sockaddr*>(&to.name), to.size) == 0 || errno == EINPROGRESS) return {};
    error = errno;
  }
  return Error(std::strerror(error));
}

StatusOr<bool> RedisSocket::Finish() {
  if (!connected_) {
    pollfd state{fd_, POLLOUT, 0};
    if (poll(&state, 1, 0) == 0) return false;
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0) {
      if (left_ == 0) return Error(std::strerror(error));
      if (Status status = Begin(); !status.ok()) return status;
      return false;
    }
    connected_ = true;
    wants_write_ = false;
    if (address_.tls) {
      if (Status status = StartTls(); !status.ok()) return status;
    }
  }
  if (tls_ == nullptr) return true;
  const StatusOr<size_t> done = TlsResult(SSL_connect(tls_.get()), "the TLS handshake");
  if (!done.ok()) return done.status();
  return *done > 0;
}

Status RedisSocket::StartTls() {
  context_.reset(SSL_CTX_new(TLS_client_method()));
  if (context_ == nullptr) return Error(TlsError());
  SSL_CTX_set_min_proto_version(context_.get(), TLS1_2_VERSION);
  SSL_CTX_set_verify(context_.get(), SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_mode(context_.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  const std::string& ca = address_.ca_file;
  const int trusted = ca.empty() ? SSL_CTX_set_default_verify_paths(context_.get())
                                 : SSL_CTX_load_verify_file(context_.get(), ca.c_str());
  if (trusted != 1) return Refusal(fmt::format("certificates of {}: {}", ca, TlsError()));
  const std::string& cert = address_.cert_file;
  const std::string& key = address_.key_file;
  if (!cert.empty() && SSL_CTX_use_certificate_chain_file(context_.get(), cert.c_str()) != 1) {
    return Refusal(fmt::format("this client's certificate of {}: {}", cert, TlsError()));
  }
  if (!key.empty() && SSL_CTX_use_PrivateKey_file(context_.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return Refusal(fmt::format("the key {} of this client's certificate: {}", key, TlsError()));
  }
  tls_.reset(SSL_new(context_.get()));
  if (tls_ == nullptr || SSL_set_fd(tls_.get(), fd_) != 1) return Error(TlsError());
  if (IsIpAddress(address_.host)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls_.get()), address_.host.c_str());
  } else {
    SSL_set1_host(tls_.get(), address_.host.c_str());
    SSL_set_tlsext_host_name(tls_.get(), address_.host.c_str());
  }
  return {};
}

// `result` of SSL_connect, SSL_read or SSL_write as this class answers.
StatusOr<size_t> RedisSocket::TlsResult(int result, const char* what) {
  wants_write_ = false;
  if (result > 0) return static_cast<size_t>(result);
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      return size_t{0};
    case SSL_ERROR_WANT_READ:
      return size_t{0};
    default: {
      const long verified = SSL_get_verify_result(tls_.get());
      if (verified != X509_V_OK) {
        ERR_clear_error();
        return Refusal(fmt::format("its certificate is not trusted: {}",
                                   X509_verify_cert_error_string(verified)));
      }
      if (IsAboutOurCertificate()) {
        return Refusal(fmt::format("it does not accept this client's certificate ({}): give it one that it trusts with "
                                   "cert=FILE and key=FILE", TlsError()));
      }
      return Error(fmt::format("{} failed: {}", what, TlsError()));
    }
  }
}

short RedisSocket::Events(bool output) const {
  if (!connected_) return POLLOUT;
  return static_cast<short>(POLLIN | (output || wants_write_ ? POLLOUT : 0));
}

StatusOr<size_t> RedisSocket::Write(std::string_view bytes) {
  if (tls_ != nullptr) {
    const int size = static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX));
    return TlsResult(SSL_write(tls_.get(), bytes.data(), size), "writing");
  }
  const ssize_t count = send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (count >= 0) return static_cast<size_t>(count);
  if (errno == EAGAIN || errno == EINTR) return size_t{0};
  return Error(std::strerror(errno));
}

StatusOr<size_t> RedisSocket::Read(char* buffer, size_t size) {
  if (tls_ != nullptr) {
    return TlsResult(SSL_read(tls_.get(), buffer, static_cast<int>(std::min<size_t>(size, INT_MAX))),
                     "reading");
  }
  const ssize_t count = recv(fd_, buffer, size, 0);
  if (count > 0) return static_cast<size_t>(count);
  if (count == 0) return Error("the server closed the connection");
  if (errno == EAGAIN || errno == EINTR) return size_t{0};
  return Error(std::strerror(errno));
}

}  // namespace marathon::inline MARATHON_ABI::detail
