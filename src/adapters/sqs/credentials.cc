// Finding and keeping keys. What fetches them over HTTP or from a process: credential_providers.cc.
#include "credentials.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "src/net/http_text.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// New keys are fetched so long before the old ones expire, and asked for so rarely after a failure.
constexpr Duration kRefreshBefore = std::chrono::minutes(5);
constexpr Duration kRetryAfter = std::chrono::seconds(1);

class Fixed final : public CredentialProvider {
 public:
  explicit Fixed(AwsKeys keys) : keys_(std::move(keys)) {}
  void Fetch(Done<AwsCredentials> done) override { done(AwsCredentials{keys_, kNever}); }

 private:
  const AwsKeys keys_;
};

// Of variables or of a profile; none: it has none.
StatusOr<std::optional<AwsKeys>> KeysOf(std::optional<std::string> id, std::optional<std::string> secret,
                                        std::optional<std::string> token, std::string_view where) {
  if (!id && !secret) return std::optional<AwsKeys>();
  if (!id || !secret) {
    return InvalidArgument(fmt::format("{} has half of a key: both id and secret are needed", where));
  }
  return std::optional(AwsKeys{*std::move(id), *std::move(secret), token.value_or("")});
}

std::string NameOf(const AwsProfile& profile) { return fmt::format("AWS profile \"{}\"", profile.name); }

StatusOr<std::optional<AwsKeys>> KeysOf(const AwsProfile& profile) {
  return KeysOf(profile.Find("aws_access_key_id"), profile.Find("aws_secret_access_key"),
                profile.Find("aws_session_token"), NameOf(profile));
}

// Reads the files each time: whoever rotates the keys writes new ones there.
class ProfileKeys final : public CredentialProvider {
 public:
  ProfileKeys(AwsVariables variables, std::string name) : variables_(std::move(variables)), name_(std::move(name)) {}
  void Fetch(Done<AwsCredentials> done) override {
    const AwsProfile profile = ReadAwsProfile(variables_, name_);
    StatusOr<std::optional<AwsKeys>> keys = KeysOf(profile);
    if (!keys.ok()) return done(keys.status());
    if (!keys->has_value()) return done(FailedPrecondition(NameOf(profile) + " has no keys any more"));
    done(AwsCredentials{**std::move(keys), kNever});
  }

 private:
  const AwsVariables variables_;
  const std::string name_;
};

StatusOr<std::unique_ptr<CredentialProvider>> FromProfile(HttpLoop& loop, const AwsVariables& variables,
                                                          const AwsProfile& profile, bool named) {
  const std::string where = NameOf(profile);
  if (named && !profile.found) return InvalidArgument(where + " is in no file");
  // Beside these, keys are those that the role is asked for with, and not the ones to use.
  std::string_view unknown;
  for (const char* key : {"role_arn", "sso_session", "sso_start_url"}) {
    if (unknown.empty() && profile.Find(key)) unknown = key;
  }
  if (unknown.empty()) {
    const auto keys = KeysOf(profile);
    if (!keys.ok()) return keys.status();
    if (keys->has_value()) return std::make_unique<ProfileKeys>(variables, profile.name);
  }
  if (auto command = profile.Find("credential_process")) {
    return ProcessCredentials(loop, *std::move(command));
  }
  if (!unknown.empty()) {
    return InvalidArgument(fmt::format(
        "{} has {}, which Marathon does not do itself: use a credential_process, such as \"aws "
        "configure export-credentials --profile {}\"",
        where, unknown, profile.name));
  }
  if (named) return InvalidArgument(where + " has no keys");
  return std::unique_ptr<CredentialProvider>();
}

}  // namespace

std::unique_ptr<CredentialProvider> FixedCredentials(AwsKeys keys) {
  return std::make_unique<Fixed>(std::move(keys));
}

