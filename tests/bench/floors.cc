// The floors: what the same bytes cost in a bare loop. They count as the engine does, one commit a turn.
#include <marathon/event_codec.h>
#include <marathon/store/row_codec.h>
#include <sqlite3.h>

#include <chrono>
#include <unordered_map>

#include "bench.h"
#include "floor_rows.h"

namespace bench {
namespace {

using marathon::Event;
using marathon::EventType;
using marathon::History;
using marathon::Payload;
const Payload* PayloadOf(const marathon::EventBody& body) {
  return std::visit(
      []<class E>(const E& event) -> const Payload* {
        if constexpr (requires { event.input; }) {
          return &event.input;
        } else if constexpr (requires { event.result; }) {
          return &event.result;
        } else {
          return nullptr;
        }
      },
      body);
}

// A connection for one thread, whose statements are prepared once.
class Database {
 public:
  Database(const std::string& path, bool full_sync) {
    Check(sqlite3_open(path.c_str(), &db_));
    Run("PRAGMA journal_mode = WAL");
    Run(full_sync ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
    Run("PRAGMA wal_autocheckpoint = 4000");
    Run("PRAGMA cache_size = -32768");
    Run("CREATE TABLE log (id INTEGER PRIMARY KEY, run INTEGER NOT NULL, version INTEGER NOT NULL,"
        " record BLOB NOT NULL)");
    Run("CREATE INDEX log_run ON log (run, version)");
    Run("CREATE TABLE names (workflow_id TEXT, kind INTEGER, name TEXT, run INTEGER,"
        " PRIMARY KEY (workflow_id, kind, name)) WITHOUT ROWID");
    Run("CREATE TABLE runs (id INTEGER PRIMARY KEY, row BLOB NOT NULL)");
    Run("CREATE TABLE items (run INTEGER, event INTEGER, row BLOB, PRIMARY KEY (run, event))"
        " WITHOUT ROWID");
  }
  ~Database() {
    for (auto& [sql, statement] : statements_) sqlite3_finalize(statement);
    sqlite3_close(db_);
  }

  template <class... Args>
  void Run(const char* sql, const Args&... args) {
    sqlite3_stmt*& statement = statements_[sql];
    if (statement == nullptr) Check(sqlite3_prepare_v2(db_, sql, -1, &statement, nullptr));
    int column = 0;
    (Bind(statement, ++column, args), ...);
    while (sqlite3_step(statement) == SQLITE_ROW) {
    }
    Check(sqlite3_reset(statement));
  }

 private:
  void Bind(sqlite3_stmt* statement, int column, int64_t value) {
    sqlite3_bind_int64(statement, column, value);
  }
  void Bind(sqlite3_stmt* statement, int column, const std::string& value) {
    sqlite3_bind_blob(statement, column, value.data(), static_cast<int>(value.size()),
                      SQLITE_STATIC);
  }
  void Check(int code) {
    if (code != SQLITE_OK) Die(std::string("the floor's database: ") + sqlite3_errmsg(db_));
  }

  sqlite3* db_ = nullptr;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

class SqliteLoop {
 public:
  SqliteLoop(Database& db, const History& sample, const Convert& convert)
      : db_(db), rows_(sample), convert_(convert) {}

  // So many runs, a turn of each in one transaction.
  void RunGroup(int group) {
    const int64_t first = next_;
    next_ += group;
    for (size_t turn = 0; turn < rows_.turns.size(); ++turn) {
      PutMessages(turn, first);
      db_.Run("BEGIN IMMEDIATE");
      for (int64_t run = first; run < next_; ++run) Commit(turn, run);
      db_.Run("COMMIT");
    }
  }

 private:
  // What comes from outside is written before the turn that takes it: a timer's fire, a signal.
  void PutMessages(size_t turn, int64_t first) {
    for (const Event& event : rows_.turns[turn]) {
      const EventType type = marathon::TypeOf(event.body);
      if (type != EventType::kTimerFired && type != EventType::kSignalReceived) continue;
      db_.Run("BEGIN IMMEDIATE");
      for (int64_t run = first; run < next_; ++run) {
        db_.Run("INSERT INTO items VALUES (?, ?, ?)", run, -event.id,
                marathon::EncodeBody(event.body));
        db_.Run("UPDATE runs SET row = ? WHERE id = ?", rows_.run, run);
      }
      db_.Run("COMMIT");
    }
  }

  void Commit(size_t turn, int64_t run) {
    const History& events = rows_.turns[turn];
    ConvertAll(events, convert_);
    db_.Run("INSERT INTO log (run, version, record) VALUES (?, ?, ?)", run, events.back().id,
            marathon::EncodeRecord(1, events));
    if (turn == 0) {
      const std::string name = std::to_string(run) + std::string(28, 'i');
      db_.Run("INSERT INTO runs VALUES (?, ?)", run, rows_.run);
      for (int64_t kind = 0; kind < 3; ++kind) {
        db_.Run("INSERT INTO names VALUES (?, ?, ?, ?)", name, kind, name, run);
      }
    } else {
      db_.Run("UPDATE runs SET row = ? WHERE id = ?", rows_.run, run);
    }
    for (const Event& event : events) Item(run, event);
  }

  void Item(int64_t run, const Event& event) {
    constexpr const char* kErase = "DELETE FROM items WHERE run = ? AND event = ?";
    if (std::holds_alternative<marathon::ActivityScheduled>(event.body)) {
      db_.Run("INSERT INTO items VALUES (?, ?, ?)", run, event.id, rows_.activity);
    } else if (std::holds_alternative<marathon::TimerStarted>(event.body)) {
      db_.Run("INSERT INTO items VALUES (?, ?, ?)", run, event.id, std::string(8, '\0'));
    } else if (const auto* done = std::get_if<marathon::ActivityCompleted>(&event.body)) {
      db_.Run(kErase, run, done->scheduled);
    } else if (const auto* fired = std::get_if<marathon::TimerFired>(&event.body)) {
      db_.Run(kErase, run, fired->timer);
      db_.Run(kErase, run, -event.id);
    } else if (std::holds_alternative<marathon::SignalReceived>(event.body)) {
      db_.Run(kErase, run, -event.id);
    }
  }

  Database& db_;
  const FloorRows rows_;
  const Convert& convert_;
  int64_t next_ = 1;
};

}  // namespace

std::vector<History> TurnsOf(const History& history) {
  std::vector<History> turns;
  for (const Event& event : history) {
    if (std::holds_alternative<marathon::TurnStarted>(event.body)) turns.emplace_back();
    if (turns.empty()) Die("a history does not begin with a turn");
    turns.back().push_back(event);
  }
  return turns;
}

FloorRows::FloorRows(const History& sample) : turns(TurnsOf(sample)) {
  marathon::RunRow row;
  row.key = {std::string(36, 'i'), std::string(36, 'i')};
  row.workflow_type = "OneActivity";
  row.task_queue = "default";
  row.request_id = row.owner = std::string(36, 'i');
  run = marathon::EncodeRow(row);
  marathon::ActivityRow item;
  item.key.run = row.key;
  item.activity_type = "Increment";
  item.task_queue = "default";
  item.workflow_type = row.workflow_type;
  item.session = row.owner;
  activity = marathon::EncodeRow(item);
}

void ConvertAll(const History& turn, const Convert& convert) {
  for (const Event& event : turn) {
    if (const Payload* payload = PayloadOf(event.body)) convert(*payload);
  }
}

double RateOf(double seconds, const std::function<int64_t()>& step) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto elapsed = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  int64_t runs = 0;
  while (elapsed() < seconds) runs += step();
  return static_cast<double>(runs) / elapsed();
}

double MemoryFloor(const History& sample, const Convert& convert, double seconds) {
  const FloorRows rows(sample);
  std::unordered_map<int64_t, std::vector<std::string>> store;
  int64_t run = 0;
  return RateOf(seconds, [&] {
    constexpr int64_t kGroup = 64;
    for (const int64_t end = run + kGroup; run < end; ++run) {
      for (const History& turn : rows.turns) {
        ConvertAll(turn, convert);
        store[run].push_back(marathon::EncodeRecord(1, turn));
      }
    }
    return kGroup;
  });
}

double SqliteFloor(const std::string& path, bool full_sync, int group, const History& sample,
                   const Convert& convert, double seconds) {
  Database db(path, full_sync);
  SqliteLoop loop(db, sample, convert);
  return RateOf(seconds, [&] {
    loop.RunGroup(group);
    return int64_t{group};
  });
}

double DecodeFloor(const History& sample, double seconds) {
  std::vector<std::string> records;
  for (const History& turn : TurnsOf(sample)) records.push_back(marathon::EncodeRecord(1, turn));
  return RateOf(seconds, [&] {
    History history;
    for (const std::string& record : records) {
      if (!marathon::AppendRecord(record, history).ok()) Die("a record cannot be read");
    }
    return int64_t{1};
  });
}

}  // namespace bench
