// Whoever follows a run's history, from the engine that takes its turns or from another. On every store.
// labels: threads
// program: runs
#include <gmock/gmock.h>

#include <string>
#include <thread>
#include <vector>

#include "fixture.h"

namespace marathon::tests::event_reader_test {
namespace {

class EventReaderTest : public WorkflowTest {
 protected:
  static Registry Letters() {
    Registry registry;
    registry.Bind("Letters", [](WorkflowContext& ctx, int count) -> Workflow<std::string> {
      std::string letters;
      for (int i = 0; i < count; ++i) letters += co_await ctx.Receive<std::string>("letter");
      co_return letters;
    });
    registry.Bind("Rounds", [](WorkflowContext& ctx, int left) -> Workflow<int> {
      co_await ctx.Sleep(1ms);
      if (left > 0) co_await ctx.ContinueAsNew(left - 1);
      co_return left;
    });
    return registry;
  }
  // An engine that takes no turns: what it hears, it hears from the store.
  Engine OpenClient() {
    EngineOptions options = Options();
    auto engine = store_.OpenByUrl(Registry(), std::move(options));
    EXPECT_TRUE(engine.ok()) << engine.status();
    return *std::move(engine);
  }
  // All that the reader gives to its end.
  static History ReadAll(EventReader& reader) {
    History history;
    while (!reader.ended()) {
      const auto events = reader.Next(kPatience);
      EXPECT_TRUE(events.ok()) << events.status();
      EXPECT_FALSE(events.ok() && events->empty() && !reader.ended()) << "nothing came";
      if (!events.ok() || (events->empty() && !reader.ended())) break;
      history.insert(history.end(), events->begin(), events->end());
    }
    return history;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, EventReaderTest, ::testing::ValuesIn(AllSetups()), SetupName);

TEST_P(EventReaderTest, EventsAreHeardAsTheyCome) {
  Engine worker = Open(Letters());
  Engine client = OpenClient();
  const auto run = worker.Start("Letters", 3, {.workflow_id = "w"});
  ASSERT_TRUE(run.ok()) << run.status();
  EventReader reader = client.Find("w").Subscribe();
  History heard;
  const auto hear = [&](size_t count) {
    while (heard.size() < count) {
      const auto events = reader.Next(kPatience);
      ASSERT_TRUE(events.ok() && !events->empty()) << events.status();
      heard.insert(heard.end(), events->begin(), events->end());
    }
  };
  hear(2);
  for (const char* letter : {"a", "b", "c"}) {
    ASSERT_TRUE(run->Signal("letter", std::string(letter)).ok());
    hear(heard.size() + 2);  // a turn, and the signal
    const auto* signal = std::get_if<SignalReceived>(&heard.back().body);
    const bool is_last = std::holds_alternative<WorkflowCompleted>(heard.back().body);
    EXPECT_TRUE(is_last || (signal != nullptr && signal->input == Encode(std::string(letter)).value()));
  }
  const History rest = ReadAll(reader);
  heard.insert(heard.end(), rest.begin(), rest.end());
  EXPECT_EQ(heard, *run->History());
  EXPECT_EQ(reader.after(), heard.back().id);
  EXPECT_FALSE(reader.next_run().has_value());
  EXPECT_EQ(reader.Next().status().code(), StatusCode::kOutOfRange);
}

TEST_P(EventReaderTest, ItGoesOnFromAnyEvent) {
  Engine worker = Open(Letters());
  const auto run = worker.Start("Letters", 2);
  for (const char* letter : {"a", "b"}) ASSERT_TRUE(run->Signal("letter", std::string(letter)).ok());
  ASSERT_TRUE(run->Result<std::string>(kPatience).ok());
  const History history = *run->History();
  Engine client = OpenClient();
  for (EventId after = 0; after <= history.back().id; ++after) {
    EventReader reader = client.Find(run->workflow_id().view(), run->run_id().view()).Subscribe(after);
    const History tail(history.begin() + static_cast<ptrdiff_t>(after), history.end());
    EXPECT_EQ(ReadAll(reader), tail) << after;
    EXPECT_TRUE(reader.ended());
  }
}

TEST_P(EventReaderTest, AChainIsFollowedRunByRun) {
  Engine worker = Open(Letters());
  Engine client = OpenClient();
  const auto first = worker.Start("Rounds", 2, {.workflow_id = "w"});
  ASSERT_TRUE(first.ok()) << first.status();
  int runs = 0;
  std::optional<marathon::Run> run = client.Find("w", first->run_id().view());
  for (; run; ++runs) {
    EventReader reader = run->Subscribe();
    const History history = ReadAll(reader);
    ASSERT_FALSE(history.empty());
    EXPECT_EQ(history.front().id, 1);
    EXPECT_TRUE(IsClosing(TypeOf(history.back().body)));
    // Once more, from the end: who goes on is told all the same.
    EventReader end = run->Subscribe(history.back().id);
    EXPECT_TRUE(ReadAll(end).empty());
    run = reader.next_run();
    EXPECT_EQ(end.next_run().has_value(), run.has_value());
  }
  EXPECT_EQ(runs, 3);
}

TEST_P(EventReaderTest, PatienceEndsWithNothing) {
  Engine worker = Open(Letters());
  const auto run = worker.Start("Letters", 1);
  EventReader reader = run->Subscribe();
  while (reader.after() < 2) ASSERT_TRUE(reader.Next(kPatience).ok());
  const auto none = reader.Next(1ms);
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_TRUE(none->empty());
  EXPECT_FALSE(reader.ended());
  ASSERT_TRUE(run->Signal("letter", std::string("a")).ok());
  EXPECT_FALSE(ReadAll(reader).empty());
}

TEST_P(EventReaderTest, WhatCannotBeFollowedIsSaid) {
  Engine worker = Open(Letters());
  EXPECT_EQ(worker.Find("nobody").Subscribe().Next(kPatience).status().code(), StatusCode::kNotFound);
  const auto run = worker.Start("Letters", 0);
  ASSERT_TRUE(run->Result<std::string>(kPatience).ok());
  ASSERT_TRUE(run->Delete().ok());
  EXPECT_EQ(run->Subscribe().Next(kPatience).status().code(), StatusCode::kNotFound);
}

TEST_P(EventReaderTest, AShutdownEndsTheWait) {
  Engine worker = Open(Letters());
  const auto run = worker.Start("Letters", 1);
  EventReader reader = run->Subscribe();
  while (reader.after() < 2) ASSERT_TRUE(reader.Next(kPatience).ok());
  std::thread waiter([&] {
    const auto events = reader.Next();
    const StatusCode code = events.status().code();
    EXPECT_TRUE(code == StatusCode::kCancelled || code == StatusCode::kFailedPrecondition) << events.status();
  });
  EXPECT_TRUE(worker.Shutdown().ok());
  waiter.join();
}

}  // namespace
}  // namespace marathon::tests::event_reader_test
