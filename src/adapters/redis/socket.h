// RedisSocket: a connection's bytes, over TCP or a Unix socket, with TLS where asked for.
//
// Never blocks, but for the lookup of a host name. One thread at a time.
#pragma once

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "address.h"
#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// One of the addresses that a server's name stands for.
struct RedisEndpoint {
  sockaddr_storage name{};
  socklen_t size = 0;
};

// Every error says where and why. kFailedPrecondition: a certificate, or the file of one, which trying again does not
// change; all others are kUnavailable.
class RedisSocket {
 public:
  static StatusOr<std::vector<RedisEndpoint>> Lookup(const RedisAddress& address);
  // Begins to connect to one of `endpoints`, which are not none: to number `first`, and to the others if it fails, in a circle.
  // `address` outlives the socket.
  static StatusOr<std::unique_ptr<RedisSocket>> Connect(const RedisAddress& address,
                                                        std::vector<RedisEndpoint> endpoints, size_t first);
  ~RedisSocket();
  RedisSocket(const RedisSocket&) = delete;
  RedisSocket& operator=(const RedisSocket&) = delete;

  int fd() const { return fd_; }
  // The number of the one that it connects to.
  size_t endpoint() const { return endpoint_; }
  // What poll() should wait for; `output`: there is something to write.
  short Events(bool output) const;

  // Goes on connecting. True: done.
  StatusOr<bool> Finish();
  // Gives up this endpoint, which does not answer, for the next one. False: all have been tried.
  bool BeginNext() { return Begin().ok(); }
  // How many bytes went; 0: not now. At the end of the stream, Read is an error.
  StatusOr<size_t> Write(std::string_view bytes);
  StatusOr<size_t> Read(char* buffer, size_t size);

 private:
  RedisSocket(const RedisAddress& address, std::vector<RedisEndpoint> endpoints, size_t first)
      : address_(address), endpoints_(std::move(endpoints)), next_(first), left_(endpoints_.size()) {}

  Status Begin();  // to the next that has not been tried
  Status StartTls();
  StatusOr<size_t> TlsResult(int result, const char* what);
  Status Error(std::string_view what) const;
  Status Refusal(std::string_view what) const;

  const RedisAddress& address_;
  const std::vector<RedisEndpoint> endpoints_;
  size_t next_ = 0, left_ = 0;  // which comes next, in a circle, and how many have not been tried
  size_t endpoint_ = 0;
  int fd_ = -1;
  bool connected_ = false;  // as far as the transport goes
  bool wants_write_ = true; // TLS, or the connect, waits for room to write
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, void (*)(SSL*)> tls_{nullptr, SSL_free};
};

}  // namespace marathon::inline MARATHON_ABI::detail
