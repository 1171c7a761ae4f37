#include "group_commit.h"

#include <algorithm>
#include <thread>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

GroupCommit::GroupCommit(Runtime* runtime, SqliteConnection* connection,
                         SqliteTransactionHooks* hooks)
    : runtime_(runtime),
      connection_(connection),
      hooks_(hooks),
      sql_(std::make_unique<Statements>(*connection)) {}

GroupCommit::Statements::Statements(SqliteConnection& db)
    : begin(db, "BEGIN IMMEDIATE"),
      begin_read(db, "BEGIN"),
      commit(db, "COMMIT"),
      rollback(db, "ROLLBACK"),
      settle(db, "UPDATE meta SET value = value + 1 WHERE name = 'settled'") {}

void GroupCommit::Enqueue(std::unique_ptr<SqliteOperation> operation) {
  {
    std::unique_lock lock(mutex_);
    if (closed_ || alone_ == std::this_thread::get_id()) {
      Status refusal = closed_ ? Cancelled("the store is closed")
                               : FailedPrecondition("a transactional activity asks its store for something that waits "
                                                    "for its own end: do that in another activity");
      lock.unlock();
      return operation->Finish(std::move(refusal));
    }
    queue_.push_back(std::move(operation));
    // A leader looks again when it is done.
    if (scheduled_ || IsLed()) return;
    scheduled_ = true;
  }
  Schedule();
}

void GroupCommit::Wake() {
  {
    std::lock_guard lock(mutex_);
    woken_ = true;
    if (closed_ || scheduled_ || IsLed()) return;
    scheduled_ = true;
  }
  Schedule();
}

bool GroupCommit::IsLed() {
  if (leading_ && reporting_since_ != 0 &&
      runtime_->MonotonicMicros() - reporting_since_ > kLongReportMicros) {
    leading_ = false;
    ++term_;
  }
  return leading_;
}

void GroupCommit::Schedule() {
  runtime_->PostWhenIdle([weak = weak_from_this(), weak_owner = owner_] {
    const auto owner = weak_owner.lock();
    if (owner == nullptr) return;  // being destroyed: Close() does what is queued
    if (const auto self = weak.lock()) self->Lead();
  });
}

void GroupCommit::Lead() {
  std::unique_lock lock(mutex_);
  scheduled_ = false;
  const auto has_work = [this] { return !closed_ && (woken_ || !queue_.empty()); };
  if (!leading_ && has_work()) LeadOneBatch(lock);
  LetNextAlone();
  if (leading_ || scheduled_ || !has_work()) return;
  scheduled_ = true;
  lock.unlock();
  Schedule();
}

void GroupCommit::LeadOneBatch(std::unique_lock<std::mutex>& lock) {
  leading_ = true;
  reporting_since_ = 0;
  const uint64_t term = ++term_;
  woken_ = false;
  Batch batch;
  const size_t count = std::min(queue_.size(), kMaxBatch);
  batch.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  lock.unlock();

  std::vector<Status> results(batch.size());
  if (!batch.empty()) Commit(batch, results);
  lock.lock();
  reporting_since_ = runtime_->MonotonicMicros();
  lock.unlock();
  Report(batch, results);

  lock.lock();
  const bool deposed = term != term_;
  if (!deposed) reporting_since_ = 0;
  lock.unlock();
  if (!deposed) hooks_->OnIdle();
  batch.clear();

  lock.lock();
  if (deposed) return;
  leading_ = false;
  led_.notify_all();
}

// ---- Alone

void GroupCommit::RunAlone(std::unique_ptr<SqliteOperation> operation) {
  if (Status status = BeginAlone(); !status.ok()) return operation->Finish(std::move(status));
  Batch batch;
  batch.push_back(std::move(operation));
  std::vector<Status> results(1);
  Commit(batch, results);
  EndAlone();
  batch[0]->Finish(std::move(results[0]));
}

Status GroupCommit::BeginAlone() {
  std::unique_lock lock(mutex_);
  if (closed_) return Cancelled("the store is closed");
  if (IsLed() || !queue_.empty() || !waiting_alone_.empty()) {
    auto ready = runtime_->NewOneShot();
    waiting_alone_.push_back(ready);
    if (!leading_ && !scheduled_) {
      scheduled_ = true;
      lock.unlock();
      Schedule();
    } else {
      lock.unlock();
    }
    ready->Wait(OneShot::kForever);
    lock.lock();
  } else {
    leading_ = true;
    reporting_since_ = 0;
    ++term_;
  }
  alone_ = std::this_thread::get_id();
  return {};
}

