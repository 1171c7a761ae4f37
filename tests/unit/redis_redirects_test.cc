// needs: redis
// program: stores
// Steps that a server of a cluster sends to another one ("ASK") while their slot is on the move, over doubles: what a real
// cluster of this version does not say, or only at the wrong moment. tests/workflow/redis_move_test.cc has a real one.
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "../answers.h"
#include "../redis_double.h"
#include "marathon/adapters/redis.h"
#include "marathon/marathon.h"
#include "marathon/runtime/thread_runtime.h"

namespace marathon::tests::redis_redirects_test {
namespace {

using ::testing::ElementsAre;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr auto kPatience = std::chrono::seconds(120);
constexpr std::string_view kAbsent = "marathon:{default:0}:absent";

// A source that has all slots, and a target to which it sends steps while `moving_`.
class RedisRedirectsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    source_ = std::make_unique<RedisDouble>([this](const RedisWords& command) { return AnswerOfSource(command); });
    target_ = std::make_unique<RedisDouble>([this](const RedisWords& command) { return AnswerOfTarget(command); });
    const std::string all = RedisArray({":0\r\n", ":16383\r\n", RedisArray({RedisBulk("127.0.0.1"), ":" + source_->port() + "\r\n"})});
    source_->With([&] {
      healthy_.slots = RedisArray({all});
      of_source_ = "ASK 77 " + target_->place();
    });
  }
  void Open(const std::string& parameters = "") {
    ports_ = {};
    source_->With([&] { moving_ = false; });
    const auto url = ParseBackendUrl("redis://" + source_->place() + "/0" + parameters);
    auto ports = RedisBackend({.log = nullptr}).open(*url, runtime_);
    ASSERT_TRUE(ports.ok()) << ports.status();
    ports_ = *ports;
    source_->With([&] {
      moving_ = true;
      at_source_.clear();
    });
  }
  StatusOr<RunSnapshot> Read() {
    return Await<StatusOr<RunSnapshot>>([&](auto done) { ports_.store->Read({.run = {"w", "r"}}, done); });
  }
  StatusOr<StartReply> Start(const std::string& id = "w") {
    StartRequest start;
    start.run = {id, "r"};
    start.workflow_type = start.request_id = "w";
    start.messages.push_back({0, "", WorkflowStarted{.workflow_type = "w"}});
    return Await<StatusOr<StartReply>>([&](auto done) { ports_.store->Start(start, done); });
  }

  // What has been asked of a server beyond its greeting, in order.
  std::vector<RedisWords> AtSource() {
    std::vector<RedisWords> all;
    source_->With([&] { all = at_source_; });
    return all;
  }
  std::vector<RedisWords> AtTarget() {
    std::vector<RedisWords> all;
    target_->With([&] { all = at_target_; });
    return all;
  }
  static std::vector<std::string> NamesOf(const std::vector<RedisWords>& commands) {
    std::vector<std::string> names;
    for (const RedisWords& command : commands) names.push_back(command[0]);
    return names;
  }

  std::string AnswerOfSource(const RedisWords& command) {
    if (command.empty()) return "";
    if (Has(command, "ZRANGE")) return healthy_.Answer(command);  // what is due, asked for at any time
    at_source_.push_back(command);
    if (!moving_) return healthy_.Answer(command);
    if (command[0] == "EXISTS" && command[1] == left_) return ":1\r\n";
    return IsStep(command) || command[0] == "EXISTS" ? RedisError(of_source_)
                                                     : healthy_.Answer(command);
  }
  std::string AnswerOfTarget(const RedisWords& command) {
    if (command.empty()) return ++connections_, "";
    if (command[0] == "PING") return "+PONG\r\n";
    at_target_.push_back(command);
    if (IsStep(command) && !of_target_.empty()) {
      return std::exchange(of_target_, once_ ? "" : of_target_);
    }
    return healthy_.Answer(command);
  }

  ThreadRuntime runtime_{1, 1};
  HealthyRedis healthy_;  // of both
  // Of the source.
  bool moving_ = false;
  std::string left_;       // a key that is still there
  std::string of_source_;  // what it answers then
  std::vector<RedisWords> at_source_;
  // Of the target.
  std::string of_target_;  // what it answers to steps, if it does not do them
  bool once_ = false;
  int connections_ = 0;
  std::vector<RedisWords> at_target_;
  std::unique_ptr<RedisDouble> source_, target_;
  Ports ports_;  // before the servers go
};

TEST_F(RedisRedirectsTest, AStepGoesBehindAskingToWhereItIsSentAndTheNextOneBegins) {
  Open();
  EXPECT_EQ(Read().status().code(), StatusCode::kNotFound) << "by the target, which holds nothing";
  const auto there = AtTarget();
  ASSERT_THAT(NamesOf(there), ElementsAre("ASKING", "EVALSHA"));
  EXPECT_EQ(there[1][2], "1") << "a server that is about to get a slot refuses several keys of which some are missing";
  EXPECT_EQ(there[1][3], kAbsent);
  // Each key of the step has been looked for.
  const auto here = AtSource();
  ASSERT_THAT(here, SizeIs(::testing::Ge(3u)));
  const std::vector<std::string> keys(here[0].begin() + 3, here[0].begin() + 3 + std::stoi(here[0][2]));
  std::vector<std::string> looked;
  for (size_t i = 1; i < here.size(); ++i) {
    EXPECT_EQ(here[i][0], "EXISTS");
    looked.push_back(here[i][1]);
  }
  EXPECT_THAT(looked, ::testing::UnorderedElementsAreArray(keys));
  // It was for once.
  source_->With([&] {
    moving_ = false;
    at_source_.clear();
  });
  EXPECT_EQ(Read().status().code(), StatusCode::kNotFound);
  EXPECT_THAT(NamesOf(AtSource()), ElementsAre("EVALSHA"));
  EXPECT_EQ(AtTarget().size(), 2u);
}

