// SqsBackend: from a URL to a queue.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "marathon/adapters/sqs.h"
#include "marathon/limits.h"
#include "queue.h"
#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI {
namespace {

constexpr size_t kPrefixMax = 40;
constexpr std::chrono::seconds kVisibilityMax{43'200};  // of SQS

bool IsOf(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || more.find(c) != more.npos;
  });
}

StatusOr<bool> ReadFlag(const BackendUrl& url, std::string_view key) {
  const auto text = url.Find(key);
  if (!text || *text == "false") return false;
  if (*text == "true") return true;
  return InvalidArgument(fmt::format("{}={}: write true or false", key, *text));
}

// sqs://REGION/ACCOUNT/PREFIX, or sqs:///ACCOUNT/PREFIX
Status ReadPlace(const BackendUrl& url, detail::SqsSettings* settings) {
  constexpr std::string_view kForm = "write sqs://REGION/ACCOUNT/PREFIX";
  std::string_view path = url.path;
  if (url.host.empty() && path.starts_with('/')) path.remove_prefix(1);
  const size_t slash = path.find('/');
  if (slash == path.npos) return InvalidArgument(fmt::format("an SQS queue needs more: {}", kForm));
  settings->account = path.substr(0, slash);
  settings->prefix = path.substr(slash + 1);
  if (!IsOf(settings->account, "") || settings->account.size() != 12 ||
      settings->account.find_first_not_of("0123456789") != settings->account.npos) {
    return InvalidArgument(fmt::format("ACCOUNT is the 12 digits of an AWS account: {}", kForm));
  }
  if (!IsOf(settings->prefix, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-") ||
      settings->prefix.size() > kPrefixMax) {
    return InvalidArgument(
        fmt::format("PREFIX has 1 to {} of the characters A-Z a-z 0-9 _ -", kPrefixMax));
  }
  settings->address.region = url.host;
  if (!url.host.empty() && !IsOf(url.host, "-")) {
    return InvalidArgument(fmt::format("\"{}\" is not the name of an AWS region", url.host));
  }
  return {};
}

Status ReadEndpoint(const BackendUrl& url, const detail::AwsVariables& variables,
                    const detail::AwsProfile& profile, detail::SqsAddress* address) {
  if (address->region.empty()) {
    StatusOr<std::string> region = detail::FindAwsRegion(variables, profile);
    if (!region.ok()) return region.status();
    address->region = *std::move(region);
  }
  const auto said = url.Find("endpoint");
  address->endpoint =
      said ? std::string(*said) : detail::FindSqsEndpoint(variables, profile, address->region);
  while (address->endpoint.ends_with('/')) address->endpoint.pop_back();
  const StatusOr<bool> insecure = ReadFlag(url, "insecure");
  if (!insecure.ok()) return insecure.status();
  const std::string host = detail::HostOfUrl(address->endpoint);
  const bool https = address->endpoint.starts_with("https://");
  if (host.empty() || (!https && !address->endpoint.starts_with("http://"))) {
    return InvalidArgument("the SQS endpoint is not an http or https URL");
  }
  const std::string_view rest = std::string_view(address->endpoint).substr(https ? 8 : 7);
  if (rest.find_first_of("/?#@ \r\n") != rest.npos) {
    return InvalidArgument("the SQS endpoint is a host and a port, with nothing behind them");
  }
  if (!https && !detail::IsLoopback(host) && !*insecure) {
    return InvalidArgument(
        fmt::format("the SQS endpoint on {} is not https: say insecure=true if it must be so", host));
  }
  return {};
}

Status ReadTimes(const BackendUrl& url, const SqsOptions& options, detail::SqsSettings* settings) {
  settings->visibility = options.visibility;
  settings->long_poll = options.long_poll;
  if (settings->visibility < std::chrono::seconds(1) || settings->visibility > kVisibilityMax) {
    return InvalidArgument(fmt::format("SqsOptions::visibility is {} ms: 1 s to 12 h, in whole seconds",
                                       settings->visibility.count()));
  }
  if (url.Find("visibility")) {
    int64_t seconds = 0;
    if (Status status = url.ReadNumber("visibility", 5, kVisibilityMax.count(), &seconds); !status.ok()) {
      return InvalidArgument(fmt::format("{}, of seconds", MessageOf(status)));
    }
    settings->visibility = std::chrono::seconds(seconds);
  }
  settings->long_poll = std::clamp<Duration>(settings->long_poll, Duration(0),
                                             std::chrono::seconds(20));
  return {};
}

StatusOr<Ports> OpenSqs(const BackendUrl& url, const SqsOptions& options, Runtime& runtime) {
  Status status = url.CheckParameters(
      {"namespace", "endpoint", "insecure", "create", "visibility", "profile"});
  if (!status.ok()) return status;
  if (!url.user.empty() || !url.password.empty()) {
    return InvalidArgument("an sqs: URL has no user: see SqsOptions and docs/sqs.md for credentials");
  }
  const detail::AwsVariables variables = detail::ProcessVariables();
  const auto named = url.Find("profile");
  const detail::AwsProfile profile =
      detail::ReadAwsProfile(variables, std::string(named.value_or("")));
  detail::SqsSettings settings;
  status = ReadPlace(url, &settings);
  if (status.ok()) status = ReadEndpoint(url, variables, profile, &settings.address);
  if (status.ok()) status = ReadTimes(url, options, &settings);
  if (!status.ok()) return status;
  const StatusOr<bool> create = ReadFlag(url, "create");
  if (!create.ok()) return create.status();
  settings.create = *create;
  settings.name_space = url.Find("namespace").value_or("default");
  if (settings.name_space.empty() || settings.name_space.size() > limits::kMaxNameBytes) {
    return InvalidArgument(fmt::format("a namespace has 1 to {} bytes", limits::kMaxNameBytes));
  }
  settings.log = options.log;
  settings.clock = options.clock;
  if (options.access_key_id.empty() != options.secret_access_key.empty()) {
    return InvalidArgument("SqsOptions has half of a key: both id and secret are needed");
  }
  auto make = [&](detail::HttpLoop& loop) -> StatusOr<std::unique_ptr<detail::CredentialProvider>> {
    if (!options.access_key_id.empty()) {
      return detail::FixedCredentials(
          {options.access_key_id, options.secret_access_key, options.session_token});
    }
    return detail::FindCredentials(loop, variables, profile, named.has_value());
  };
  auto queue = detail::SqsQueue::Open(std::move(settings), std::move(make), runtime);
  if (!queue.ok()) return queue.status();
  return Ports{nullptr, *std::move(queue)};
}

}  // namespace

Backend SqsBackend(SqsOptions defaults) {
  return Backend{"sqs", [defaults = std::move(defaults)](const BackendUrl& url, Runtime& runtime) {
                   return OpenSqs(url, defaults, runtime);
                 }};
}

}  // namespace marathon::inline MARATHON_ABI
