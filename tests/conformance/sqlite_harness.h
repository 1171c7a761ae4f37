// An SQLite store for the suites: a file of its own and a clock that can be turned.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>

#include "marathon/adapters/sqlite.h"
#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/testing/store_harness.h"
#include "pumped_runtime.h"

namespace marathon::inline MARATHON_ABI::testing {

class SqliteHarness final : public StoreHarness {
 public:
  SqliteHarness() {
    std::string name = (access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    name += "/marathon-XXXXXX";
    folder_ = mkdtemp(name.data());
    Reopen();
  }
  ~SqliteHarness() override {
    ports_ = Ports();
    const Status sound = CheckSqliteFile(folder_ + "/app.db");
    EXPECT_TRUE(sound.ok()) << sound;
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  Ports& ports() override { return ports_; }
  void Advance(std::chrono::microseconds by) override { runtime_.Advance(by); }
  void Pump() override { runtime_.Pump(); }
  bool SessionsEndWithTheStore() override { return true; }
  std::optional<int64_t> DueVisited() override { return SqliteDueSteps(*ports_.store); }
  bool KeepClosed(Duration keep, int64_t bytes) override {
    options_.closed_keep = keep;
    options_.closed_bytes = bytes;
    return Reopen();
  }
  bool Reopen() override {
    ports_ = Ports();
    // It is the only process: it need not look for what others write.
    const auto url = ParseBackendUrl("sqlite:" + folder_ + "/app.db?poll_interval=0");
    auto opened = SqliteBackend(options_).open(*url, runtime_);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (opened.ok()) ports_ = *std::move(opened);
    return opened.ok();
  }

 private:
  std::string folder_;
  SqliteOptions options_;
  PumpedRuntime runtime_;
  Ports ports_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
