#include "wal_checkpointer.h"

#include <fmt/format.h>

#include <condition_variable>
#include <mutex>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {
namespace {

// When the log is worth a checkpoint, and when it is so long that the leader does it whatever it costs
// (the blocking lane may be full of activities): 4 and 64 MiB.
constexpr int kEnoughPages = 1'000;
constexpr int kTooManyPages = 16'000;

}  // namespace

// What the blocking lane works with; it may outlive the store by a moment.
struct WalCheckpointer::Helper {
  enum class State { kResting, kWanted, kWorking, kDone, kClosed };

  Helper(std::string p, bool f) : path(std::move(p)), full_sync(f) {}

  const std::string path;
  const bool full_sync;
  std::mutex mutex;
  std::condition_variable worked;
  State state = State::kResting;
  std::unique_ptr<SqliteConnection> connection;  // of whoever set kWorking

  void Work() {
    {
      std::lock_guard lock(mutex);
      if (state != State::kWanted) return;
      state = State::kWorking;
    }
    // A failure costs nothing but a longer log: the leader's own attempt comes later.
    if (connection == nullptr) {
      auto opened = SqliteConnection::Open(path, /*busy_timeout_ms=*/0);
      if (opened.ok()) {
        connection = *std::move(opened);
        static_cast<void>(connection->Exec(
            full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL"));
      }
    }
    if (connection != nullptr) {
      sqlite3_wal_checkpoint_v2(connection->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr,
                                nullptr);
    }
    std::lock_guard lock(mutex);
    state = State::kDone;
    worked.notify_all();
  }
};

WalCheckpointer::WalCheckpointer(Runtime* runtime, SqliteConnection* leader, std::string path,
                                 bool full_sync)
    : runtime_(runtime),
      leader_(leader),
      helper_(std::make_shared<Helper>(std::move(path), full_sync)) {
  sqlite3_wal_hook(
      leader->handle(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<WalCheckpointer*>(self)->log_pages_ = pages;
        return SQLITE_OK;
      },
      this);
}

WalCheckpointer::~WalCheckpointer() {
  std::unique_lock lock(helper_->mutex);
  helper_->worked.wait(lock, [this] { return helper_->state != Helper::State::kWorking; });
  helper_->state = Helper::State::kClosed;
  helper_->connection.reset();
  lock.unlock();
  if (leader_->handle() != nullptr) sqlite3_wal_hook(leader_->handle(), nullptr, nullptr);
}

void WalCheckpointer::OnIdle() {
  if (log_pages_ < kEnoughPages) return;
  bool copy_now = log_pages_ >= kTooManyPages;
  bool ask = false;
  {
    std::lock_guard lock(helper_->mutex);
    if (helper_->state == Helper::State::kDone) {
      helper_->state = Helper::State::kResting;
      copy_now = true;
    } else if (helper_->state == Helper::State::kResting) {
      helper_->state = Helper::State::kWanted;
      ask = true;
    }
  }
  if (ask) {
    runtime_->Post(Lane::kActivity, [weak = std::weak_ptr(helper_)] {
      if (const auto helper = weak.lock()) helper->Work();
    });
  }
  if (!copy_now) return;
  sqlite3_wal_checkpoint_v2(leader_->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
  log_pages_ = 0;  // until the next commit tells
}

}  // namespace marathon::inline MARATHON_ABI::detail