void GroupCommit::LetNextAlone() {
  if (leading_ || waiting_alone_.empty()) return;
  leading_ = true;
  reporting_since_ = 0;
  ++term_;
  waiting_alone_.front()->Set();
  waiting_alone_.pop_front();
}

void GroupCommit::EndAlone() {
  std::unique_lock lock(mutex_);
  alone_ = {};
  lock.unlock();
  hooks_->OnIdle();
  lock.lock();
  leading_ = false;
  led_.notify_all();
  if (queue_.empty()) LetNextAlone();
  if (leading_ || scheduled_ || (queue_.empty() && !woken_)) return;
  scheduled_ = true;
  lock.unlock();
  Schedule();
}

// The last one here and now, the others by whoever is free: a report may be followed by user code, which may
// hang, and no other must wait for that.
void GroupCommit::Report(Batch& batch, std::vector<Status>& results) {
  const std::shared_ptr<void> owner = owner_.lock();  // none: the lanes may be gone, too
  for (size_t i = 0; i < batch.size(); ++i) {
    if (owner == nullptr || i + 1 == batch.size()) {
      batch[i]->Finish(std::move(results[i]));
      continue;
    }
    runtime_->Post(Lane::kTurn, [owner, operation = std::move(batch[i]),
                                 result = std::move(results[i])]() mutable {
      operation->Finish(std::move(result));
    });
  }
}

void GroupCommit::Commit(Batch& batch, std::vector<Status>& results) {
  if (Status settled = SettleLastCommit(); !settled.ok()) {
    std::fill(results.begin(), results.end(), settled);
    return;
  }
  bool ambiguous = false;
  const Status all = TryTransaction(batch.data(), batch.data() + batch.size(), &ambiguous);
  if (all.ok()) return;
  // A batch of one has its answer. So has one that may have been committed: it must not run twice.
  const bool final = batch.size() == 1 || ambiguous ||
                     all.code() == StatusCode::kUnavailable;  // no lock: nobody would fare better
  for (size_t i = 0; i < batch.size(); ++i) {
    bool unknown = ambiguous;
    if (!final) {
      const Status settled = SettleLastCommit();
      results[i] = settled.ok() ? TryTransaction(&batch[i], &batch[i] + 1, &unknown) : settled;
    } else {
      results[i] = all;
    }
    if (unknown) {
      results[i] = batch[i]->writes() ? Unknown(MessageOf(results[i]))
                                      : Unavailable(MessageOf(results[i]));
    }
  }
}

Status GroupCommit::TryTransaction(std::unique_ptr<SqliteOperation>* begin,
                                   std::unique_ptr<SqliteOperation>* end, bool* ambiguous) {
  *ambiguous = false;
  const bool writes = std::any_of(begin, end, [](const auto& op) { return op->writes(); });
  (writes ? sql_->begin : sql_->begin_read).Run();
  if (connection_->failed()) return connection_->TakeError();
  hooks_->OnBegin();
  for (auto* op = begin; op != end && !connection_->failed(); ++op) (*op)->Apply();
  if (!connection_->failed()) hooks_->OnCommit();
  if (!connection_->failed()) {
    sql_->commit.Run();
    if (!connection_->failed()) return Status();
    // The log's last frame may have reached the disk although its fsync failed: a crash right now could
    // bring this commit back. Any other failure comes before that frame.
    *ambiguous = writes && (sqlite3_extended_errcode(connection_->handle()) & 0xff) == SQLITE_IOERR;
    unsettled_ = *ambiguous;
  }
  Status error = connection_->TakeError();
  Rollback();
  return error;
}

// After a commit of unknown outcome, what follows must not be read as its absence until it cannot come
// back. Another commit overwrites its frames in the log.
Status GroupCommit::SettleLastCommit() {
  if (!unsettled_) return Status();
  sql_->begin.Run();
  sql_->settle.Run();
  sql_->commit.Run();
  if (!connection_->failed()) {
    unsettled_ = false;
    return Status();
  }
  const Status error = connection_->TakeError();
  Rollback();
  return Unavailable(MessageOf(error));
}

void GroupCommit::Rollback() {
  if (sqlite3_get_autocommit(connection_->handle()) == 0) {
    sql_->rollback.Run();
    static_cast<void>(connection_->TakeError());  // SQLite may have rolled back by itself
  }
  hooks_->OnRollback();
}

void GroupCommit::Close() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  led_.wait(lock, [this] { return !leading_; });
  while (!queue_.empty()) LeadOneBatch(lock);
  sql_.reset();
}

}  // namespace marathon::inline MARATHON_ABI::detail