TEST_F(RedisRedirectsTest, AScriptThatTheTargetDoesNotKnowIsSentBehindAskingAgain) {
  Open();
  target_->With([&] {
    of_target_ = RedisError("NOSCRIPT No matching script. Please use EVAL.");
    once_ = true;
  });
  EXPECT_TRUE(Start().ok());
  EXPECT_THAT(NamesOf(AtTarget()), ElementsAre("ASKING", "EVALSHA", "ASKING", "EVAL"));
}

// Redis before 7.0.3 answers ASK, too, when only some keys have left. What is done there would be done without the others.
TEST_F(RedisRedirectsTest, AStepStaysWhileOneOfItsKeysDoes) {
  Open();
  source_->With([&] { left_ = "marathon:{default:0}:r:1:wr"; });
  const Status status = Start().status();
  EXPECT_EQ(status.code(), StatusCode::kUnavailable) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("only some keys"));
  EXPECT_THAT(AtTarget(), IsEmpty());
  source_->With([&] { left_.clear(); });
  EXPECT_TRUE(Start().ok());
}

TEST_F(RedisRedirectsTest, KeysThatAreOnBothSidesAreWaitedFor) {
  Open();
  source_->With([&] { of_source_ = "TRYAGAIN Multiple keys request during rehashing of slot"; });
  EXPECT_EQ(Start().status().code(), StatusCode::kUnavailable);
  EXPECT_THAT(NamesOf(AtSource()), ElementsAre("EVALSHA"));
  EXPECT_THAT(AtTarget(), IsEmpty());
}

// … and what certainly was not done is said to be so, though it was to be written.
TEST_F(RedisRedirectsTest, ATargetThatSendsAStepOnIsNotFollowed) {
  for (const std::string code : {"ASK", "MOVED", "TRYAGAIN"}) {
    Open();
    target_->With([&] {
      at_target_.clear();
      connections_ = 0;
      of_target_ = RedisError(code == "TRYAGAIN" ? code : code + " 77 " + source_->place());
    });
    for (int i = 0; i < 2; ++i) EXPECT_EQ(Start().status().code(), StatusCode::kUnavailable) << code;
    EXPECT_THAT(NamesOf(AtTarget()), ElementsAre("ASKING", "EVALSHA", "ASKING", "EVALSHA")) << code;
    EXPECT_EQ(connections_, 1) << code;
    const auto here = NamesOf(AtSource());
    EXPECT_EQ(std::count(here.begin(), here.end(), "EVALSHA"), 2) << code;
    EXPECT_EQ(std::count(here.begin(), here.end(), "CLUSTER"), 0) << code << ": its connection is as good as before";
  }
}

TEST_F(RedisRedirectsTest, AStepThatATargetMayHaveDoneIsInDoubt) {
  Open();
  target_->With([&] { of_target_ = RedisDouble::kHangUp; });
  EXPECT_EQ(Start().status().code(), StatusCode::kUnknown);
  EXPECT_EQ(Read().status().code(), StatusCode::kUnavailable) << "a read";
  target_.reset();
  EXPECT_EQ(Start().status().code(), StatusCode::kUnavailable) << "it was not sent";
}

TEST_F(RedisRedirectsTest, ManyStepsAwaitOneConnectionAndEachHasItsAsking) {
  Open();
  constexpr size_t kMany = 20;
  std::vector<std::future<StatusCode>> codes;
  for (size_t i = 0; i < kMany; ++i) {
    auto code = std::make_shared<std::promise<StatusCode>>();
    codes.push_back(code->get_future());
    ports_.store->Read({.run = {"w" + std::to_string(i), "r"}},
                       [code](StatusOr<RunSnapshot> reply) { code->set_value(reply.status().code()); });
  }
  for (auto& code : codes) EXPECT_EQ(code.get(), StatusCode::kNotFound);
  const auto names = NamesOf(AtTarget());
  ASSERT_THAT(names, SizeIs(2 * kMany));
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(names[i], i % 2 == 0 ? "ASKING" : "EVALSHA");
  EXPECT_EQ(connections_, 1);
}

// What is behind a new connection may have been forgotten by a server that was restarted: turns that know more are refused.
TEST_F(RedisRedirectsTest, EachConnectionToATargetIsAnIncarnationAndEndsWhenNobodyWantsIt) {
  Open("?reply_timeout=1000");
  source_->With([&] { moving_ = false; });
  const auto here = Start("w1");
  source_->With([&] { moving_ = true; });
  const auto there = Start("w2"), again = Start("w3");
  ASSERT_TRUE(here.ok() && there.ok() && again.ok()) << here.status() << there.status() << again.status();
  EXPECT_EQ(there->incarnation, here->incarnation + 1);
  EXPECT_EQ(again->incarnation, there->incarnation);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (target_->left() == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(target_->left(), 1);
  EXPECT_EQ(connections_, 1) << "nobody wants another one";
  const auto later = Start("w4");
  ASSERT_TRUE(later.ok()) << later.status();
  EXPECT_EQ(later->incarnation, there->incarnation + 1);
  EXPECT_EQ(source_->left(), 0);
}

}  // namespace
}  // namespace marathon::tests::redis_redirects_test
