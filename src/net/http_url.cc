#include "src/net/http_url.h"

#include <curl/curl.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

using Handle = std::unique_ptr<CURLU, void (*)(CURLU*)>;

// Empty: it has none.
std::string PartOf(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

// Spaces, line ends and what else no URL has; bytes beyond ASCII are the library's to read.
bool HasControls(const std::string& text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c <= ' ') || c == 0x7f; });
}

StatusOr<HttpUrl> Read(CURLU* url) {
  HttpUrl read;
  const std::string scheme = PartOf(url, CURLUPART_SCHEME);
  read.tls = scheme == "https";
  if (!read.tls && scheme != "http") return InvalidArgument("the URL is refused: only http and https are called");
  if (!PartOf(url, CURLUPART_USER).empty() || !PartOf(url, CURLUPART_PASSWORD).empty()) {
    return InvalidArgument("the URL is refused: it has a user or a password");
  }
  std::string host = LowerCase(PartOf(url, CURLUPART_HOST));
  const std::string port = PartOf(url, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
  read.origin = scheme + "://" + host + (port.empty() ? "" : ":" + port);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  while (host.ends_with('.')) host.pop_back();
  if (host.empty()) return InvalidArgument("the URL has no host");
  read.host = std::move(host);
  curl_url_set(url, CURLUPART_FRAGMENT, nullptr, 0);
  read.text = PartOf(url, CURLUPART_URL);
  return read;
}

// `flags`: CURLU_NON_SUPPORT_SCHEME, so that other schemes are told from nonsense.
Status Set(CURLU* url, const std::string& text) {
  if (HasControls(text)) {
    return InvalidArgument("the URL has a space, a line end or the like: they are written as %20 and so on");
  }
  const CURLUcode code = curl_url_set(url, CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME);
  if (code != CURLUE_OK) return InvalidArgument(std::string("not a URL: ") + curl_url_strerror(code));
  return {};
}

}  // namespace

StatusOr<HttpUrl> ParseHttpUrl(const std::string& text) {
  const Handle url(curl_url(), curl_url_cleanup);
  if (Status status = Set(url.get(), text); !status.ok()) return status;
  return Read(url.get());
}

StatusOr<HttpUrl> ResolveHttpUrl(const HttpUrl& base, const std::string& reference) {
  const Handle url(curl_url(), curl_url_cleanup);
  if (Status status = Set(url.get(), base.text); !status.ok()) return status;
  if (Status status = Set(url.get(), reference); !status.ok()) return status;
  return Read(url.get());
}

}  // namespace marathon::inline MARATHON_ABI::detail
