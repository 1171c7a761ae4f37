// What becomes of an agent when its process is killed: really, with SIGKILL, over SQLite and Redis, at points that are
// defined by progress. The run without a crash tells which points there are; twenty of them are drawn, or all are
// taken (MARATHON_KILL_POINTS=all), or one is, by its name. Whatever the point: the same answer, each effect once by
// its key, the same text for whoever reads, and nothing that was recorded is done again.
//
// This program is also the worker that it kills.
// needs: agent llm redis sqlite testing
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "../redis_server.h"
#include "../sanitized.h"
#include "agent_kill_course.h"
#include "agent_kill_worker.h"
#include "agent_texts.h"
#include "marathon/testing/seeded_random.h"

namespace marathon::kill_test {
namespace {

using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr size_t kPoints = kSanitized ? 8 : 20;  // of a backend
constexpr int kAtATime = 4;  // courses; most of what one takes over Redis is waiting for a lease

// How often each call wrote a line.
std::map<std::string, int> TimesOf(const Outcome& outcome) {
  std::map<std::string, int> times;
  for (const LedgerLine& line : outcome.ledger) ++times[line.tool + " " + line.key];
  return times;
}

void ExpectWithoutCrash(const Outcome& calm) {
  std::string text;
  std::map<std::string, int> calls;
  for (size_t i = 0; i < Script().size(); ++i) {
    text += TextOf(Script()[i], Script()[i].texts.size());
    for (const ScriptedCall& call : Script()[i].calls) {
      calls[call.tool + " " + std::to_string(i + 1) + "/" + call.id] = 1;
    }
  }
  EXPECT_EQ(calm.text, text);
  EXPECT_EQ(TimesOf(calm), calls);
  EXPECT_EQ(calm.requests.size(), Script().size());
  EXPECT_EQ(calm.result.text, TextOf(Script().back(), 3));
  EXPECT_EQ(calm.result.stop, agent::StopReason::kDone);
}

// As `calm`, but that the model may have to read of the mail that nobody knows.
void ExpectSameResults(const Outcome& outcome, const Outcome& calm) {
  const auto texts = agent::ToolTexts(outcome.result), calm_texts = agent::ToolTexts(calm.result);
  ASSERT_EQ(texts.size(), calm_texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i] == calm_texts[i]) continue;
    EXPECT_EQ(calm_texts[i], "mail landlord");
    EXPECT_THAT(texts[i], StartsWith("error: It is not known whether this call had its effect"));
  }
  EXPECT_EQ(outcome.result.messages.size(), calm.result.messages.size());
  EXPECT_EQ(outcome.result.text, calm.result.text);
  EXPECT_EQ(outcome.result.stop, calm.result.stop);
  EXPECT_EQ(outcome.result.spent.steps, calm.result.spent.steps);
  EXPECT_EQ(outcome.result.spent.tool_calls, calm.result.spent.tool_calls);
}

// What was asked twice has been paid for twice.
void ExpectBooked(const Outcome& outcome, const Outcome& calm) {
  if (outcome.requests.size() == calm.requests.size()) return;
  EXPECT_TRUE(outcome.result.spent.estimated);
  EXPECT_GT(outcome.result.spent.usage.input, calm.result.spent.usage.input);
}

void ExpectEffectsOnce(const Outcome& outcome, const Outcome& calm) {
  const auto texts = agent::ToolTexts(outcome.result);
  const bool mailed = std::ranges::find(texts, "mail landlord") != texts.end();
  auto times = TimesOf(outcome);
  for (const auto& [call, once] : TimesOf(calm)) {
    const int lines = times[call];
    // Under one key, a bank charges once. For all others a line is an effect.
    if (call.starts_with("look") || call.starts_with("charge")) {
      EXPECT_GE(lines, 1) << call;
    } else if (call.starts_with("mail") && !mailed) {
      EXPECT_LE(lines, 1) << call;
    } else {
      EXPECT_EQ(lines, 1) << call;
    }
    times.erase(call);
  }
  EXPECT_THAT(times, IsEmpty()) << "other keys than those of the calls";
}

