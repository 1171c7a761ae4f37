// SqliteGuard keeps users' SQL, on a connection of the store's, within its transaction, its tables and its time.
//
// Its hooks stay on the connection and are asleep unless Run is at work: to set an authorizer has all statements prepared
// anew.
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "connection.h"
#include "marathon/adapters/sqlite_transaction.h"
#include "marathon/config.h"
#include "marathon/runtime.h"
#include "marathon/status.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::detail {

class SqliteGuard {
 public:
  // Both outlive it.
  SqliteGuard(SqliteConnection& connection, const Runtime& runtime);
  ~SqliteGuard();
  SqliteGuard(const SqliteGuard&) = delete;
  SqliteGuard& operator=(const SqliteGuard&) = delete;

  // Calls `body` inside the transaction that is open. Not OK: that transaction cannot be committed. It may take `limit`
  // at most; a statement that is still running then is interrupted.
  Status Run(Duration limit, const std::function<void(sqlite::Transaction&)>& body);
  // Runs statements without results in a transaction of their own. `what` names them for messages.
  Status RunScript(const std::string& sql, std::string_view what);

 private:
  // SQLite's hooks; 0 lets it go on.
  static int OnPrepare(void* self, int action, const char* first, const char* second, const char* database,
                       const char* trigger);
  static int OnCommit(void* self);
  static void OnRollback(void* self);
  static int OnProgress(void* self);

  SqliteConnection& connection_;
  const Runtime& runtime_;
  sqlite::Transaction* running_ = nullptr;
  int64_t until_ = 0;        // monotonic
  bool rolled_back_ = false;  // by a statement
  bool makes_tables_ = false;
};

}  // namespace marathon::inline MARATHON_ABI::detail
