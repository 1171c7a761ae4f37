// Where an SQS queue's AWS keys come from, and that they are fetched anew before they expire.
//
// On the loop's thread only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "aws_environment.h"
#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"
#include "marathon/time.h"
#include "sigv4.h"
#include "src/net/http_loop.h"

namespace marathon::inline MARATHON_ABI::detail {

struct AwsCredentials {
  AwsKeys keys;
  Time expires = kNever;
};

// Fetches keys each time it is asked.
class CredentialProvider {
 public:
  virtual ~CredentialProvider() = default;
  virtual void Fetch(Done<AwsCredentials> done) = 0;
};

// The first of these that applies: variables, the profile (keys, or a credential_process), a container's
// endpoint, an instance's metadata service (version 2 only). An error says why none does.
StatusOr<std::unique_ptr<CredentialProvider>> FindCredentials(HttpLoop& loop,
                                                              const AwsVariables& variables,
                                                              const AwsProfile& profile,
                                                              bool profile_is_named);

std::unique_ptr<CredentialProvider> FixedCredentials(AwsKeys keys);

// ---- Its parts, for tests
StatusOr<std::optional<std::string>> FindContainerUrl(const AwsVariables& variables);  // none: there is no container
std::unique_ptr<CredentialProvider> ProcessCredentials(HttpLoop& loop, std::string command);
std::unique_ptr<CredentialProvider> ContainerCredentials(HttpLoop& loop, std::string url,
                                                         AwsVariables variables);
std::unique_ptr<CredentialProvider> InstanceCredentials(HttpLoop& loop, std::string endpoint);

// What endpoints and processes answer; the two call some fields by other names.
StatusOr<AwsCredentials> ParseCredentials(std::string_view json, std::string_view source);

// Keeps keys, and fetches new ones in time, behind the calls that still use the old ones.
class CredentialCache {
 public:
  CredentialCache(std::unique_ptr<CredentialProvider> provider, const Clock& clock)
      : provider_(std::move(provider)), clock_(clock) {}

  void Get(Done<AwsKeys> done);
  // The server refuses them: the next Get fetches. False: they are only just fetched.
  bool Expire();

 private:
  bool AreGoodFor(Duration time) const;
  bool HasJustTried() const;
  void Refresh();
  void OnFetched(StatusOr<AwsCredentials> fetched);

  const std::unique_ptr<CredentialProvider> provider_;
  const Clock& clock_;
  AwsCredentials current_{{}, Time{}};
  bool fetching_ = false;
  Time try_after_{};
  Status error_;
  std::vector<Done<AwsKeys>> waiting_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
