// The persisted formats, frozen: tests/golden holds the bytes of one record per event type (the
// event with every field set, then at its defaults), of a small run and of each kind of row, as
// hexadecimal text with the same as JSON beside it. Bytes written by any release must be read by
// every later one.
//
// MARATHON_REGENERATE_GOLDEN=1 writes the files anew. From v0.1.0 on that is only for files that
// are new. needs: testing
// program: values
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "samples.h"
#include "marathon/event_codec.h"
#include "marathon/store/row_codec.h"
#include "marathon/testing/history_json.h"
#include "marathon/testing/layout_json.h"

namespace marathon::golden_format_test {
namespace {

const std::filesystem::path kFolder = "tests/golden";  // tests run in the source folder

bool Regenerating() { return std::getenv("MARATHON_REGENERATE_GOLDEN") != nullptr; }

std::string ToHex(std::string_view bytes) {
  std::string hex;
  for (size_t i = 0; i < bytes.size(); ++i) {
    hex += fmt::format("{:02x}", static_cast<unsigned char>(bytes[i]));
    if (i % 32 == 31 || i + 1 == bytes.size()) hex += '\n';
  }
  return hex;
}

std::string FromHex(const std::string& text) {
  std::string bytes, line;
  for (std::istringstream lines(text); std::getline(lines, line);) {
    for (size_t i = 0; i + 1 < line.size(); i += 2) {
      bytes += static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16));
    }
  }
  return bytes;
}

// The text of golden file `name`, which is first written when regenerating.
std::string Golden(const std::string& name, const std::string& current) {
  if (Regenerating()) std::ofstream(kFolder / name, std::ios::binary) << current;
  std::ifstream file(kFolder / name, std::ios::binary);
  EXPECT_TRUE(file.is_open()) << "cannot open " << kFolder / name;
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr CommitId kCommit = 0x0123456789abcdef;

void CheckRecord(const std::string& name, const History& history) {
  SCOPED_TRACE(name);
  const std::string encoded = EncodeRecord(kCommit, history);
  const std::string golden = FromHex(Golden(name + ".hex", ToHex(encoded)));
  EXPECT_EQ(ToHex(encoded), ToHex(golden));
  const auto decoded = DecodeRecord(golden);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->commit_id, kCommit);
  EXPECT_EQ(decoded->events, history);

  const std::string json = Golden(name + ".json", testing::HistoryToJson(history));
  EXPECT_EQ(testing::HistoryToJson(history), json);
  const auto parsed = testing::HistoryFromJson(json);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(*parsed, history);
}

template <class Row>
void CheckRow(const std::string& name, const Row& row) {
  SCOPED_TRACE(name);
  const std::string encoded = EncodeRow(row);
  const std::string golden = FromHex(Golden(name + ".hex", ToHex(encoded)));
  EXPECT_EQ(ToHex(encoded), ToHex(golden));
  const auto decoded = DecodeRow<Row>(golden);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, row);
  const std::string json = testing::detail::ToJson(row).dump(2) + "\n";
  EXPECT_EQ(json, Golden(name + ".json", json));
}

TEST(GoldenFormatTest, EventsOfEveryType) {
  const auto full = samples::FullBodies();
  const auto plain = samples::DefaultBodies();
  ASSERT_EQ(full.size(), std::variant_size_v<detail::AnyEvent>);
  ASSERT_EQ(plain.size(), full.size());
  for (size_t i = 0; i < full.size(); ++i) {
    ASSERT_EQ(full[i].index(), i);
    CheckRecord("event_" + ToString(TypeOf(full[i])), {{1, full[i]}, {2, plain[i]}});
  }
}

TEST(GoldenFormatTest, ASmallRun) { CheckRecord("record_small_run", samples::SmallHistory()); }

TEST(GoldenFormatTest, PayloadsBesideTheirRecord) { CheckRecord("record_named_payloads", samples::NamedPayloads()); }

TEST(GoldenFormatTest, PayloadsThatAreSealed) { CheckRecord("record_sealed_payloads", samples::SealedPayloads()); }

TEST(GoldenFormatTest, MessageBody) {
  const EventBody body = samples::FullBodies()[5];
  const std::string golden = FromHex(Golden("body_SignalReceived.hex", ToHex(EncodeBody(body))));
  EXPECT_EQ(ToHex(EncodeBody(body)), ToHex(golden));
  const auto decoded = DecodeBody(golden);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, body);
}

TEST(GoldenFormatTest, RowsOfEveryKind) {
  CheckRow("row_run", samples::FullRunRow());
  CheckRow("row_run_default", RunRow{});
  CheckRow("row_activity", samples::FullActivityRow());
  CheckRow("row_activity_default", ActivityRow{});
  CheckRow("row_session", samples::FullSessionRow());
  CheckRow("row_session_default", SessionRow{});
  CheckRow("row_id", samples::FullIdRow());
  CheckRow("row_id_default", IdRow{});
}

TEST(GoldenFormatTest, NumbersOfEnumeratorsStay) {
  EXPECT_EQ(static_cast<int>(EventType::kTurnStarted), 1);
  EXPECT_EQ(static_cast<int>(EventType::kWorkflowTimedOut), 53);
  EXPECT_EQ(static_cast<int>(EventType::kWorkflowContinuedAsNew), 55);
  EXPECT_EQ(static_cast<int>(FailureKind::kEngine), 5);
  EXPECT_EQ(static_cast<int>(TimeoutKind::kRun), 5);
  EXPECT_EQ(static_cast<int>(Encoding::kJson), 1);
  EXPECT_EQ(static_cast<int>(Encoding::kBlob), 2);
  EXPECT_EQ(static_cast<int>(Encoding::kSealed), 3);
  EXPECT_EQ(static_cast<int>(RunStatus::kTimedOut), 6);
  EXPECT_EQ(static_cast<int>(RunStatus::kContinuedAsNew), 7);
  EXPECT_EQ(static_cast<int>(ActivityState::kDetached), 4);
  EXPECT_EQ(static_cast<int>(ActivityState::kDead), 5);
  EXPECT_EQ(static_cast<int>(Owed::kNow), 2);
}

}  // namespace
}  // namespace marathon::golden_format_test
