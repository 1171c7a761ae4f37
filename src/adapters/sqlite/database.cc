#include "database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>

#include "schema.h"

namespace marathon::inline MARATHON_ABI::detail {
namespace {

static_assert(std::size(kSqliteMigrations) == kSqliteSchemaVersion);

// After an unclean end, a file up to this size is checked at open: about 50 ms.
constexpr int64_t kAutoCheckMaxBytes = 64 << 20;

struct FileState {
  int64_t application_id = 0;
  int64_t user_version = 0;
  int64_t tables = 0;
  bool empty() const { return application_id == 0 && user_version == 0 && tables == 0; }
};

StatusOr<int64_t> QueryInt(SqliteConnection& db, const char* sql) {
  SqliteStatement statement(db, sql);
  int64_t value = 0;
  {
    SqliteCursor cursor = statement.Query();
    if (cursor.Next()) value = cursor.Int(0);
  }
  if (Status error = db.TakeError(); !error.ok()) return error;
  return value;
}

StatusOr<FileState> ReadFileState(SqliteConnection& db) {
  FileState state;
  for (const auto& [sql, field] :
       {std::pair("PRAGMA application_id", &state.application_id),
        std::pair("PRAGMA user_version", &state.user_version),
        std::pair("SELECT count(*) FROM sqlite_schema", &state.tables)}) {
    const StatusOr<int64_t> value = QueryInt(db, sql);
    if (!value.ok()) return value.status();
    *field = *value;
  }
  return state;
}

// All of it as of one moment: another process may be making the file ours right now.
StatusOr<FileState> ReadFileStateAtOnce(SqliteConnection& db) {
  if (Status status = db.Exec("BEGIN"); !status.ok()) return status;
  StatusOr<FileState> state = ReadFileState(db);
  if (Status status = db.Exec("ROLLBACK"); state.ok() && !status.ok()) return status;
  return state;
}

// Whether the file is ours to use, and if not, what to do.
Status CheckFileState(const std::string& path, const FileState& state) {
  if (state.empty()) return Status();
  if (state.application_id != kSqliteApplicationId) {
    return FailedPrecondition(fmt::format(
        "{} is an SQLite database, but not Marathon's (application_id {}). Name another file.",
        path, state.application_id));
  }
  if (state.user_version > kSqliteSchemaVersion) {
    return FailedPrecondition(fmt::format(
        "{} was written by a newer Marathon: its schema is {}, this build knows {}. Upgrade this "
        "program, or name another file.",
        path, state.user_version, kSqliteSchemaVersion));
  }
  if (state.user_version < 1) {
    return DataLoss(fmt::format("{} has no valid schema number ({})", path, state.user_version));
  }
  return Status();
}

// Runs the steps that the file lacks. Whoever gets the write lock first does it.
Status Migrate(SqliteConnection& db, const std::string& path) {
  if (Status status = db.Exec("BEGIN IMMEDIATE"); !status.ok()) return status;
  const auto steps = [&]() -> Status {
    const StatusOr<FileState> state = ReadFileState(db);
    if (!state.ok()) return state.status();
    if (Status status = CheckFileState(path, *state); !status.ok()) return status;
    for (int64_t version = state->user_version; version < kSqliteSchemaVersion; ++version) {
      if (Status status = db.Exec(kSqliteMigrations[version]); !status.ok()) return status;
    }
    return db.Exec(fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}; COMMIT",
                               kSqliteApplicationId, kSqliteSchemaVersion)
                       .c_str());
  };
  Status status = steps();
  if (!status.ok() && sqlite3_get_autocommit(db.handle()) == 0) {
    static_cast<void>(db.Exec("ROLLBACK"));
  }
  return status;
}

