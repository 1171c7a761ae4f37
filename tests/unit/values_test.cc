// Failures, retry policies, deadlines, statuses and the words for them.
// program: values
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "samples.h"
#include "marathon/codec.h"
#include "marathon/detail/text.h"
#include "marathon/event.h"
#include "marathon/failure.h"
#include "marathon/id.h"
#include "marathon/limits.h"
#include "marathon/log_sink.h"
#include "marathon/retry_policy.h"
#include "marathon/status.h"
#include "marathon/store_rows.h"

namespace marathon::values_test {
namespace {

constexpr uint64_t kNoJitter = 0;
constexpr uint64_t kMostJitter = ~uint64_t{0};

Failure ApplicationFailure(std::string type) {
  Failure failure;
  failure.type = std::move(type);
  return failure;
}

Failure TimeoutFailure(TimeoutKind kind) {
  Failure failure;
  failure.kind = FailureKind::kTimeout;
  failure.timeout = kind;
  return failure;
}

// ---- Ids

TEST(IdTest, HoldsTextOfAnyLength) {
  for (const size_t size : {0u, 1u, 36u, 42u, 43u, 44u, 45u, 255u, 5'000u}) {
    const std::string text(size, 'x');
    const Id id(text);
    EXPECT_EQ(id.size(), size);
    EXPECT_EQ(id.empty(), size == 0);
    EXPECT_EQ(id, text);
    EXPECT_EQ(std::string(id.c_str()), text);
    EXPECT_EQ(id.str(), text);
    EXPECT_EQ(std::string(id.begin(), id.end()), text);
  }
}

TEST(IdTest, IsCopiedMovedAndAssigned) {
  const std::string texts[] = {"", "short", std::string(43, 'i'), std::string(44, 'o'), std::string(300, 'l')};
  for (const std::string& from : texts) {
    for (const std::string& to : texts) {
      const Id source(from);
      Id copy(source);
      EXPECT_EQ(copy, from);
      Id target(to);
      target = source;
      EXPECT_EQ(target, from);
      EXPECT_EQ(source, from);
      Id moved(std::move(target));
      EXPECT_EQ(moved, from);
      target = to;  // good for use again
      EXPECT_EQ(target, to);
      target = std::move(moved);
      EXPECT_EQ(target, from);
      target = Id(target);
      EXPECT_EQ(target, from);
      target.clear();
      EXPECT_TRUE(target.empty());
    }
  }
}

TEST(IdTest, ComparesAndHashesAsItsText) {
  const Id a("a");
  const Id b(std::string(50, 'b'));
  EXPECT_LT(a, b);
  EXPECT_LT(a, "b");
  EXPECT_NE(a, b);
  EXPECT_EQ(a, std::string_view("a"));
  EXPECT_EQ("a", a);
  EXPECT_EQ(std::hash<Id>()(b), std::hash<std::string_view>()(std::string(50, 'b')));
  EXPECT_EQ(a + "-" + b, "a-" + std::string(50, 'b'));
  EXPECT_EQ("<" + a, "<a");
}

TEST(TextPayloadTest, IsWhatADocumentWouldWriteAndRead) {
  std::mt19937 random(3);
  const std::vector<std::string> parts = {"a", "words of a text ", "\"", "\\", "\n", "\x01", "\x7f", "/", "\u00e9", "\U0001f600"};
  for (int i = 0; i < 5'000; ++i) {
    std::string text;
    for (auto left = random() % 6; left > 0; --left) text += parts[random() % (i % 2 == 0 ? 2 : parts.size())];
    const StatusOr<Payload> payload = Encode(text);
    ASSERT_TRUE(payload.ok()) << payload.status();
    ASSERT_EQ(payload->data, nlohmann::json(text).dump());
    ASSERT_EQ(Decode<std::string>(*payload).value(), text);
  }
  for (const char* wrong : {"\"", "\"a\"b\"", "\"\n\"", "\"\xff\"", "plain", "\"a", "7", "\"\\\"", ""}) {
    EXPECT_EQ(Decode<std::string>(Payload{wrong, Encoding::kJson}).status().code(), StatusCode::kInvalidArgument) << wrong;
  }
  EXPECT_EQ(Encode(std::string("\xc3")).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(Encode(std::string(limits::kPayloadMaxBytes, 'a')).status().code(), StatusCode::kResourceExhausted);
}

TEST(CleanTextTest, IsUtf8WithoutControlCharacters) {
  const std::string plain = "plain text of forty bytes and a few more";
  EXPECT_TRUE(detail::IsCleanText(plain));
  EXPECT_TRUE(detail::IsCleanText(""));
  for (size_t at = 0; at < plain.size(); ++at) {
    for (const char bad : {'\0', '\n', '\x1f', '\x7f', '\x80', '\xff'}) {
      std::string text = plain;
      text[at] = bad;
      EXPECT_FALSE(detail::IsCleanText(text)) << at << " " << static_cast<int>(bad);
    }
    for (const std::string_view good : {" ", "~", "\u00e9", "\u20ac", "\U0001f600"}) {
      std::string text = plain;
      text.replace(at, 1, good);
      EXPECT_TRUE(detail::IsCleanText(text)) << text;
    }
  }
}

TEST(CleanTextTest, AnythingCanBeMadeReadable) {
  EXPECT_EQ(detail::ReadableText("a\nb \u20ac", 100), "a\nb \u20ac");
  EXPECT_EQ(detail::ReadableText("caf\xe9, \xe2\x82", 100), "caf?, ??");
  EXPECT_EQ(detail::ReadableText("", 100), "");
  const std::string euros = "a few plain bytes, " + std::string("\u20ac\u20ac\u20ac");
  for (size_t max = 4; max <= euros.size() + 1; ++max) {
    const std::string cut = detail::ReadableText(euros, max);
    EXPECT_LE(cut.size(), max);
    EXPECT_TRUE(detail::IsCleanText(cut)) << cut;
    EXPECT_EQ(cut == euros, max >= euros.size()) << max;
    if (cut == euros) continue;
    EXPECT_GT(cut.size() + 3, max) << "more would have fitted: " << cut;
    EXPECT_TRUE(cut.ends_with("...") && euros.starts_with(cut.substr(0, cut.size() - 3))) << cut;
  }
}

TEST(FailureTest, IsMadeFitForAHistory) {
  Failure failure{.type = "caf\xe9", .message = std::string(200'000, 'm')};
  failure.details.data = std::string(limits::kPayloadMaxBytes + 1, 'd');
  failure.cause.push_back({.message = "\xff"});
  detail::MakeFit(failure);
  EXPECT_EQ(failure.type, "caf?");
  EXPECT_EQ(failure.message.size(), limits::kMaxFailureBytes);
  EXPECT_EQ(failure.details, Payload());
  EXPECT_EQ(failure.cause[0].message, "?");
  const Failure fits = failure;
  detail::MakeFit(failure);
  EXPECT_EQ(failure, fits);
}

TEST(IdTextTest, HasItsForm) {
  EXPECT_EQ(detail::UuidText(0x0123456789abcdef, 0xfedcba9876543210, 7),
            "01234567-89ab-7def-bedc-ba9876543210");
  EXPECT_EQ(detail::ShortIdText(0, 0), "000000000000000");
  EXPECT_EQ(detail::ShortIdText(~uint64_t{0}, ~uint64_t{0}), "vvvvvvvvvvvvvvv");
  EXPECT_NE(detail::ShortIdText(1, 0), detail::ShortIdText(0, 1));
}

// ---- Retries

TEST(RetryDelayTest, DoublesFromTheInitialIntervalToAHundredTimes) {
  const StoredRetryPolicy policy;
  const Failure failure;
  EXPECT_EQ(RetryDelay(policy, failure, 1, kNoJitter), Duration(1'000));
  EXPECT_EQ(RetryDelay(policy, failure, 2, kNoJitter), Duration(2'000));
  EXPECT_EQ(RetryDelay(policy, failure, 7, kNoJitter), Duration(64'000));
  EXPECT_EQ(RetryDelay(policy, failure, 8, kNoJitter), Duration(100'000));
  EXPECT_EQ(RetryDelay(policy, failure, 1'000'000, kNoJitter), Duration(100'000));
  EXPECT_EQ(RetryDelay(policy, failure, std::numeric_limits<int>::max(), kNoJitter),
            Duration(100'000));
}

TEST(RetryDelayTest, StopsAtTheMaximumInterval) {
  StoredRetryPolicy policy;
  policy.maximum_interval = Duration(1'500);
  EXPECT_EQ(RetryDelay(policy, {}, 1, kNoJitter), Duration(1'000));
  EXPECT_EQ(RetryDelay(policy, {}, 2, kNoJitter), Duration(1'500));
  policy.maximum_interval = Duration(400);
  EXPECT_EQ(RetryDelay(policy, {}, 1, kNoJitter), Duration(400));
}

TEST(RetryDelayTest, JitterShortensByUpToItsPart) {
  StoredRetryPolicy policy;
  policy.jitter = 0.25;
  EXPECT_EQ(RetryDelay(policy, {}, 1, kNoJitter), Duration(1'000));
  EXPECT_EQ(RetryDelay(policy, {}, 1, uint64_t{1} << 63), Duration(875));
  EXPECT_GE(RetryDelay(policy, {}, 1, kMostJitter), Duration(750));
  EXPECT_LE(RetryDelay(policy, {}, 1, kMostJitter), Duration(751));
  policy.jitter = 1;
  EXPECT_GE(RetryDelay(policy, {}, 1, kMostJitter), Duration(0));
}

TEST(RetryDelayTest, TheFailuresOwnDelayWins) {
  Failure failure;
  failure.next_retry_delay = Duration(7);
  EXPECT_EQ(RetryDelay({}, failure, 9, kMostJitter), Duration(7));
  failure.next_retry_delay = Duration(-7);
  EXPECT_EQ(RetryDelay({}, failure, 9, kMostJitter), Duration(0));
}

TEST(RetryDelayTest, AbsurdPoliciesStayWithinTheirLimit) {
  StoredRetryPolicy policy;
  policy.initial_interval = Duration::max();
  EXPECT_EQ(RetryDelay(policy, {}, 50, kNoJitter), Duration::max());
  EXPECT_GE(RetryDelay(policy, {}, 50, kMostJitter), Duration(0));
  policy.maximum_interval = Duration::max();
  policy.initial_interval = Duration(1);
  EXPECT_EQ(RetryDelay(policy, {}, 500, kNoJitter), Duration::max());
  const double coefficients[] = {std::nan(""), -3.0, 0.0, -INFINITY, INFINITY, 1e308};
  for (const double coefficient : coefficients) {
    for (const int attempt : {-1, 0, 1, 2, 3, 1'000'000}) {
      policy = {};
      policy.backoff_coefficient = coefficient;
      const Duration delay = RetryDelay(policy, {}, attempt, kMostJitter);
      EXPECT_GE(delay, Duration(0)) << coefficient << " " << attempt;
      EXPECT_LE(delay, Duration(100'000)) << coefficient << " " << attempt;
    }
  }
  policy = {};
  policy.initial_interval = Duration(-5);
  policy.jitter = std::nan("");
  EXPECT_EQ(RetryDelay(policy, {}, 3, kMostJitter), Duration(0));
}

TEST(IsRetryableTest, FailuresAreRetriedUntilMaximumAttempts) {
  StoredRetryPolicy policy;
  EXPECT_TRUE(IsRetryable(policy, {}, 1'000'000));
  policy.maximum_attempts = 3;
  EXPECT_TRUE(IsRetryable(policy, {}, 2));
  EXPECT_FALSE(IsRetryable(policy, {}, 3));
  EXPECT_FALSE(IsRetryable(policy, {}, 4));
}

TEST(IsRetryableTest, FinalKindsAndTypesAreNot) {
  static constexpr std::string_view kFinal[] = {"Fraud", "CardDeclined"};
  const StoredRetryPolicy policy(RetryPolicy{.non_retryable_types = kFinal});
  EXPECT_TRUE(IsRetryable(policy, ApplicationFailure("Busy"), 1));
  EXPECT_FALSE(IsRetryable(policy, ApplicationFailure("CardDeclined"), 1));
  EXPECT_TRUE(IsRetryable({}, TimeoutFailure(TimeoutKind::kStartToClose), 1));
  EXPECT_TRUE(IsRetryable({}, TimeoutFailure(TimeoutKind::kHeartbeat), 1));
  EXPECT_FALSE(IsRetryable({}, TimeoutFailure(TimeoutKind::kScheduleToStart), 1));
  EXPECT_FALSE(IsRetryable({}, TimeoutFailure(TimeoutKind::kScheduleToClose), 1));
  EXPECT_TRUE(IsRetryable({}, TimeoutFailure(TimeoutKind::kRun), 1));  // by a run's own policy
  Failure failure;
  failure.non_retryable = true;
  EXPECT_FALSE(IsRetryable({}, failure, 1));
  failure = {};
  failure.kind = FailureKind::kEngine;
  EXPECT_TRUE(IsRetryable({}, failure, 1)) << "an engine failure says for itself";
  for (const auto kind : {FailureKind::kCanceled, FailureKind::kTerminated}) {
    failure.kind = kind;
    EXPECT_FALSE(IsRetryable({}, failure, 1));
  }
}

TEST(StoredRetryPolicyTest, HoldsWhatTheAuthorWrote) {
  static constexpr std::string_view kFinal[] = {"CardDeclined", "Fraud"};
  const StoredRetryPolicy stored(RetryPolicy{.initial_interval = Duration(250),
                                             .backoff_coefficient = 1.5,
                                             .maximum_interval = Duration(60'000),
                                             .maximum_attempts = 7,
                                             .jitter = 0.25,
                                             .non_retryable_types = kFinal});
  EXPECT_EQ(stored, samples::FullPolicy().retry);
  EXPECT_EQ(StoredRetryPolicy(RetryPolicy{}), StoredRetryPolicy());
}

// ---- Deadlines

constexpr Time At(int64_t seconds) { return samples::kSampleTime + std::chrono::seconds(seconds); }

ActivityRow RowIn(ActivityState state) {
  ActivityRow row;
  row.state = state;
  row.scheduled_at = At(0);
  row.available_at = At(10);
  row.started_at = At(20);
  return row;
}

void ExpectDue(const ActivityRow& row, Time at, ActivityDue::What what, TimeoutKind timeout = {}) {
  const ActivityDue due = NextDue(row);
  EXPECT_EQ((due.at - At(0)).count(), (at - At(0)).count());
  EXPECT_EQ(due.what, what);
  EXPECT_EQ(due.timeout, timeout);
}

using What = ActivityDue::What;

TEST(NextDueTest, ClaimableWaitsForItsResendOrDeadline) {
  ActivityRow row = RowIn(ActivityState::kClaimable);
  row.policy.start_to_close = row.policy.heartbeat = Duration(1);
  ExpectDue(row, At(10 + 60), What::kResend);
  row.policy.schedule_to_start = Duration(5'000);
  ExpectDue(row, At(15), What::kTimeout, TimeoutKind::kScheduleToStart);
  row.policy.schedule_to_close = Duration(14'999);
  ExpectDue(row, At(15) - Duration(1), What::kTimeout, TimeoutKind::kScheduleToClose);
}

TEST(NextDueTest, BackoffEndsInARetryOrScheduleToClose) {
  ActivityRow row = RowIn(ActivityState::kBackoff);
  row.policy.start_to_close = row.policy.heartbeat = row.policy.schedule_to_start = Duration(1);
  ExpectDue(row, At(10), What::kRetry);
  row.policy.schedule_to_close = Duration(10'001);
  ExpectDue(row, At(10), What::kRetry);
  row.policy.schedule_to_close = Duration(10'000);
  ExpectDue(row, At(10), What::kTimeout, TimeoutKind::kScheduleToClose);
}

TEST(NextDueTest, AClaimedOneHasThreeDeadlines) {
  for (const auto state : {ActivityState::kClaimed, ActivityState::kDetached}) {
    ActivityRow row = RowIn(state);
    row.policy.schedule_to_start = Duration(1);
    ExpectDue(row, kNever, What::kNothing);
    row.policy.start_to_close = Duration(8'000);
    ExpectDue(row, At(28), What::kTimeout, TimeoutKind::kStartToClose);
    row.policy.heartbeat = Duration(3'000);
    ExpectDue(row, At(23), What::kTimeout, TimeoutKind::kHeartbeat);
    row.heartbeat_at = At(22);
    ExpectDue(row, At(25), What::kTimeout, TimeoutKind::kHeartbeat);
    row.heartbeat_at = At(5);  // of a delivery before this one
    ExpectDue(row, At(23), What::kTimeout, TimeoutKind::kHeartbeat);
    row.policy.schedule_to_close = Duration(23'000);
    ExpectDue(row, At(23), What::kTimeout, TimeoutKind::kScheduleToClose);
  }
}

TEST(NextDueTest, DeadlinesBeyondAllTimeNeverCome) {
  ActivityRow row = RowIn(ActivityState::kClaimed);
  row.policy.start_to_close = Duration::max();
  ExpectDue(row, kNever, What::kNothing);
}

TEST(NextResendTest, GapsDoubleFromAMinuteToAnHour) {
  const int64_t gaps_in_minutes[] = {1, 2, 4, 8, 16, 32, 60, 60, 60};
  int64_t minutes = 0;
  int32_t resends = 0;
  for (const int64_t gap : gaps_in_minutes) {
    minutes += gap;
    EXPECT_EQ(NextResend(At(0), resends++), At(minutes * 60));
  }
  EXPECT_GT(NextResend(At(0), std::numeric_limits<int32_t>::max()), At(0));
  EXPECT_EQ(NextResend(kNever, 3), kNever);
}

TEST(NextResendTest, TheFirstGapIsTheStores) {
  const Duration first = std::chrono::minutes(20);
  EXPECT_EQ(NextResend(At(0), 0, first), At(20 * 60));
  EXPECT_EQ(NextResend(At(0), 1, first), At((20 + 40) * 60));
  EXPECT_EQ(NextResend(At(0), 2, first), At((20 + 40 + 60) * 60));
  ActivityRow row;
  row.available_at = At(5);
  EXPECT_EQ(NextDue(row, first).at, At(5 + 20 * 60));
}

TEST(AddSaturatedTest, NeverOverflows) {
  EXPECT_EQ(AddSaturated(At(0), Duration(1'500)), At(0) + std::chrono::milliseconds(1'500));
  EXPECT_EQ(AddSaturated(At(0), Duration(-1'500)), At(0) - std::chrono::milliseconds(1'500));
  EXPECT_EQ(AddSaturated(At(0), Duration::max()), kNever);
  EXPECT_EQ(AddSaturated(Time::min(), Duration::max()), kNever);
  EXPECT_EQ(AddSaturated(At(0), Duration::min()), Time::min());
  EXPECT_EQ(AddSaturated(Time::min(), Duration::min()), Time::min());
  EXPECT_EQ(AddSaturated(kNever, Duration::min()), kNever);
  EXPECT_EQ(AddSaturated(Time::min(), Duration(1)), Time::min() + Duration(1));
}

// ---- Words

TEST(FailureTest, IsOneSentenceWithItsCauses) {
  Failure failure = ApplicationFailure("CardDeclined");
  EXPECT_EQ(ToString(failure), "CardDeclined");
  failure.message = "no funds";
  failure.cause.push_back(TimeoutFailure(TimeoutKind::kHeartbeat));
  failure.cause[0].cause.push_back(ApplicationFailure("Lost"));
  EXPECT_EQ(ToString(failure),
            "CardDeclined: no funds (caused by heartbeat timeout (caused by Lost))");
  EXPECT_EQ(ToString(Failure{}), "failed");
}

TEST(EventTest, IsDescribedInOneLineWithoutPayloads) {
  const auto bodies = samples::FullBodies();
  EXPECT_EQ(Describe(bodies[0]), "TurnStarted");
  EXPECT_EQ(Describe(bodies[1]), "WorkflowStarted \"Checkout\"");
  EXPECT_EQ(Describe(bodies[2]), "ActivityCompleted (activity 3)");
  EXPECT_EQ(Describe(bodies[4]), "TimerFired (timer 300)");
  EXPECT_EQ(Describe(bodies[6]), "ActivityScheduled \"Charge\"");
  EXPECT_EQ(Describe(bodies[8]), "TimerStarted (2592000000 ms)");
  EXPECT_EQ(Describe(WorkflowFailed{ApplicationFailure("Bad")}), "WorkflowFailed: Bad");
  EXPECT_EQ(Describe(bodies[13]), "WorkflowTerminated: operator said so");
}

TEST(EventTest, TypesHaveNames) {
  EXPECT_EQ(ToString(EventType::kSideEffectRecorded), "SideEffectRecorded");
  EXPECT_EQ(ToString(static_cast<EventType>(77)), "unknown event 77");
  EXPECT_EQ(TypeOf(TimerFired{}), EventType::kTimerFired);
}

// ---- Statuses

TEST(FailureStatusTest, CarriesTheFailure) {
  const Failure failure = samples::FullFailure();
  const Status status = FailureStatus(failure);
  EXPECT_EQ(status.code(), StatusCode::kAborted);
  EXPECT_EQ(std::string(status.message()), ToString(failure));
  EXPECT_EQ(GetFailure(status), failure);
  EXPECT_EQ(GetFailure(FailureStatus(Failure{})), Failure{});
}

TEST(FailureStatusTest, CodesFollowTheKind) {
  Failure failure;
  failure.kind = FailureKind::kCanceled;
  EXPECT_EQ(FailureStatus(failure).code(), StatusCode::kCancelled);
  failure.kind = FailureKind::kTerminated;
  EXPECT_EQ(FailureStatus(failure).code(), StatusCode::kCancelled);
  EXPECT_EQ(FailureStatus(TimeoutFailure(TimeoutKind::kRun)).code(), StatusCode::kDeadlineExceeded);
  EXPECT_EQ(FailureStatus(TimeoutFailure(TimeoutKind::kHeartbeat)).code(), StatusCode::kAborted);
}

TEST(FailureStatusTest, OtherStatusesCarryNone) {
  EXPECT_EQ(GetFailure(absl::OkStatus()), std::nullopt);
  EXPECT_EQ(GetFailure(NotFound("no run \"a\"")), std::nullopt);
  Status damaged = Aborted("x");
  damaged.SetPayload("marathon/failure", absl::Cord("\xff\xff"));
  EXPECT_EQ(GetFailure(damaged), std::nullopt);
}

// ---- Log

TEST(StderrLogSinkTest, WritesItsLevelAndWorseALineEach) {
  const auto sink = NewStderrLogSink();
  ::testing::internal::CaptureStderr();
  sink->Log(LogLevel::kInfo, "unseen");
  sink->Log(LogLevel::kWarning, "first %s");
  sink->Log(LogLevel::kError, std::string(20'000, 'x'));
  EXPECT_EQ(::testing::internal::GetCapturedStderr(),
            "marathon: warning: first %s\nmarathon: error: " + std::string(20'000, 'x') + "\n");
}

}  // namespace
}  // namespace marathon::values_test
