// needs: sqs
// Credentials from every place they may come from, over loopback doubles of the services: variables, shared
// files, a process, a container's agent, an instance's metadata service; and their refreshing.
// program: sqs
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "../../src/adapters/sqs/client.h"
#include "../../src/adapters/sqs/credentials.h"
#include "../../src/net/http_text.h"
#include "../http_double.h"

namespace marathon::detail::sqs_credentials_test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using tests::DoubleReply;
using tests::DoubleRequest;
using tests::HttpDouble;

constexpr auto kPatience = std::chrono::seconds(60);

constexpr const char* kAnswer = R"({"Code":"Success","AccessKeyId":"AKID","SecretAccessKey":"THE SECRET",
  "Token":"THE TOKEN","Expiration":"2026-11-25T12:00:00Z"})";

constexpr const char* kOneLine = R"({"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"S"})";

class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() {
    std::string name = "/tmp/marathon-aws-XXXXXX";
    folder_ = mkdtemp(name.data());
    variables_["HOME"] = folder_;
    variables_["AWS_EC2_METADATA_DISABLED"] = "true";
    loop_.Start(nullptr);
  }
  ~CredentialsTest() override {
    loop_.Stop();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  AwsVariables Variables() const {
    return [variables = variables_](const std::string& name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      if (found == variables.end()) return std::nullopt;
      return found->second;
    };
  }
  void WriteFile(const std::string& name, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(folder_ + "/" + name).parent_path());
    std::ofstream(folder_ + "/" + name) << text;
  }
  StatusOr<AwsCredentials> Fetch(CredentialProvider& provider) {
    std::promise<StatusOr<AwsCredentials>> promise;
    loop_.Post([&] {
      provider.Fetch([&](StatusOr<AwsCredentials> fetched) { promise.set_value(std::move(fetched)); });
    });
    auto future = promise.get_future();
    EXPECT_EQ(future.wait_for(kPatience), std::future_status::ready);
    return future.get();
  }
  // By the whole chain.
  StatusOr<AwsCredentials> Find(const std::string& profile = "") {
    auto provider = FindCredentials(loop_, Variables(), ReadAwsProfile(Variables(), profile),
                                    !profile.empty());
    if (!provider.ok()) return provider.status();
    return Fetch(**provider);
  }

  std::string folder_;
  std::map<std::string, std::string> variables_;
  HttpLoop loop_;
};

TEST_F(CredentialsTest, FromVariables) {
  variables_["AWS_ACCESS_KEY_ID"] = "AKID";
  EXPECT_THAT(Find().status().ToString(), HasSubstr("half of a key"));
  variables_["AWS_SECRET_ACCESS_KEY"] = "secret";
  variables_["AWS_SESSION_TOKEN"] = "token";
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->keys.id, "AKID");
  EXPECT_EQ(found->keys.secret, "secret");
  EXPECT_EQ(found->keys.token, "token");
}

TEST_F(CredentialsTest, FromSharedFiles) {
  WriteFile(".aws/credentials",
            "# mine\n[default]\naws_access_key_id = A1 \naws_secret_access_key=S1\n"
            "[other]\naws_access_key_id=A2\naws_secret_access_key=S2\naws_session_token=T2\n");
  WriteFile(".aws/config",
            "[default]\nregion = eu-north-1 # home\n[profile other]\nregion=us-west-2\n"
            "s3 =\n  endpoint_url = http://s3\nendpoint_url=http://127.0.0.1:1\n");
  EXPECT_EQ(Find()->keys.id, "A1");
  EXPECT_EQ(Find()->keys.secret, "S1");
  EXPECT_EQ(Find("other")->keys.token, "T2");
  variables_["AWS_PROFILE"] = "other";
  EXPECT_EQ(Find()->keys.id, "A2");
  EXPECT_EQ(Find("default")->keys.id, "A1");
  EXPECT_THAT(Find("nobody").status().ToString(), HasSubstr("in no file"));
  variables_["AWS_ACCESS_KEY_ID"] = "A3";
  variables_["AWS_SECRET_ACCESS_KEY"] = "S3";
  EXPECT_EQ(Find()->keys.id, "A3") << "variables come first";
  EXPECT_EQ(Find("other")->keys.id, "A2") << "but not before a profile that is named";
}

