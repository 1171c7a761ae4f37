// What the tests of the SQLite adapter share: a folder of their own, stores in virtual time, and calls
// that wait for their replies.
#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "marathon/adapters/sqlite.h"
#include "marathon/backend.h"
#include "marathon/config.h"
#include "marathon/event_codec.h"
#include "marathon/limits.h"
#include "marathon/state_store.h"
#include "marathon/testing/sim_runtime.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing {

// In memory where there is such a place: what is tested is not the disk, and syncs are free there.
class TempFolder {
 public:
  TempFolder() {
    const bool shm = access("/dev/shm", W_OK) == 0;
    std::string name = (shm ? "/dev/shm" : std::filesystem::temp_directory_path().string()) +
                       "/marathon-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

// A process, as far as the store can tell: a runtime and what was opened with it.
struct Process {
  explicit Process(SimWorld& w, const std::string& name = "process") : world(w), runtime(w, name) {}
  ~Process() { Close(); }

  Status Open(const std::string& file, const std::string& parameters = "",
              SqliteOptions options = {}) {
    auto url = ParseBackendUrl("sqlite:" + file + parameters);
    if (!url.ok()) return url.status();
    auto opened = SqliteBackend(options).open(*url, runtime);
    if (opened.ok()) ports = *std::move(opened);
    return opened.status();
  }
  void Close() { ports = Ports(); }

  // Makes a call and runs the world until it is answered.
  template <class Reply, class Call>
  Reply Wait(Call call) {
    std::optional<Reply> reply;
    call(Callback<void(Reply)>([&](Reply r) { reply.emplace(std::move(r)); }));
    EXPECT_TRUE(world.RunUntil([&] { return reply.has_value(); }));
    return reply.has_value() ? *std::move(reply) : Reply(Unknown("never answered"));
  }
  template <class Request, class Reply>
  StatusOr<Reply> Call(void (StateStore::*method)(Request, Done<Reply>), Request request) {
    return Wait<StatusOr<Reply>>([&](Done<Reply> done) {
      (ports.store.get()->*method)(std::move(request), std::move(done));
    });
  }

  StatusOr<Time> OpenSession(const SessionId& id) {
    return Wait<StatusOr<Time>>([&](Done<Time> done) {
      ports.store->OpenSession({.id = id}, {}, std::move(done));
    });
  }
  StatusOr<StartReply> Start(StartRequest request) {
    return Call(&StateStore::Start, std::move(request));
  }
  StatusOr<RunSnapshot> Read(const RunKey& run) {
    return Call(&StateStore::Read,
                ReadRequest{.run = run, .records = true, .inbox = true, .activities = true});
  }
  StatusOr<CommitReply> Commit(TurnCommit commit) {
    return Call(&StateStore::Commit, std::move(commit));
  }

  SimWorld& world;
  SimRuntime runtime;
  Ports ports;
};

inline RunKey KeyOf(int n) {
  return {"order-" + std::to_string(n), "run-" + std::to_string(n)};
}

inline StartRequest StartOf(int n) {
  WorkflowStarted started;
  started.workflow_type = "Checkout";
  started.task_queue = "default";
  StartRequest request;
  request.run = KeyOf(n);
  request.workflow_type = "Checkout";
  request.task_queue = "default";
  request.request_id = "request-" + std::to_string(n);
  request.messages.push_back({.body = started});
  return request;
}

// The first turn of run `n`: one activity, for anyone to claim or claimed by `session`.
inline TurnCommit FirstTurn(int n, const SessionId& session, bool claim,
                            uint8_t priority = limits::kDefaultPriority) {
  TurnCommit commit;
  commit.run = KeyOf(n);
  commit.commit_id = 100 + static_cast<CommitId>(n);
  commit.session = session;
  commit.new_version = 3;
  ActivityScheduled scheduled;
  scheduled.activity_type = "Charge";
  scheduled.task_queue = "default";
  commit.record = EncodeRecord(commit.commit_id, {{1, TurnStarted{}}, {2, WorkflowStarted{}},
                                                  {3, scheduled}});
  commit.inbox_taken = 1;
  NewActivity activity;
  activity.id = 3;
  activity.activity_type = "Charge";
  activity.task_queue = "default";
  activity.policy.start_to_close = std::chrono::minutes(10);
  activity.policy.priority = priority;
  activity.claim = claim;
  commit.activities.push_back(activity);
  return commit;
}

inline TurnCommit Closing(int n, EventId version) {
  TurnCommit commit;
  commit.run = KeyOf(n);
  commit.commit_id = 200 + static_cast<CommitId>(n);
  commit.expected_version = version;
  commit.new_version = version + 1;
  commit.record = EncodeRecord(commit.commit_id, {{version + 1, WorkflowTerminated{"test"}}});
  commit.close = RunStatus::kTerminated;
  commit.leave_signals = true;
  return commit;
}

// SQL beside the store's back, on a connection of its own.
class RawDatabase {
 public:
  explicit RawDatabase(const std::string& file) {
    EXPECT_EQ(sqlite3_open(file.c_str(), &db_), SQLITE_OK);
  }
  ~RawDatabase() { sqlite3_close(db_); }
  void Run(const std::string& sql) {
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK)
        << sql << ": " << error;
    sqlite3_free(error);
  }
  std::string Text(const std::string& sql) {
    std::string text;
    const auto take = [](void* out, int, char** values, char**) {
      *static_cast<std::string*>(out) = values[0] == nullptr ? "" : values[0];
      return 0;
    };
    EXPECT_EQ(sqlite3_exec(db_, sql.c_str(), take, &text, nullptr), SQLITE_OK) << sql;
    return text;
  }

 private:
  sqlite3* db_ = nullptr;
};

}  // namespace marathon::inline MARATHON_ABI::testing