Status QuickCheck(SqliteConnection& db, const std::string& path) {
  SqliteStatement statement(db, "PRAGMA quick_check(1)");
  std::string finding;
  {
    SqliteCursor cursor = statement.Query();
    if (cursor.Next()) finding = cursor.String(0);
  }
  if (Status error = db.TakeError(); !error.ok()) return error;
  if (finding == "ok") return Status();
  return DataLoss(fmt::format(
      "{} is damaged: {}. Restore it from a backup, or try `sqlite3 FILE .recover`.", path,
      finding));
}

// The last one to close a database removes its log. One that is left means that a process died, or that
// one is alive: either way a check does no harm.
bool EndedUncleanly(const std::string& path) {
  struct stat log = {};
  struct stat file = {};
  return stat((path + "-wal").c_str(), &log) == 0 && log.st_size > 0 &&
         stat(path.c_str(), &file) == 0 && file.st_size <= kAutoCheckMaxBytes;
}

// SQLite would make it readable for everybody; its log takes the same mode.
Status CreateFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return Unavailable(fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  }
  close(fd);
  return Status();
}

Status Configure(SqliteConnection& db, const SqliteOptions& options) {
  // Checkpoints are the store's to time; the log shrinks back after a large one.
  return db.Exec(fmt::format("PRAGMA journal_mode = WAL; PRAGMA synchronous = {};"
                             "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864;"
                             "PRAGMA cache_size = -32768; PRAGMA temp_store = MEMORY;"
                             "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;"
                             "PRAGMA foreign_keys = ON;{}",  // of users' tables: ours have none
                             options.full_sync ? "FULL" : "NORMAL",
                             options.max_pages > 0
                                 ? fmt::format("PRAGMA max_page_count = {};", options.max_pages)
                                 : "")
                     .c_str());
}

// The change to WAL does not wait for whoever has the file at that moment; a transaction does.
Status ConfigureWhenFree(SqliteConnection& db, const SqliteOptions& options) {
  constexpr int kTries = 100;
  for (int i = 1;; ++i) {
    Status status = Configure(db, options);
    if (status.code() != StatusCode::kUnavailable || i == kTries) return status;
    if (Status waited = db.Exec("BEGIN IMMEDIATE; ROLLBACK"); !waited.ok()) return waited;
  }
}

}  // namespace

StatusOr<std::unique_ptr<SqliteConnection>> OpenSqliteDatabase(const std::string& path,
                                                               const SqliteOptions& options) {
  const bool check = options.check == SqliteOptions::Check::kQuick ||
                     (options.check == SqliteOptions::Check::kAuto && EndedUncleanly(path));
  if (Status status = CreateFile(path); !status.ok()) return status;
  auto opened = SqliteConnection::Open(path, static_cast<int>(options.busy_timeout.count()));
  if (!opened.ok()) return opened.status();
  SqliteConnection& db = **opened;

  // Nothing is changed before the file is known to be ours.
  const StatusOr<FileState> state = ReadFileStateAtOnce(db);
  if (!state.ok()) return state.status();
  if (Status status = CheckFileState(path, *state); !status.ok()) return status;
  if (check) {
    if (Status status = QuickCheck(db, path); !status.ok()) return status;
  }
  if (Status status = ConfigureWhenFree(db, options); !status.ok()) return status;
  if (state->user_version < kSqliteSchemaVersion) {
    if (Status status = Migrate(db, path); !status.ok()) return status;
  }
  return opened;
}

StatusOr<int64_t> SqliteNamespace(SqliteConnection& db, const std::string& name) {
  SqliteStatement insert(db, "INSERT INTO namespaces (name) VALUES (?1) ON CONFLICT DO NOTHING");
  SqliteStatement select(db, "SELECT id FROM namespaces WHERE name = ?1");
  int64_t id = 0;
  const auto find = [&] {
    SqliteCursor cursor = select.Query(name);
    if (cursor.Next()) id = cursor.Int(0);
  };
  find();
  if (id == 0) {
    insert.Run(name);
    find();
  }
  if (Status error = db.TakeError(); !error.ok()) return error;
  return id;
}

}  // namespace marathon::inline MARATHON_ABI::detail
