// Backend URLs: what they mean, and how a bad one is refused.
// program: values
#include "marathon/backend.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace marathon::backend_test {
namespace {

BackendUrl Parsed(std::string_view text) {
  const auto url = ParseBackendUrl(text);
  EXPECT_TRUE(url.ok()) << url.status();
  return url.ok() ? *url : BackendUrl();
}

std::string Refusal(std::string_view text) {
  const auto url = ParseBackendUrl(text);
  EXPECT_EQ(url.status().code(), StatusCode::kInvalidArgument) << text;
  return std::string(MessageOf(url.status()));
}

TEST(BackendUrlTest, ASchemeAlone) {
  const BackendUrl url = Parsed("Memory:");
  EXPECT_EQ(url.scheme, "memory");
  EXPECT_EQ(url.path, "");
  EXPECT_TRUE(url.parameters.empty());
}

TEST(BackendUrlTest, APathWithParameters) {
  const BackendUrl url = Parsed("sqlite:data/app.db?namespace=N&synchronous=full");
  EXPECT_EQ(url.path, "data/app.db");
  EXPECT_EQ(url.host, "");
  EXPECT_EQ(url.Find("namespace"), "N");
  EXPECT_EQ(url.Find("synchronous"), "full");
  EXPECT_EQ(url.Find("other"), std::nullopt);
}

TEST(BackendUrlTest, AbsolutePathsOfBothForms) {
  EXPECT_EQ(Parsed("sqlite:/var/app.db").path, "/var/app.db");
  EXPECT_EQ(Parsed("sqlite:///var/app.db").path, "/var/app.db");
}

TEST(BackendUrlTest, AServerWithUserAndDatabase) {
  const BackendUrl url = Parsed("rediss://me:p%40ss@localhost:6379/0?queue=sqs%3A%2F%2Feu%2F1%2Fq");
  EXPECT_EQ(url.scheme, "rediss");
  EXPECT_EQ(url.user, "me");
  EXPECT_EQ(url.password, "p@ss");
  EXPECT_EQ(url.host, "localhost:6379");
  EXPECT_EQ(url.path, "0");
  EXPECT_EQ(url.Find("queue"), "sqs://eu/1/q");
}

TEST(BackendUrlTest, PercentSignsAreDecodedEverywhere) {
  const BackendUrl url = Parsed("sqlite:100%25%3f.db?a%20b=c%26d");
  EXPECT_EQ(url.path, "100%?.db");
  EXPECT_EQ(url.Find("a b"), "c&d");
}

TEST(BackendUrlTest, BadUrlsSayWhatIsWrong) {
  EXPECT_NE(Refusal("app.db").find("scheme"), std::string::npos);
  EXPECT_NE(Refusal("").find("scheme"), std::string::npos);
  EXPECT_NE(Refusal(":x").find("scheme"), std::string::npos);
  EXPECT_NE(Refusal("1a:x").find("scheme"), std::string::npos);
  EXPECT_NE(Refusal("sqlite:100%.db").find("%25"), std::string::npos);
  EXPECT_NE(Refusal("sqlite:x%4").find("path"), std::string::npos);
  EXPECT_NE(Refusal("sqlite:x%00y").find("zero byte"), std::string::npos);
  EXPECT_NE(Refusal("sqlite:x?namespace").find("key=value"), std::string::npos);
  EXPECT_NE(Refusal("sqlite:x?=v").find("key=value"), std::string::npos);
  EXPECT_NE(Refusal("sqlite:x?a=1&a=2").find("twice"), std::string::npos);
}

TEST(BackendUrlTest, SecretsAreNeverShown) {
  EXPECT_EQ(Refusal("redis://canary:can%ary@host/0").find("can"), std::string::npos);
  const std::string shown = ToString(Parsed("redis://canary:secret@host/0?namespace=N"));
  EXPECT_EQ(shown, "redis://host/0?namespace=N");
}

TEST(BackendUrlTest, UnknownParametersAreNamedWithTheKnown) {
  const BackendUrl url = Parsed("sqlite:x?namspace=N");
  EXPECT_TRUE(url.CheckParameters({"namspace"}).ok());
  const Status refused = url.CheckParameters({"namespace", "synchronous"});
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(MessageOf(refused),
            "\"sqlite:\" has no parameter \"namspace\", only namespace, synchronous");
  EXPECT_EQ(MessageOf(url.CheckParameters({})),
            "\"sqlite:\" takes no parameters, but has \"namspace\"");
}

}  // namespace
}  // namespace marathon::backend_test
