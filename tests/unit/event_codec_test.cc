// Records and message bodies as bytes. Method: every event type goes there and back; then bytes are
// damaged in every way that fits a test (each single bit, each truncation, random edits with a
// correct checksum), and decoding must refuse or survive them. The sanitizer builds watch.
// program: values
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "samples.h"
#include "marathon/detail/event_fields.h"
#include "marathon/detail/sealed.h"
#include "marathon/detail/wire.h"
#include "marathon/event_codec.h"

namespace marathon::event_codec_test {
namespace {

using ::testing::HasSubstr;

std::string MessageText(const Status& status) { return std::string(status.message()); }

History Number(const std::vector<EventBody>& bodies, EventId first = 1) {
  History history;
  for (const EventBody& body : bodies) history.push_back({first++, body});
  return history;
}

// A record whose content is `content`, correctly sealed.
std::string Sealed(std::string_view content) {
  std::string bytes(detail::kSealBytes, '\0');
  bytes += content;
  detail::Seal(kEventFormatVersion, bytes);
  return bytes;
}

// A sealed record that claims `count` events from id `first`, and then holds `frames`.
std::string RecordOf(uint64_t first, uint64_t count, std::string_view frames) {
  std::string content(40, '\0');
  detail::Writer writer(content.data());
  writer.Fixed64(9);
  writer.Varint(first);
  writer.Varint(count);
  content.resize(static_cast<size_t>(writer.position() - content.data()));
  return Sealed(content + std::string(frames));
}

TEST(Crc32cTest, MatchesRfc3720) {
  EXPECT_EQ(Crc32c(""), 0u);
  EXPECT_EQ(Crc32c("123456789"), 0xe3069283u);
  EXPECT_EQ(Crc32c(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(Crc32c(std::string(32, '\xff')), 0x62a8ab43u);
  std::string rising(32, '\0');
  for (size_t i = 0; i < rising.size(); ++i) rising[i] = static_cast<char>(i);
  EXPECT_EQ(Crc32c(rising), 0x46dd794eu);
}

TEST(Crc32cTest, IsThatOfItsPolynomialAtAnyLength) {
  std::string bytes;
  uint32_t crc = ~uint32_t{0};
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(Crc32c(bytes), ~crc) << bytes.size() << " bytes";
    bytes += static_cast<char>(i * 77 + 5);
    crc ^= static_cast<uint8_t>(bytes.back());
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78u : 0u);
  }
}

TEST(RecordTest, EveryEventComesBack) {
  for (const auto& bodies : {samples::FullBodies(), samples::DefaultBodies()}) {
    const History history = Number(bodies, 1'000);
    const auto record = DecodeRecord(EncodeRecord(0xfedcba9876543210u, history));
    ASSERT_TRUE(record.ok()) << record.status();
    EXPECT_EQ(record->commit_id, 0xfedcba9876543210u);
    EXPECT_EQ(record->events, history);
  }
  ASSERT_EQ(samples::FullBodies().size(), std::variant_size_v<detail::AnyEvent>);
}

TEST(RecordTest, ExtremeValuesComeBack) {
  constexpr auto kMin = std::numeric_limits<int64_t>::min();
  constexpr auto kMax = std::numeric_limits<int64_t>::max();
  TurnStarted turn{kNever, std::string(70'000, 'b'), ~0u};
  ActivityPolicy policy;
  policy.start_to_close = Duration(kMin);
  policy.heartbeat = Duration(kMax);
  policy.retry.maximum_attempts = std::numeric_limits<int>::min();
  policy.retry.backoff_coefficient = -0.0;
  policy.retry.jitter = INFINITY;
  ActivityScheduled scheduled{std::string("\0\xff", 2), "", {}, policy, {}};
  const History history = Number({turn, scheduled, TimerFired{kMin}, TimerFired{kMax},
                                  ActivityCompleted{0, {}, std::numeric_limits<int32_t>::min()}});
  const auto record = DecodeRecord(EncodeRecord(0, history));
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->events, history);
}

TEST(RecordTest, WithoutEventsIsARecord) {
  const auto record = DecodeRecord(EncodeRecord(5, {}));
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(*record, (Record{5, {}}));
}

TEST(RecordTest, CommonEventsAreSmall) {
  ActivityScheduled scheduled{"Charge", "default", samples::JsonPayload("{}"), {}, {}};
  scheduled.policy.start_to_close = Duration(600'000);
  EXPECT_LE(EncodeBody(scheduled).size(), detail::kSealBytes + 27);
  EXPECT_LE(EncodeBody(ActivityFailed{}).size(), detail::kSealBytes + 5);
}

TEST(RecordTest, EverySingleBitFlipIsDetected) {
  const std::string good = EncodeRecord(77, Number(samples::FullBodies()));
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(DecodeRecord(bad).status().code(), StatusCode::kDataLoss) << "bit " << bit;
  }
}

TEST(RecordTest, EveryTruncationIsDetected) {
  const std::string good = EncodeRecord(77, Number(samples::FullBodies()));
  const std::string content = good.substr(detail::kSealBytes);
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(DecodeRecord(good.substr(0, size)).status().code(), StatusCode::kDataLoss) << size;
  }
  for (size_t size = 0; size < content.size(); ++size) {  // with a checksum that fits
    EXPECT_EQ(DecodeRecord(Sealed(content.substr(0, size))).status().code(), StatusCode::kDataLoss)
        << size;
  }
  EXPECT_THAT(MessageText(DecodeRecord(Sealed(content + "x")).status()),
              HasSubstr("1 bytes follow"));
}

TEST(RecordTest, RandomEditsUnderAGoodChecksumAreRefusedOrRead) {
  std::mt19937_64 random(20261123);
  const std::string content =
      EncodeRecord(77, Number(samples::FullBodies())).substr(detail::kSealBytes);
  int refused = 0;
  constexpr int kRounds = 5'000;
  for (int round = 0; round < kRounds; ++round) {
    std::string edited = content;
    for (uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      edited[random() % edited.size()] = static_cast<char>(random());
    }
    const auto record = DecodeRecord(Sealed(edited));
    if (!record.ok()) {
      ++refused;
      EXPECT_EQ(record.status().code(), StatusCode::kDataLoss);
    } else {  // what was read can be written, and is then the same
      const auto again = DecodeRecord(EncodeRecord(record->commit_id, record->events));
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(EncodeRecord(again->commit_id, again->events),
                EncodeRecord(record->commit_id, record->events));
    }
  }
  EXPECT_GT(refused, kRounds / 10);
  EXPECT_LT(refused, kRounds);
}

TEST(RecordTest, FutureFormatSaysWhatToDo) {
  std::string bytes = EncodeRecord(1, samples::SmallHistory());
  bytes[0] = kEventFormatVersion + 1;
  detail::Seal(kEventFormatVersion + 1, bytes);
  const Status status = DecodeRecord(bytes).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(MessageText(status),
            "record: format version 2, but this build reads up to version 1; upgrade this worker");
}

TEST(RecordTest, UnknownEventTypeSaysWhatToDo) {
  const Status status = DecodeRecord(RecordOf(7, 1, std::string("\x4d\x01z", 3))).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_EQ(MessageText(status),
            "event 7: unknown event type 77, written by a newer Marathon; upgrade this worker");
}

TEST(RecordTest, FieldsOfANewerMarathonAreSkipped) {
  // TimerFired (13) with its timer (zigzag 4) and three more bytes; then WorkflowTimedOut (53) with
  // an empty text and one.
  const auto record =
      DecodeRecord(RecordOf(1, 2, std::string("\x0d\x04\x08new\x35\x02\0!", 10)));
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(record->events, Number({TimerFired{4}, WorkflowTimedOut{}}));
}

TEST(RecordTest, MembersThatAnOlderMarathonDidNotWriteHaveTheirDefault) {
  const WorkflowStarted started{.workflow_type = "Checkout", .request_id = "r"};
  std::string older = EncodeBody(started).substr(detail::kSealBytes);
  older.resize(older.size() - 2);  // memo and attributes, which are empty
  older[1] = static_cast<char>(older[1] - 2);  // the length behind the type
  const auto body = DecodeBody(Sealed(older));
  ASSERT_TRUE(body.ok()) << body.status();
  EXPECT_EQ(*body, EventBody(started));
}

TEST(RecordTest, WhatCannotBeMeansDamage) {
  const auto error = [](const std::string& bytes) {
    return MessageText(DecodeRecord(bytes).status());
  };
  EXPECT_THAT(error(""), HasSubstr("record: 0 bytes are too few"));
  EXPECT_THAT(error(RecordOf(1, uint64_t{1} << 60, "")),
              HasSubstr("claims 1152921504606846976 events"));
  EXPECT_THAT(error(RecordOf(0, 1, std::string("\x35\x00", 2))), HasSubstr("impossible id 0"));
  EXPECT_THAT(error(RecordOf(~uint64_t{0}, 1, std::string("\x35\x00", 2))),
              HasSubstr("impossible id"));
  EXPECT_THAT(error(RecordOf(1, 1, std::string("\x0d\x00", 2))),
              HasSubstr("event 1: TimerFired ends too early at byte 0 of 0"));
  EXPECT_THAT(error(RecordOf(1, 1, std::string("\x0d\x7f", 2))),
              HasSubstr("event 1: its frame ends"));
  // SideEffectRecorded (34) with encoding 9.
  EXPECT_THAT(error(RecordOf(1, 1, std::string("\x22\x02\x09\x00", 4))),
              HasSubstr("unknown enumerator"));
  // TimerFired with a varint of eleven bytes.
  EXPECT_THAT(error(RecordOf(1, 1, "\x0d\x0b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
              HasSubstr("more than 64 bits"));
  // ActivityFailed (12) whose failure has a mask bit that nobody has defined.
  EXPECT_THAT(error(RecordOf(1, 1, std::string("\x0c\x04\x02\x80\x02\x02", 6))),
              HasSubstr("a newer Marathon wrote"));
  EXPECT_THAT(MessageText(DecodeBody(Sealed("junk")).status()), HasSubstr("message: "));
}

TEST(RecordTest, DeepCausesAreCutNotFatal) {
  Failure failure;
  for (int depth = 0; depth < 1'000; ++depth) {
    Failure outer;
    outer.type = "layer";
    outer.cause.push_back(std::move(failure));
    failure = std::move(outer);
  }
  const auto body = DecodeBody(EncodeBody(WorkflowFailed{failure}));
  ASSERT_TRUE(body.ok()) << body.status();
  int depth = 0;
  for (const Failure* f = &std::get<WorkflowFailed>(*body).failure; !f->cause.empty();
       f = &f->cause[0]) {
    ++depth;
  }
  EXPECT_EQ(depth, detail::kMaxDepth);

  // By hand, a failure (mask 0x80: only the cause) in a failure, a million deep, within
  // WorkflowFailed (51).
  std::string nested;
  for (int i = 0; i < 1'000'000; ++i) nested += "\x80\x01\x01";
  std::string frame(16, '\0');
  detail::Writer writer(frame.data());
  writer.Varint(51);
  writer.Varint(nested.size());
  frame.resize(static_cast<size_t>(writer.position() - frame.data()));
  EXPECT_THAT(MessageText(DecodeRecord(RecordOf(1, 1, frame + nested)).status()),
              HasSubstr("nests too deep"));
}

TEST(AppendRecordTest, IdsGoOnWithoutAGap) {
  const History all = samples::SmallHistory();
  History history;
  ASSERT_TRUE(AppendRecord(EncodeRecord(1, {all.begin(), all.begin() + 3}), history).ok());
  ASSERT_TRUE(AppendRecord(EncodeRecord(2, {all.begin() + 3, all.end()}), history).ok());
  EXPECT_EQ(history, all);

  const Status twice = AppendRecord(EncodeRecord(2, {all.begin() + 3, all.end()}), history);
  EXPECT_EQ(twice.code(), StatusCode::kDataLoss);
  EXPECT_EQ(MessageText(twice), "record: begins with event 4 where event 7 should follow");
  EXPECT_EQ(history, all) << "a refused record leaves nothing behind";
  EXPECT_FALSE(AppendRecord("junk", history).ok());
  EXPECT_EQ(history, all);
}

TEST(BodyTest, EveryEventComesBack) {
  for (const auto& bodies : {samples::FullBodies(), samples::DefaultBodies()}) {
    for (const EventBody& body : bodies) {
      const auto decoded = DecodeBody(EncodeBody(body));
      ASSERT_TRUE(decoded.ok()) << decoded.status();
      EXPECT_EQ(*decoded, body) << Describe(body);
    }
  }
}

TEST(BodyTest, EverySingleBitFlipIsDetected) {
  const std::string good = EncodeBody(samples::FullBodies()[3]);
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(DecodeBody(bad).status().code(), StatusCode::kDataLoss) << "bit " << bit;
  }
}

}  // namespace
}  // namespace marathon::event_codec_test
