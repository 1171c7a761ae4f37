// Rows as bytes: each kind there and back, and every damage refused.
// program: values
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "samples.h"
#include "marathon/detail/sealed.h"
#include "marathon/store/row_codec.h"

namespace marathon::row_codec_test {
namespace {

using ::testing::HasSubstr;

template <class Row>
Row FullRow();
template <>
RunRow FullRow() {
  return samples::FullRunRow();
}
template <>
ActivityRow FullRow() {
  return samples::FullActivityRow();
}
template <>
SessionRow FullRow() {
  return samples::FullSessionRow();
}
template <>
IdRow FullRow() {
  return samples::FullIdRow();
}

template <class Row>
class RowCodecTest : public ::testing::Test {
 protected:
  static StatusCode CodeOf(std::string_view bytes) { return DecodeRow<Row>(bytes).status().code(); }
  // A full row as each version before this one would have read it, by how much less that wrote.
  static std::map<size_t, Row> OlderRows() {
    std::map<size_t, Row> older;
    if constexpr (std::is_same_v<Row, RunRow>) {
      RunRow row = FullRow<RunRow>();
      const size_t all = EncodeRow(row).size();
      row.has_blobs = false;  // one byte says so, as of each of them
      older[all - EncodeRow(row).size() + 1] = row;
      row.pinned.reset();
      older[all - EncodeRow(row).size() + 2] = row;
      row.labels.reset();
      older[all - EncodeRow(row).size() + 3] = row;
    }
    return older;
  }
  static std::string Resealed(std::string bytes) {
    detail::Seal(kRowFormatVersion, bytes);
    return bytes;
  }
};
using Rows = ::testing::Types<RunRow, ActivityRow, SessionRow, IdRow>;
TYPED_TEST_SUITE(RowCodecTest, Rows);

TYPED_TEST(RowCodecTest, ComesBack) {
  for (const TypeParam& row : {FullRow<TypeParam>(), TypeParam{}}) {
    const auto back = DecodeRow<TypeParam>(EncodeRow(row));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, row);
  }
}

TYPED_TEST(RowCodecTest, EverySingleBitFlipIsDetected) {
  const std::string good = EncodeRow(FullRow<TypeParam>());
  for (size_t bit = 0; bit < good.size() * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(this->CodeOf(bad), StatusCode::kDataLoss) << "bit " << bit;
  }
}

TYPED_TEST(RowCodecTest, EveryTruncationIsDetected) {
  const std::string good = EncodeRow(FullRow<TypeParam>());
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_EQ(this->CodeOf(good.substr(0, size)), StatusCode::kDataLoss) << size;
    if (size < detail::kSealBytes) continue;
    if (this->OlderRows().contains(good.size() - size)) continue;  // see below
    EXPECT_EQ(this->CodeOf(this->Resealed(good.substr(0, size))), StatusCode::kDataLoss) << size;
  }
}

TYPED_TEST(RowCodecTest, MembersThatAnOlderMarathonDidNotWriteHaveTheirDefault) {
  const std::string good = EncodeRow(FullRow<TypeParam>());
  for (const auto& [less, older] : this->OlderRows()) {
    const auto back = DecodeRow<TypeParam>(this->Resealed(good.substr(0, good.size() - less)));
    ASSERT_TRUE(back.ok()) << back.status();
    EXPECT_EQ(*back, older);
  }
}

TYPED_TEST(RowCodecTest, RandomEditsUnderAGoodChecksumAreRefusedOrRead) {
  std::mt19937_64 random(20261123);
  const std::string good = EncodeRow(FullRow<TypeParam>());
  for (int round = 0; round < 5'000; ++round) {
    std::string edited = good;
    for (int edits = 0; edits < 3; ++edits) {
      edited[random() % edited.size()] = static_cast<char>(random());
    }
    const auto row = DecodeRow<TypeParam>(this->Resealed(edited));
    if (row.ok()) {
      const auto again = DecodeRow<TypeParam>(EncodeRow(*row));
      ASSERT_TRUE(again.ok()) << again.status();
      EXPECT_EQ(EncodeRow(*again), EncodeRow(*row));
    } else {
      EXPECT_EQ(row.status().code(), StatusCode::kDataLoss);
    }
  }
}

TYPED_TEST(RowCodecTest, FieldsOfANewerMarathonAreSkipped) {
  const TypeParam row = FullRow<TypeParam>();
  const auto back = DecodeRow<TypeParam>(this->Resealed(EncodeRow(row) + "new"));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, row);
}

TEST(AnyRowCodecTest, OneKindIsNotAnother) {
  const auto row = DecodeRow<RunRow>(EncodeRow(samples::FullIdRow()));
  EXPECT_EQ(row.status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(std::string(row.status().message()), "run row: it is a row of kind 4, not 1");
}

TEST(AnyRowCodecTest, FutureFormatSaysWhatToDo) {
  std::string bytes = EncodeRow(samples::FullIdRow());
  detail::Seal(kRowFormatVersion + 1, bytes);
  const Status status = DecodeRow<IdRow>(bytes).status();
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("upgrade this worker"));
}

}  // namespace
}  // namespace marathon::row_codec_test
