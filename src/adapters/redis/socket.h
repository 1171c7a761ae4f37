// RedisSocket: a connection's bytes, over TCP or a Unix socket, with TLS where asked for.
//
// Never blocks, but for the lookup of a host name in Connect. One thread at a time.
#pragma once

#include <netdb.h>
#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <string_view>

#include "address.h"
#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::detail {

// Every error is kUnavailable and says where and why.
class RedisSocket {
 public:
  // Begins to connect. `address` outlives the socket.
  static StatusOr<std::unique_ptr<RedisSocket>> Connect(const RedisAddress& address);
  ~RedisSocket();
  RedisSocket(const RedisSocket&) = delete;
  RedisSocket& operator=(const RedisSocket&) = delete;

  int fd() const { return fd_; }
  // What poll() should wait for; `output`: there is something to write.
  short Events(bool output) const;

  // Goes on connecting. True: done.
  StatusOr<bool> Finish();
  // How many bytes went; 0: not now. At the end of the stream, Read is an error.
  StatusOr<size_t> Write(std::string_view bytes);
  StatusOr<size_t> Read(char* buffer, size_t size);

 private:
  explicit RedisSocket(const RedisAddress& address) : address_(address) {}

  Status Begin();           // to the next of the host's addresses
  Status BeginUnix();
  Status StartTls();
  StatusOr<size_t> TlsResult(int result, const char* what);
  Status Error(std::string_view what) const;

  const RedisAddress& address_;
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> found_{nullptr, freeaddrinfo};
  const addrinfo* next_ = nullptr;
  int fd_ = -1;
  bool connected_ = false;  // as far as the transport goes
  bool wants_write_ = true; // TLS, or the connect, waits for room to write
  std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context_{nullptr, SSL_CTX_free};
  std::unique_ptr<SSL, void (*)(SSL*)> tls_{nullptr, SSL_free};
};

}  // namespace marathon::inline MARATHON_ABI::detail