StatusOr<std::optional<std::string>> FindContainerUrl(const AwsVariables& variables) {
  if (auto path = variables("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")) {
    if (path->starts_with('/')) return std::optional("http://169.254.170.2" + *path);
    return InvalidArgument("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path: it has to begin with a slash");
  }
  auto url = variables("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!url) return url;
  const std::string host = HostOfUrl(*url);
  const bool trusted = url->starts_with("https://") || IsLoopback(host) || host == "169.254.170.2" ||
                       host == "169.254.170.23" || host == "fd00:ec2::23";
  if (trusted) return url;
  return InvalidArgument(
      "AWS_CONTAINER_CREDENTIALS_FULL_URI is neither https nor an address of this machine or of AWS's agents");
}

StatusOr<std::unique_ptr<CredentialProvider>> FindCredentials(HttpLoop& loop,
                                                              const AwsVariables& variables,
                                                              const AwsProfile& profile,
                                                              bool profile_is_named) {
  if (!profile_is_named) {
    auto keys = KeysOf(variables("AWS_ACCESS_KEY_ID"), variables("AWS_SECRET_ACCESS_KEY"),
                       variables("AWS_SESSION_TOKEN"), "the environment");
    if (!keys.ok()) return keys.status();
    if (keys->has_value()) return FixedCredentials(**std::move(keys));
  }
  auto shared = FromProfile(loop, variables, profile, profile_is_named || variables("AWS_PROFILE").has_value());
  if (!shared.ok() || *shared != nullptr) return shared;
  // What comes now would be of the machine, and have other rights than the pod's role.
  if (variables("AWS_WEB_IDENTITY_TOKEN_FILE")) {
    return InvalidArgument(
        "AWS_WEB_IDENTITY_TOKEN_FILE is set, which Marathon does not use itself: name a profile with a "
        "credential_process, such as \"aws configure export-credentials\", or use EKS Pod Identity");
  }
  StatusOr<std::optional<std::string>> container = FindContainerUrl(variables);
  if (!container.ok()) return container.status();
  if (container->has_value()) return ContainerCredentials(loop, **std::move(container), variables);
  if (variables("AWS_EC2_METADATA_DISABLED").value_or("") == "true") {
    return FailedPrecondition(
        "no AWS credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile");
  }
  return InstanceCredentials(loop, variables("AWS_EC2_METADATA_SERVICE_ENDPOINT")
                                       .value_or("http://169.254.169.254"));
}

StatusOr<AwsCredentials> ParseCredentials(std::string_view text, std::string_view source) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto find = [&](const char* name) -> std::string {
    if (!json.is_object()) return {};
    const auto found = json.find(name);
    return found != json.end() && found->is_string() ? found->get<std::string>() : std::string();
  };
  AwsCredentials credentials;
  credentials.keys = {find("AccessKeyId"), find("SecretAccessKey"), find("Token")};
  if (credentials.keys.token.empty()) credentials.keys.token = find("SessionToken");
  // Nothing of the answer is shown: it may have the secret in a field of another name.
  if (credentials.keys.id.empty() || credentials.keys.secret.empty()) {
    return FailedPrecondition(fmt::format("{} did not answer with AWS credentials", source));
  }
  if (const std::string expiration = find("Expiration"); !expiration.empty()) {
    const auto expires = ParseAwsTime(expiration);
    if (!expires) {
      return FailedPrecondition(fmt::format("{} says an expiration that is no time", source));
    }
    credentials.expires = *expires;
  }
  return credentials;
}

// Nobody waits for new keys while the old ones are good: a source may take a minute, or hang.
void CredentialCache::Get(Done<AwsKeys> done) {
  if (!AreGoodFor(kRefreshBefore)) Refresh();
  if (AreGoodFor(Duration(0))) return done(current_.keys);
  if (!fetching_) return done(error_);
  waiting_.push_back(std::move(done));
}

bool CredentialCache::AreGoodFor(Duration time) const {
  return current_.expires == kNever || clock_.Now() + time < current_.expires;
}

void CredentialCache::Refresh() {
  if (fetching_ || HasJustTried()) return;
  fetching_ = true;
  provider_->Fetch([this](StatusOr<AwsCredentials> fetched) { OnFetched(std::move(fetched)); });
}

// Not if the clock has been set back meanwhile.
bool CredentialCache::HasJustTried() const {
  const auto left = try_after_ - clock_.Now();
  return left > Time::duration(0) && left <= kRetryAfter;
}

bool CredentialCache::Expire() {
  if (HasJustTried()) return false;
  current_.expires = clock_.Now();
  return true;
}

void CredentialCache::OnFetched(StatusOr<AwsCredentials> fetched) {
  fetching_ = false;
  try_after_ = clock_.Now() + kRetryAfter;  // also if they are old already
  if (fetched.ok()) {
    current_ = *std::move(fetched);
    error_ = FailedPrecondition("the AWS credentials have expired, and there are no newer ones");
  } else {
    error_ = fetched.status();
  }
  for (auto& done : std::exchange(waiting_, {})) {
    if (AreGoodFor(Duration(0))) {
      done(current_.keys);
    } else {
      done(error_);
    }
  }
}

}  // namespace marathon::inline MARATHON_ABI::detail