TEST_F(CredentialsTest, SharedFilesAreReadAgain) {
  WriteFile(".aws/credentials", "[default]\naws_access_key_id=A1\naws_secret_access_key=S1\n");
  const auto provider = FindCredentials(loop_, Variables(), ReadAwsProfile(Variables(), ""), false);
  ASSERT_TRUE(provider.ok()) << provider.status();
  EXPECT_EQ(Fetch(**provider)->keys.id, "A1");
  WriteFile(".aws/credentials", "[default]\naws_access_key_id=A2\naws_secret_access_key=S2\n");
  EXPECT_EQ(Fetch(**provider)->keys.id, "A2");
  WriteFile(".aws/credentials", "[default]\n");
  EXPECT_THAT(Fetch(**provider).status().ToString(), HasSubstr("no keys any more"));
}

TEST_F(CredentialsTest, OtherFilesCanBeNamed) {
  WriteFile("keys", "[default]\naws_access_key_id=A\naws_secret_access_key=S\n");
  variables_["AWS_SHARED_CREDENTIALS_FILE"] = folder_ + "/keys";
  EXPECT_EQ(Find()->keys.id, "A");
}

TEST_F(CredentialsTest, WhatIsNotSupportedIsSaid) {
  WriteFile(".aws/config", "[default]\nrole_arn=arn:x\nsource_profile=y\n");
  EXPECT_THAT(Find().status().ToString(), HasSubstr("credential_process"));
  WriteFile(".aws/config", "[default]\nrole_arn=arn:x\nsource_profile=default\n"
                           "aws_access_key_id=A\naws_secret_access_key=S\n");
  EXPECT_EQ(Find().status().code(), StatusCode::kInvalidArgument) << "the keys are those of another";
  WriteFile(".aws/config", "[default]\nrole_arn=arn:x\ncredential_process=echo '" + std::string(kOneLine) + "'\n");
  EXPECT_EQ(Find()->keys.id, "AKID");
}

// As EKS sets it for a service account with a role.
TEST_F(CredentialsTest, AWebIdentityIsNotReplacedByTheMachinesOwn) {
  int asked = 0;
  HttpDouble metadata([&](const DoubleRequest&) {
    ++asked;
    return DoubleReply{.body = kAnswer};
  });
  variables_.erase("AWS_EC2_METADATA_DISABLED");
  variables_["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = metadata.url();
  variables_["AWS_WEB_IDENTITY_TOKEN_FILE"] = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";
  variables_["AWS_ROLE_ARN"] = "arn:aws:iam::123456789012:role/x";
  const Status status = Find().status();
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(), ::testing::AllOf(HasSubstr("AWS_WEB_IDENTITY_TOKEN_FILE"),
                                                  HasSubstr("credential_process")));
  EXPECT_EQ(asked, 0);
  WriteFile(".aws/config", "[default]\ncredential_process=echo '" + std::string(kOneLine) + "'\n");
  EXPECT_EQ(Find()->keys.id, "AKID") << "what the error advises";
}

TEST_F(CredentialsTest, NoneAtAllIsSaid) {
  EXPECT_THAT(Find().status().ToString(), HasSubstr("AWS_ACCESS_KEY_ID"));
}

// ---- A process

TEST_F(CredentialsTest, FromAProcess) {
  WriteFile("answer", std::string(R"({"Version":1,"AccessKeyId":"AKID","SecretAccessKey":"S",)") +
                          R"("SessionToken":"T","Expiration":"2026-11-25T12:00:00.123Z"})");
  WriteFile(".aws/config", "[default]\ncredential_process = cat '" + folder_ + "/answer'\n");
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->keys.token, "T");
  EXPECT_EQ(found->expires, *ParseAwsTime("2026-11-25T12:00:00Z"));
}

TEST_F(CredentialsTest, AProcessThatFailsIsSaid) {
  EXPECT_THAT(Fetch(*ProcessCredentials(loop_, "echo THE SECRET; exit 3")).status().ToString(),
              ::testing::AllOf(HasSubstr("failed"), Not(HasSubstr("THE SECRET"))));
  EXPECT_THAT(Fetch(*ProcessCredentials(loop_, "echo THE SECRET")).status().ToString(),
              ::testing::AllOf(HasSubstr("did not answer"), Not(HasSubstr("THE SECRET"))));
}

// ---- A container's agent

