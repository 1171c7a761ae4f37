// The conformance suite of the BlobStore port. A test program includes this header in one file, brings a
// StoreHarness (of which only the blobs are used) that keeps them for limits::kBlobKeep, and instantiates
// BlobStoreConformance.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "marathon/blob_store.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/testing/store_harness.h"

namespace marathon::inline MARATHON_ABI::testing {

class BlobStoreConformance : public ::testing::TestWithParam<HarnessMaker> {
 protected:
  using Bytes = std::vector<std::string>;
  using Refs = std::vector<BlobRef>;

  BlobStoreConformance() : harness_(GetParam().make()) {}

  BlobStore& blobs() { return *harness_->ports().blobs; }

  StatusOr<Refs> TryPut(Bytes bytes) {
    return Await<StatusOr<Refs>>(*harness_,
                                 [&](auto done) { blobs().Put(std::move(bytes), std::move(done)); });
  }
  Refs Put(Bytes bytes) {
    const size_t count = bytes.size();
    StatusOr<Refs> refs = TryPut(std::move(bytes));
    EXPECT_TRUE(refs.ok()) << refs.status();
    return refs.ok() ? *std::move(refs) : Refs(count);
  }
  StatusOr<Bytes> Get(Refs refs) {
    return Await<StatusOr<Bytes>>(*harness_,
                                  [&](auto done) { blobs().Get(std::move(refs), std::move(done)); });
  }
  StatusCode CodeOfGet(const BlobRef& ref) { return Get({ref}).status().code(); }
  int64_t Sweep(int limit = 1'000) {
    const auto swept =
        Await<StatusOr<int64_t>>(*harness_, [&](auto done) { blobs().Sweep(limit, std::move(done)); });
    EXPECT_TRUE(swept.ok()) << swept.status();
    return swept.value_or(-1);
  }

  std::unique_ptr<StoreHarness> harness_;
};

TEST_P(BlobStoreConformance, GivesBackWhatWasPut) {
  std::string all;
  for (int i = 0; i < 256; ++i) all += static_cast<char>(i);
  const Bytes bytes{"one", "", all, std::string(3 << 20, 'x')};
  const Refs refs = Put(bytes);
  ASSERT_EQ(refs.size(), bytes.size());
  for (size_t i = 0; i < refs.size(); ++i) EXPECT_EQ(refs[i].size, bytes[i].size());
  const StatusOr<Bytes> got = Get(refs);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, bytes);
  EXPECT_EQ(*Get({refs[2], refs[0], refs[2]}), (Bytes{all, "one", all})) << "in the order asked for";
}

TEST_P(BlobStoreConformance, NamesAreDigests) {
  const Refs refs = Put({"abc"});
  EXPECT_EQ(refs.at(0).sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Put({"abd", "abc", "abc"}), (Refs{Put({"abd"}).at(0), refs[0], refs[0]}))
      << "the same bytes, the same name";
}

TEST_P(BlobStoreConformance, NothingIsAnswered) {
  EXPECT_EQ(Put({}), Refs());
  const StatusOr<Bytes> got = Get({});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, Bytes());
}

TEST_P(BlobStoreConformance, TheFirstThatIsMissingIsNamed) {
  const BlobRef there = Put({"there"}).at(0);
  const BlobRef missing{std::string(64, 'a'), 5};
  const Status status = Get({there, missing, {std::string(64, 'b'), 5}}).status();
  EXPECT_EQ(status.code(), StatusCode::kNotFound);
  EXPECT_NE(MessageOf(status).find(missing.sha256), std::string_view::npos) << status;
}

TEST_P(BlobStoreConformance, ARefOfAnotherSizeIsNotBelieved) {
  BlobRef ref = Put({"there"}).at(0);
  ++ref.size;
  EXPECT_EQ(CodeOfGet(ref), StatusCode::kDataLoss);
}

TEST_P(BlobStoreConformance, WhatIsNoNameIsRefused) {
  const std::string upper = std::string(63, 'a') + "A";
  for (const std::string& name : {std::string(), std::string("abc"), upper, std::string(65, 'a')}) {
    EXPECT_EQ(CodeOfGet({name, 1}), StatusCode::kInvalidArgument) << name;
  }
}

TEST_P(BlobStoreConformance, WhatIsTooBigKeepsAllOut) {
  EXPECT_EQ(TryPut({"small", std::string(limits::kBlobMaxBytes + 1, 'x')}).status().code(),
            StatusCode::kInvalidArgument);
  const BlobRef small{"81db8ebbbbc69c6c6ad4a6aa92b76e0c08af547da236b9e2c9dbe1d8285a8130", 5};
  EXPECT_EQ(CodeOfGet(small), StatusCode::kNotFound);
  EXPECT_EQ(Put({"small"}), Refs{small});
}

TEST_P(BlobStoreConformance, WhatNobodyUsesIsForgotten) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  const BlobRef unused = Put({"unused"}).at(0);
  const BlobRef put_again = Put({"put again"}).at(0);
  const BlobRef read = Put({"read"}).at(0);
  harness_->Advance(limits::kBlobKeep * 2 / 3);
  EXPECT_EQ(Sweep(), 0);
  Put({"put again"});
  EXPECT_TRUE(Get({read}).ok());
  harness_->Advance(limits::kBlobKeep * 2 / 3);
  EXPECT_EQ(Sweep(), 1);
  EXPECT_EQ(CodeOfGet(unused), StatusCode::kNotFound);
  EXPECT_EQ(Put({"unused"}), Refs{unused}) << "it can be made again";
  const StatusOr<Bytes> got = Get({put_again, read});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, (Bytes{"put again", "read"}));
  harness_->Advance(limits::kBlobKeep * 2);
  EXPECT_EQ(Sweep(), 3);
  EXPECT_EQ(CodeOfGet(read), StatusCode::kNotFound);
}

TEST_P(BlobStoreConformance, ASweepGoesAsFarAsItIsAllowed) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  Put({"1", "2", "3", "4", "5"});
  harness_->Advance(limits::kBlobKeep * 2);
  EXPECT_EQ(Sweep(2), 2);
  EXPECT_EQ(Sweep(2), 2);
  EXPECT_EQ(Sweep(2), 1);
}

TEST_P(BlobStoreConformance, PutsSweepALittle) {
  if (!harness_->ForgetsByItsClock()) GTEST_SKIP() << "by the server";
  for (int i = 0; i < 20; ++i) Put({std::to_string(i)});
  harness_->Advance(limits::kBlobKeep * 2);
  for (int i = 0; i < 20; ++i) Put({"new " + std::to_string(i)});
  EXPECT_EQ(Sweep(), 0);
}

TEST_P(BlobStoreConformance, BlobsOutliveTheProcess) {
  const BlobRef ref = Put({"kept"}).at(0);
  if (!harness_->Reopen()) GTEST_SKIP() << "not a durable store";
  const StatusOr<Bytes> got = Get({ref});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(*got, Bytes{"kept"});
}

}  // namespace marathon::inline MARATHON_ABI::testing
