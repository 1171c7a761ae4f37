// Which files the SQLite adapter opens, and which it refuses, with what words.
// needs: sqlite testing
// program: stores
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>
#include <string>

#include "sqlite_fixture.h"

namespace marathon::testing::sqlite_open_test {
namespace {

using ::testing::HasSubstr;

class SqliteOpenTest : public ::testing::Test {
 protected:
  std::string file() const { return folder_.File("app.db"); }
  Status Open(const std::string& parameters = "") {
    Process process(world_);
    return process.Open(file(), parameters);
  }
  std::string Contents() {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void Write(const std::string& bytes) {
    std::ofstream(file(), std::ios::binary | std::ios::trunc) << bytes;
  }
  void FillWithRuns(int count) {
    Process process(world_, "filler");
    ASSERT_TRUE(process.Open(file()).ok());
    for (int i = 0; i < count; ++i) {
      process.ports.store->Start(StartOf(i), [](const auto& reply) { ASSERT_TRUE(reply.ok()); });
    }
  }

  TempFolder folder_;
  SimWorld world_{1};
};

TEST_F(SqliteOpenTest, MakesANewFileThatSaysWhatItIs) {
  ASSERT_TRUE(Open().ok());
  RawDatabase db(file());
  EXPECT_EQ(db.Text("PRAGMA application_id"), std::to_string(0x4d617261));
  EXPECT_EQ(db.Text("PRAGMA user_version"), "7");
  EXPECT_EQ(db.Text("PRAGMA journal_mode"), "wal");
  struct stat info = {};
  ASSERT_EQ(stat(file().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST_F(SqliteOpenTest, AnEmptyFileBecomesADatabase) {
  Write("");
  EXPECT_TRUE(Open().ok());
  EXPECT_TRUE(Open().ok());
}

TEST_F(SqliteOpenTest, RefusesUrlsThatItCannotMean) {
  Process process(world_);
  for (const char* text : {"sqlite:", "sqlite::memory:", "sqlite://host/app.db", "sqlite:/tmp",
                           "sqlite:x.db?sync=full", "sqlite:x.db?synchronous=off",
                           "sqlite:x.db?check=yes", "sqlite:x.db?busy_timeout=-1",
                           "sqlite:x.db?busy_timeout=soon", "sqlite:x.db?resend=0", "sqlite:x.db?closed_keep=999",
                           "sqlite:x.db?closed_bytes=-1", "sqlite:x.db?closed_bytes=1G",
                           "sqlite:x.db?namespace="}) {
    const auto url = ParseBackendUrl(text);
    ASSERT_TRUE(url.ok()) << text;
    const auto opened = SqliteBackend().open(*url, process.runtime);
    EXPECT_EQ(opened.status().code(), StatusCode::kInvalidArgument) << text << opened.status();
  }
}

TEST_F(SqliteOpenTest, AFolderThatIsNotThereIsNamed) {
  Process process(world_);
  const Status status = process.Open(folder_.File("no/such/app.db"));
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("no/such/app.db"));
}

TEST_F(SqliteOpenTest, RefusesAFileThatIsNoDatabaseAndLeavesItAlone) {
  const std::string text(5'000, 'x');
  Write(text);
  EXPECT_EQ(Open().code(), StatusCode::kDataLoss);
  EXPECT_EQ(Contents(), text);
}

TEST_F(SqliteOpenTest, RefusesAnotherApplicationsDatabaseAndLeavesItAlone) {
  RawDatabase(file()).Run("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)");
  const std::string before = Contents();
  const Status status = Open();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("not Marathon's"));
  EXPECT_EQ(Contents(), before);
}

TEST_F(SqliteOpenTest, RefusesANewerSchemaAndSaysWhatToDo) {
  ASSERT_TRUE(Open().ok());
  RawDatabase(file()).Run("PRAGMA user_version = 99");
  const Status status = Open();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("schema is 99"));
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("Upgrade"));
}

// Method: flip one byte in each 512 of a database of 50 runs. Opening it with a check either refuses it as
// damaged or finds every run whole or damaged; nothing crashes, and no run is silently another.
TEST_F(SqliteOpenTest, ReportsFlippedBytes) {
  FillWithRuns(50);
  const std::string sound = Contents();
  ASSERT_GT(sound.size(), 50'000u);
  int refused = 0;
  for (size_t at = 0; at < sound.size(); at += 512) {
    SCOPED_TRACE(at);
    std::string damaged = sound;
    damaged[at + at / 512 % 512] ^= 0x55;
    Write(damaged);
    Process process(world_);
    const Status status = process.Open(file(), "?check=quick");
    if (!status.ok()) {
      EXPECT_TRUE(status.code() == StatusCode::kDataLoss ||
                  status.code() == StatusCode::kFailedPrecondition)
          << status;
      ++refused;
      continue;
    }
    for (int i = 0; i < 50; ++i) {
      const auto run = process.Read(KeyOf(i));
      if (run.ok()) {
        EXPECT_EQ(run->row.key, KeyOf(i));
      } else {
        EXPECT_TRUE(run.status().code() == StatusCode::kDataLoss ||
                    run.status().code() == StatusCode::kNotFound)
            << run.status();
      }
    }
  }
  EXPECT_GT(refused, 0);
}

TEST_F(SqliteOpenTest, ChecksAfterAnUncleanEnd) {
  FillWithRuns(50);
  std::string bytes = Contents();
  // The right-most pointer of an inner page, or some cell: whatever it is, quick_check must object.
  RawDatabase raw(file());
  const size_t page = std::stoul(raw.Text("SELECT rootpage FROM sqlite_schema WHERE name = 'runs'"));
  for (size_t i = 0; i < 64; ++i) bytes[(page - 1) * 4096 + 8 + i] ^= 0x7f;
  Write(bytes);
  EXPECT_TRUE(Open("?check=none").ok());
  EXPECT_TRUE(Open("?check=auto").ok());  // it ended cleanly: nothing to suspect
  std::ofstream(file() + "-wal") << "left behind";
  EXPECT_EQ(Open("?check=auto").code(), StatusCode::kDataLoss);
  EXPECT_EQ(Open("?check=quick").code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace marathon::testing::sqlite_open_test
