// needs: sqs
// The signature on AWS's own examples: those of its published test suite for Signature Version 4 (of the
// aws-c-auth project, Apache License 2.0), and the worked one of its documentation. And the formats that
// are for good: names of queues, bodies of messages.
// program: sqs
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "../../src/adapters/sqs/aws_environment.h"
#include "../../src/adapters/sqs/client.h"
#include "../../src/adapters/sqs/names.h"
#include "../../src/adapters/sqs/sigv4.h"

namespace marathon::detail::sqs_sigv4_test {
namespace {

const AwsKeys kKeys{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", ""};
const HttpHeaders kHost{{"Host", "example.amazonaws.com"}};

Time ExampleTime() { return *ParseAwsTime("2015-08-30T12:36:00Z"); }

std::string SignatureOf(const AwsRequest& request, const std::string& service = "service",
                        const AwsKeys& keys = kKeys) {
  const HttpHeaders headers = SignAwsRequest(request, keys, {"us-east-1", service}, ExampleTime());
  const std::string& line = headers.back().second;
  return line.substr(line.rfind('=') + 1);
}

TEST(SigV4Test, SignsAwsExamples) {
  EXPECT_EQ(SignatureOf({.method = "GET", .headers = kHost}),  // get-vanilla
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31");
  EXPECT_EQ(SignatureOf({.headers = kHost}),  // post-vanilla
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
  HttpHeaders form = kHost;
  form.emplace_back("Content-Type", "application/x-www-form-urlencoded");
  EXPECT_EQ(SignatureOf({.headers = form, .body = "Param1=value1"}),  // post-x-www-form-urlencoded
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a");
  HttpHeaders mixed = kHost;
  mixed.emplace_back("My-Header1", "value1");  // post-header-key-sort
  EXPECT_EQ(SignatureOf({.headers = mixed}),
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c");
}

TEST(SigV4Test, SignsTheExampleOfTheDocumentation) {
  const HttpHeaders headers{{"host", "iam.amazonaws.com"},
                            {"content-type", "application/x-www-form-urlencoded; charset=utf-8"}};
  EXPECT_EQ(SignatureOf({.method = "GET",
                         .query = "Action=ListUsers&Version=2010-05-08",
                         .headers = headers},
                        "iam"),
            "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
}

TEST(SigV4Test, SpacesAndTheOrderOfHeadersDoNotCount) {
  EXPECT_EQ(SignatureOf({.headers = {{"b", "  x   y "}, {"host", "h"}, {"a", "1"}}}),
            SignatureOf({.headers = {{"A", "1"}, {"Host", "h"}, {"B", "x y"}}}));
}

TEST(SigV4Test, ATokenIsSignedToo) {
  AwsKeys keys = kKeys;
  keys.token = "token";
  const HttpHeaders headers =
      SignAwsRequest({.headers = kHost}, keys, {"us-east-1", "service"}, ExampleTime());
  ASSERT_EQ(headers.size(), 3u);
  EXPECT_EQ(headers[0].second, "20150830T123600Z");
  EXPECT_EQ(headers[1], (std::pair<std::string, std::string>("x-amz-security-token", "token")));
  EXPECT_NE(headers[2].second.find("SignedHeaders=host;x-amz-date;x-amz-security-token,"),
            std::string::npos);
  EXPECT_NE(SignatureOf({.headers = kHost}, "service", keys), SignatureOf({.headers = kHost}));
}

// ---- Names and bodies

TEST(NamesTest, QueueNamesAreThoseOfSqsAndNoTwoAlike) {
  EXPECT_EQ(SqsQueueName("app", "default", TaskKind::kTurn, "default"), "app-default-turn-default");
  EXPECT_EQ(SqsQueueName("app", "n", TaskKind::kActivity, "gpu@v1"), "app-n-activity-gpu_40v1");
  std::set<std::string> names;
  const std::string longer(200, 'x');
  for (const std::string& ns : {std::string("n"), std::string("n-turn"), longer}) {
    for (const std::string& queue :
         {std::string("q"), std::string("turn-q"), std::string("q_"), std::string("q_5f"),
          std::string("\xc3\xa4"), longer, longer + "y"}) {
      for (const TaskKind kind : {TaskKind::kTurn, TaskKind::kActivity}) {
        const std::string name = SqsQueueName("app", ns, kind, queue);
        EXPECT_LE(name.size(), 80u);
        EXPECT_EQ(name.find_first_not_of("0123456789abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ_-"),
                  std::string::npos)
            << name;
        EXPECT_TRUE(names.insert(name).second) << name;
      }
    }
  }
}

TEST(NamesTest, HintsAreWrittenAsIdsInAscii) {
  const TaskHint turn{TaskKind::kTurn, "q", {"order \"7\" \xf0\x9f\x98\x80", "r"}, 0, 0, "s1"};
  const std::string body = EncodeSqsHint(turn);
  EXPECT_EQ(body, R"({"p":"s1","r":"r","v":1,"w":"order \"7\" \ud83d\ude00"})");
  EXPECT_EQ(*DecodeSqsHint(body, TaskKind::kTurn, "q"), turn);
  const TaskHint activity{TaskKind::kActivity, "q", {"w", "r"}, 7, 3, "", "Charge"};
  EXPECT_EQ(EncodeSqsHint(activity), R"({"a":7,"e":3,"r":"r","t":"Charge","v":1,"w":"w"})");
  EXPECT_EQ(*DecodeSqsHint(EncodeSqsHint(activity), TaskKind::kActivity, "q"), activity);
  TaskHint urgent = activity;
  urgent.priority = 1;
  EXPECT_EQ(EncodeSqsHint(urgent), R"({"a":7,"e":3,"n":1,"r":"r","t":"Charge","v":1,"w":"w"})");
  EXPECT_EQ(*DecodeSqsHint(EncodeSqsHint(urgent), TaskKind::kActivity, "q"), urgent);
}

TEST(NamesTest, OtherBodiesAreNoHints) {
  for (const char* body :
       {"", "x", "[]", "{}", "null", R"({"v":1})", R"({"v":1,"w":"w","r":1})", R"({"v":"1","w":"w","r":"r"})",
        R"({"v":0,"w":"w","r":"r"})", R"({"v":1,"w":"w","r":"r")", "\xff\xfe"}) {
    EXPECT_EQ(DecodeSqsHint(body, TaskKind::kTurn, "q").status().code(),
              StatusCode::kInvalidArgument)
        << body;
  }
  EXPECT_FALSE(DecodeSqsHint(R"({"v":1,"w":"w","r":"r","a":1})", TaskKind::kActivity, "q").ok());
  EXPECT_EQ(DecodeSqsHint(R"({"v":2,"w":"w","r":"r"})", TaskKind::kTurn, "q").status().code(),
            StatusCode::kUnimplemented);
}

// ---- Errors

TEST(ErrorsTest, ErrorsAreSorted) {
  const auto code = [](int status, const std::string& type) {
    return SqsError("X", status, R"({"__type":"com.amazonaws.sqs#)" + type + "\"}").code();
  };
  EXPECT_EQ(code(400, "QueueDoesNotExist"), StatusCode::kNotFound);
  EXPECT_EQ(code(400, "AWS.SimpleQueueService.NonExistentQueue"), StatusCode::kNotFound);
  EXPECT_EQ(code(400, "ThrottlingException"), StatusCode::kUnavailable);
  EXPECT_EQ(code(400, "RequestThrottled"), StatusCode::kUnavailable);
  EXPECT_EQ(code(403, "OverLimit"), StatusCode::kUnavailable);
  EXPECT_EQ(code(503, ""), StatusCode::kUnavailable);
  EXPECT_EQ(code(403, "AccessDeniedException"), StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(400, "InvalidAttributeValue"), StatusCode::kInvalidArgument);
  EXPECT_EQ(SqsError("X", 500, "<html>").code(), StatusCode::kUnavailable);
  EXPECT_EQ(SqsError("X", 302, "").code(), StatusCode::kUnknown);
  const Status signature = SqsError(
      "X", 403, R"({"__type":"SignatureDoesNotMatch","message":"x-amz-security-token:SECRET"})");
  EXPECT_EQ(signature.code(), StatusCode::kFailedPrecondition);
  EXPECT_EQ(signature.ToString().find("SECRET"), std::string::npos) << signature;
}

}  // namespace
}  // namespace marathon::detail::sqs_sigv4_test