TEST_F(CredentialsTest, FromAContainersAgent) {
  std::string path, authorization;
  HttpDouble agent([&](const DoubleRequest& request) {
    path = request.path;
    authorization = request.headers.contains("authorization") ? request.headers.at("authorization") : "";
    return DoubleReply{.body = kAnswer};
  });
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = agent.url() + "/keys?id=7";
  ASSERT_TRUE(Find().ok());
  EXPECT_EQ(path, "/keys?id=7");
  EXPECT_EQ(authorization, "");
  variables_["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "Basic x";
  EXPECT_EQ(Find()->keys.id, "AKID");
  EXPECT_EQ(authorization, "Basic x");
  WriteFile("token", "Bearer y\n");
  variables_["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = folder_ + "/token";
  EXPECT_EQ(Find()->keys.token, "THE TOKEN");
  EXPECT_EQ(authorization, "Bearer y");
  WriteFile("token", "a\r\nX-Evil: b");
  EXPECT_THAT(Find().status().ToString(), HasSubstr("one line"));
}

TEST_F(CredentialsTest, AContainersAgentByItsPathAlone) {
  EXPECT_FALSE(FindContainerUrl(Variables())->has_value());
  variables_["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/v2/credentials/7";
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://localhost/not-this";
  EXPECT_EQ(*FindContainerUrl(Variables()), "http://169.254.170.2/v2/credentials/7");
  variables_["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "@example.com/";
  EXPECT_THAT(Find().status().ToString(), HasSubstr("is no path")) << "and no name before another host";
}

TEST_F(CredentialsTest, ContainersAgentsAreNotAnywhere) {
  for (const char* url : {"http://example.com/", "http://10.0.0.1/", "http://127.0.0.1.example.com/",
                          "http://169.254.169.254/", "ftp://localhost/"}) {
    variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = url;
    const auto provider =
        FindCredentials(loop_, Variables(), ReadAwsProfile(Variables(), ""), false);
    const bool allowed = std::string_view(url).starts_with("ftp://localhost");  // curl refuses it
    EXPECT_EQ(provider.ok(), allowed) << url;
    if (allowed) {
      EXPECT_FALSE(Fetch(**provider).ok());
    }
  }
}

TEST_F(CredentialsTest, AnAgentThatRefusesIsSaid) {
  HttpDouble agent([](const DoubleRequest&) { return DoubleReply{.status = 404, .body = "THE SECRET"}; });
  variables_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = agent.url();
  const Status status = Find().status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), ::testing::AllOf(HasSubstr("404"), Not(HasSubstr("THE SECRET"))));
}

// ---- An instance

TEST_F(CredentialsTest, FromAnInstance) {
  std::vector<std::string> asked;
  HttpDouble metadata([&](const DoubleRequest& request) {
    asked.push_back(request.method + " " + request.path);
    if (request.path == "/latest/api/token") {
      EXPECT_EQ(request.headers.at("x-aws-ec2-metadata-token-ttl-seconds"), "21600");
      return DoubleReply{.body = "session"};
    }
    if (!request.headers.contains("x-aws-ec2-metadata-token")) return DoubleReply{.status = 401};
    EXPECT_EQ(request.headers.at("x-aws-ec2-metadata-token"), "session");
    if (request.path.ends_with("/security-credentials/")) return DoubleReply{.body = "my-role\n"};
    return DoubleReply{.body = kAnswer};
  });
  variables_.erase("AWS_EC2_METADATA_DISABLED");
  variables_["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = metadata.url() + "/";
  const auto found = Find();
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->keys.secret, "THE SECRET");
  EXPECT_THAT(asked, ::testing::ElementsAre(
                         "PUT /latest/api/token", "GET /latest/meta-data/iam/security-credentials/",
                         "GET /latest/meta-data/iam/security-credentials/my-role"));
}

TEST_F(CredentialsTest, VersionOneOfTheMetadataIsNeverUsed) {
  int others = 0;
  HttpDouble metadata([&](const DoubleRequest& request) {
    if (request.path == "/latest/api/token") return DoubleReply{.status = 403};
    ++others;
    return DoubleReply{.body = kAnswer};
  });
  EXPECT_FALSE(Fetch(*InstanceCredentials(loop_, metadata.url())).ok());
  EXPECT_EQ(others, 0);
}

// ---- Keeping them

class TurnedClock final : public Clock {
 public:
  Time Now() const override { return now; }
  Time now = *ParseAwsTime("2026-11-25T10:00:00Z");
};

class CountingProvider final : public CredentialProvider {
 public:
  explicit CountingProvider(int* count) : count_(count) {}
  void Fetch(Done<AwsCredentials> done) override {
    ++*count_;
    if (fails) return done(Unavailable("away"));
    done(AwsCredentials{{"id" + std::to_string(*count_), "s", ""}, expires});
  }
  bool fails = false;
  Time expires = *ParseAwsTime("2026-11-25T11:00:00Z");

 private:
  int* const count_;
};

TEST(CredentialCacheTest, FetchesAnewBeforeTheyExpire) {
  TurnedClock clock;
  int fetched = 0;
  auto owned = std::make_unique<CountingProvider>(&fetched);
  CountingProvider& provider = *owned;
  CredentialCache cache(std::move(owned), clock);
  const auto get = [&] {
    std::string id = "none";
    cache.Get([&](const StatusOr<AwsKeys>& keys) {
      id = keys.ok() ? keys->id : std::string(MessageOf(keys.status()));
    });
    return id;
  };
  EXPECT_EQ(get(), "id1");
  EXPECT_EQ(get(), "id1");
  clock.now += std::chrono::minutes(54);
  EXPECT_EQ(get(), "id1");
  provider.fails = true;
  clock.now += std::chrono::minutes(2);
  EXPECT_EQ(get(), "id1") << "they are good for four minutes yet";
  EXPECT_EQ(get(), "id1");
  EXPECT_EQ(fetched, 2) << "and not asked for at every call";
  provider.fails = false;
  provider.expires += std::chrono::hours(1);
  clock.now += std::chrono::seconds(2);
  EXPECT_EQ(get(), "id3");
  EXPECT_FALSE(cache.Expire()) << "there can be no newer ones";
  EXPECT_EQ(get(), "id3");
  clock.now += std::chrono::seconds(2);
  EXPECT_TRUE(cache.Expire());
  EXPECT_EQ(get(), "id4") << "the server said that they are no good";
  provider.fails = true;
  clock.now += std::chrono::hours(3);
  EXPECT_EQ(get(), "away");
  EXPECT_EQ(get(), "away");
  EXPECT_EQ(fetched, 5);
}

// A source that answers when the test says so.
class LateProvider final : public CredentialProvider {
 public:
  explicit LateProvider(std::vector<Done<AwsCredentials>>* asked) : asked_(asked) {}
  void Fetch(Done<AwsCredentials> done) override { asked_->push_back(std::move(done)); }

 private:
  std::vector<Done<AwsCredentials>>* const asked_;
};

class LateCredentialsTest : public ::testing::Test {
 protected:
  // Asks for keys; `answers_` says what came, in order.
  void Get() {
    cache_.Get([this](const StatusOr<AwsKeys>& keys) {
      answers_.push_back(keys.ok() ? keys->id : std::string(MessageOf(keys.status())));
    });
  }
  void Answer(StatusOr<AwsCredentials> credentials) {
    ASSERT_FALSE(asked_.empty());
    auto done = std::move(asked_.back());
    asked_.pop_back();
    done(std::move(credentials));
  }
  AwsCredentials Keys(const std::string& id, Duration good_for) const {
    return {{id, "s", ""}, clock_.now + good_for};
  }

  TurnedClock clock_;
  std::vector<Done<AwsCredentials>> asked_;
  CredentialCache cache_{std::make_unique<LateProvider>(&asked_), clock_};
  std::vector<std::string> answers_;
};

TEST_F(LateCredentialsTest, TheFirstKeysAreWaitedFor) {
  Get();
  Get();
  EXPECT_TRUE(answers_.empty());
  EXPECT_EQ(asked_.size(), 1u) << "one question is enough";
  Answer(Keys("a", std::chrono::hours(1)));
  EXPECT_EQ(answers_, (std::vector<std::string>{"a", "a"}));
}

TEST_F(LateCredentialsTest, NobodyWaitsForNewKeysWhileTheOldAreGood) {
  Get();
  Answer(Keys("a", std::chrono::hours(1)));
  clock_.now += std::chrono::minutes(56);
  Get();
  EXPECT_EQ(answers_, (std::vector<std::string>{"a", "a"})) << "at once";
  ASSERT_EQ(asked_.size(), 1u) << "and behind it there is a question";
  clock_.now += std::chrono::minutes(3);
  Get();
  EXPECT_EQ(answers_.size(), 3u);
  EXPECT_EQ(asked_.size(), 1u);
  Answer(Keys("b", std::chrono::hours(1)));
  Get();
  EXPECT_EQ(answers_.back(), "b");
}

TEST_F(LateCredentialsTest, OnceTheOldAreNoGoodTheNewAreWaitedFor) {
  Get();
  Answer(Keys("a", std::chrono::hours(1)));
  clock_.now += std::chrono::minutes(59);
  Get();
  clock_.now += std::chrono::minutes(2);
  Get();
  EXPECT_EQ(answers_, (std::vector<std::string>{"a", "a"}));
  Answer(Unavailable("away"));
  EXPECT_EQ(answers_.back(), "away");
}

// Ours is twenty minutes behind: what seems good for 24 is good for 4, as soon as the server has told its time.
TEST_F(CredentialsTest, KeysExpireByTheServersClock) {
  HttpDouble sqs([](const DoubleRequest& request) {
    if (request.headers.at("x-amz-date").starts_with("20261125T1020")) return DoubleReply{.body = "{}"};
    return DoubleReply{.status = 403, .body = R"({"__type":"RequestTimeTooSkewed"})",
                       .headers = {{"Date", "Wed, 25 Nov 2026 10:20:00 GMT"}}};
  });
  const TurnedClock clock;
  int fetched = 0;
  auto provider = std::make_unique<CountingProvider>(&fetched);
  provider->expires = clock.now + std::chrono::minutes(24);
  std::unique_ptr<SqsClient> client;
  std::promise<SqsClient::Reply> promise;
  loop_.Post([&] {
    client = std::make_unique<SqsClient>(loop_, SqsAddress{"eu-west-1", sqs.url()}, std::move(provider), clock);
    client->Send("ListQueues", nlohmann::json::object(), std::chrono::seconds(5),
                 [&](SqsClient::Reply reply) { promise.set_value(std::move(reply)); });
  });
  auto future = promise.get_future();
  ASSERT_EQ(future.wait_for(kPatience), std::future_status::ready);
  EXPECT_TRUE(future.get().ok());
  EXPECT_EQ(fetched, 2);
  loop_.Stop();  // before the client goes
}

// ---- Region and endpoint

TEST(AwsEnvironmentTest, RegionAndEndpoint) {
  std::map<std::string, std::string> set;
  const AwsVariables variables = [&](const std::string& name) -> std::optional<std::string> {
    return set.contains(name) ? std::optional(set[name]) : std::nullopt;
  };
  AwsProfile profile;
  EXPECT_FALSE(FindAwsRegion(variables, profile).ok());
  profile.values["region"] = "a";
  EXPECT_EQ(*FindAwsRegion(variables, profile), "a");
  set["AWS_DEFAULT_REGION"] = "b";
  EXPECT_EQ(*FindAwsRegion(variables, profile), "b");
  set["AWS_REGION"] = "c";
  EXPECT_EQ(*FindAwsRegion(variables, profile), "c");

  EXPECT_EQ(FindSqsEndpoint(variables, profile, "eu-west-1"), "https://sqs.eu-west-1.amazonaws.com");
  EXPECT_EQ(FindSqsEndpoint(variables, profile, "cn-north-1"),
            "https://sqs.cn-north-1.amazonaws.com.cn");
  profile.values["endpoint_url"] = "https://p";
  EXPECT_EQ(FindSqsEndpoint(variables, profile, "x"), "https://p");
  set["AWS_ENDPOINT_URL"] = "https://a";
  EXPECT_EQ(FindSqsEndpoint(variables, profile, "x"), "https://a");
  set["AWS_ENDPOINT_URL_SQS"] = "https://s";
  EXPECT_EQ(FindSqsEndpoint(variables, profile, "x"), "https://s");
  set["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true";
  EXPECT_EQ(FindSqsEndpoint(variables, profile, "x"), "https://sqs.x.amazonaws.com");
}

TEST(AwsEnvironmentTest, TimesAndHosts) {
  EXPECT_EQ(*ParseHttpDate("Wed, 25 Nov 2026 04:00:00 GMT"), *ParseAwsTime("2026-11-25T04:00:00Z"));
  EXPECT_FALSE(ParseHttpDate("yesterday").has_value());
  EXPECT_FALSE(ParseAwsTime("").has_value());
  EXPECT_EQ(HostOfUrl("http://u@[::1]:80/x"), "::1");
  EXPECT_EQ(HostOfUrl("https://sqs.x.amazonaws.com:443"), "sqs.x.amazonaws.com");
  EXPECT_TRUE(IsLoopback("127.0.0.1") && IsLoopback("localhost") && IsLoopback("::1"));
  EXPECT_FALSE(IsLoopback("127.0.0.1.example.com") || IsLoopback("10.0.0.1") || IsLoopback(""));
}

}  // namespace
}  // namespace marathon::detail::sqs_credentials_test
