// What the upgrade test opens: copies of stores that were kept, SQLite files and the data of Redis servers, and
// the clock by which they are read.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "../../src/adapters/redis/wire.h"
#include "../unit/sqlite_fixture.h"
#include "fixture.h"

namespace marathon::tests {

// A store in a folder of its own: a copy of `kept`, or empty if there is no such file.
class SqliteCopy {
 public:
  static constexpr const char* kName = "app.db";

  explicit SqliteCopy(const std::filesystem::path& kept) {
    if (exists(kept)) copy_file(kept, file());
  }
  StatusOr<Ports> Open(Runtime& runtime) const {
    return OpenPorts("sqlite:" + file(), {std::make_shared<Backend>(SqliteBackend())}, runtime);
  }
  // As a process that is killed now would leave it, with all of it in one file. REQUIRES: nobody writes.
  void Keep(const std::filesystem::path& kept) const {
    EXPECT_TRUE(Eventually([this] {  // somebody may look for what is due just now: busy
      return testing::RawDatabase(file()).Text("PRAGMA wal_checkpoint(TRUNCATE)") == "0";
    }));
    copy_file(file(), kept, std::filesystem::copy_options::overwrite_existing);
  }
  // Once it is closed.
  Status Check() const { return CheckSqliteFile(file()); }

 private:
  std::string file() const { return folder_.File(kName); }

  testing::TempFolder folder_;
};

// The same on a server of its own.
class RedisCopy {
 public:
  static constexpr const char* kName = "dump.rdb";

  explicit RedisCopy(const std::filesystem::path& kept) {
    if (exists(kept)) copy_file(kept, folder_.File(kName));
    server_.emplace(std::vector<std::string>{"--dir", folder_.File(""), "--dbfilename", kName});
  }
  StatusOr<Ports> Open(Runtime& runtime) {
    auto backend = std::make_shared<Backend>(RedisBackend({.server_clock = false, .log = nullptr}));
    return OpenPorts("redis:" + server_->socket(), {std::move(backend)}, runtime);
  }
  void Keep(const std::filesystem::path& kept) {
    const auto context = server_->Connect();
    const detail::RedisReply saved(static_cast<redisReply*>(redisCommand(context.get(), "SAVE")));
    EXPECT_EQ(saved.text(), "OK");
    copy_file(folder_.File(kName), kept, std::filesystem::copy_options::overwrite_existing);
  }
  Status Check() const { return {}; }

 private:
  testing::TempFolder folder_;
  std::optional<RedisServer> server_;
};

}  // namespace marathon::tests