void ExpectAskedNoMoreThanItTakes(const Outcome& outcome) {
  EXPECT_THAT(outcome.repeated, IsEmpty()) << "recorded, and done again";
  EXPECT_LE(outcome.requests.size(), Script().size() + 1);
  std::map<int, std::string> bodies;
  for (const ModelRequest& request : outcome.requests) {
    EXPECT_EQ(bodies.emplace(request.step, request.body).first->second, request.body);
  }
}

// Those to be taken, of all there are.
std::vector<Point> Chosen(std::vector<Point> all) {
  const char* variable = std::getenv("MARATHON_KILL_POINTS");
  const std::string wanted = variable == nullptr ? "" : variable;
  if (wanted == "all") return all;
  if (!wanted.empty()) {
    std::erase_if(all, [&](const Point& point) { return NameOf(point) != wanted; });
    return all;
  }
  // One of each moment, or most would be of what happens most often.
  std::ranges::sort(all, {}, [](const Point& point) { return std::pair(point.moment, point.nth); });
  testing::SeededRandom random(1);
  for (size_t i = 0; i < all.size(); ++i) std::swap(all[i], all[i + random.Below(all.size() - i)]);
  std::set<std::string> moments;
  std::erase_if(all, [&](const Point& point) {
    return moments.size() == kPoints || !moments.insert(point.moment).second;
  });
  return all;
}

class AgentKillTest : public ::testing::TestWithParam<const char*> {
 protected:
  AgentKillTest() {
    std::string folder = "/tmp/marathon-kill-XXXXXX";
    folder_ = mkdtemp(folder.data());
    if (GetParam() == std::string_view("Redis")) server_.emplace();
  }
  ~AgentKillTest() override {
    std::error_code ignored;
    if (HasFailure()) {
      std::printf("what is left of it: %s\n", folder_.c_str());
    } else {
      std::filesystem::remove_all(folder_, ignored);
    }
  }
  // Safe from several threads.
  Outcome Live(const Point& point) {
    const std::string number = std::to_string(++courses_), folder = folder_ + "/" + number;
    const std::string url = server_ ? "redis:" + server_->socket() + "?namespace=" + number
                                    : "sqlite:" + folder + "/clerk.db?synchronous=normal";
    return Course(url, folder, point).Run();
  }

 private:
  std::string folder_;
  std::optional<tests::RedisServer> server_;
  std::atomic<int> courses_{0};
};

TEST_P(AgentKillTest, WhereverItIsKilledItGoesOnAsIfItHadNotBeen) {
  const Outcome calm = Live({});
  ExpectWithoutCrash(calm);
  ASSERT_FALSE(HasFailure());
  std::vector<Point> all = calm.moments;
  for (size_t step = 0; step < Script().size(); ++step) {
    for (size_t texts = 1; texts <= 3; ++texts) all.push_back(ReadingPoint(static_cast<int>(step) + 1, texts));
  }
  const std::vector<Point> points = Chosen(all);
  std::atomic<size_t> next{0}, killed{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kAtATime; ++i) {
    threads.emplace_back([&] {
      for (size_t mine; (mine = next++) < points.size();) {
        // How often the engine writes differs a little from run to run: a course that ends before its point is reached
        // is taken again, with half as much of it.
        bool reached = false;
        for (Point point = points[mine]; !reached && point.nth > 0; point.nth /= 2) {
          SCOPED_TRACE("killed at: " + NameOf(point));
          const Outcome outcome = Live(point);
          EXPECT_EQ(outcome.text, calm.text);
          ExpectSameResults(outcome, calm);
          ExpectEffectsOnce(outcome, calm);
          ExpectBooked(outcome, calm);
          ExpectAskedNoMoreThanItTakes(outcome);
          reached = outcome.killed;
        }
        killed += reached ? 1 : 0;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("killed at %zu of %zu points; the run without a crash has %zu\n", killed.load(), points.size(),
              all.size());
  EXPECT_EQ(killed, points.size());
}

INSTANTIATE_TEST_SUITE_P(Store, AgentKillTest, ::testing::Values("Sqlite", "Redis"),
                         [](const auto& store) { return std::string(store.param); });

}  // namespace
}  // namespace marathon::kill_test

int main(int argc, char** argv) {
  if (argc == 5 && std::string_view(argv[1]) == "work") {
    return marathon::kill_test::RunKillWorker(argv[2], argv[3], argv[4]);
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
