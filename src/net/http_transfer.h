// HttpTransfer: one call of an HttpLoop, around curl's handle for it.
//
// On the loop's thread only.
#pragma once

#include <curl/curl.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/status.h"
#include "src/net/http_loop.h"

namespace marathon::inline MARATHON_ABI::detail {

// The loop's clock.
int64_t SteadyMicros();

struct HttpTransfer {
  // `id` comes back as curl's private pointer.
  HttpTransfer(HttpRequest the_request, HttpLoop::Id id, Callback<void(StatusOr<HttpReply>)> on_done);
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;
  ~HttpTransfer();

  // Calls `done` with what curl came to.
  void Finish(CURLcode code);

  HttpRequest request;
  HttpReply reply;
  Callback<void(StatusOr<HttpReply>)> done;
  CURL* const easy = curl_easy_init();
  int64_t last_byte = SteadyMicros();  // when it came
  HttpLoop::Id idle_timer = 0;

 private:
  static size_t OnSend(char* bytes, size_t, size_t room, void* self);
  static size_t OnBody(char* bytes, size_t, size_t size, void* self);
  static size_t OnHeader(char* bytes, size_t, size_t size, void* self);
  static curl_socket_t OpenSocket(void* self, curlsocktype, curl_sockaddr* address);
  void ReadStatus();

  enum class Broken : uint8_t { kNo, kTooLarge, kCut, kByReader };
  Broken broken_ = Broken::kNo;
  std::string_view refused_;  // what the address is that was not called
  size_t sent_ = 0;  // of the body, if it is sent once
  size_t head_bytes_ = 0;
  curl_slist* headers_ = nullptr;
};

}  // namespace marathon::inline MARATHON_ABI::detail
