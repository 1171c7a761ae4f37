// Exactly once: an activity's own SQL and its end are one transaction of the engine's SQLite file. The worker dies
// after it has written; the next one finds that nothing has happened, and moves the money once.
//
//   process 1:  Transfer ──► UPDATE, UPDATE ✗ dies        neither is there
//   process 2:               UPDATE, UPDATE, end ──► COMMIT      all are
#include <marathon/adapters/sqlite.h>
#include <marathon/adapters/sqlite_transaction.h>
#include <marathon/marathon.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

using namespace std::chrono_literals;

struct Transfer {
  std::string from, to;
  int64_t cents = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Transfer, from, to, cents)

inline constexpr marathon::ActivityDef<int64_t(Transfer)> kTransfer{"Transfer"};
inline constexpr marathon::WorkflowDef<int64_t(Transfer)> kPay{"Pay"};

constexpr const char* kTables =
    "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, cents INTEGER NOT NULL CHECK (cents >= 0));"
    "INSERT OR IGNORE INTO accounts VALUES ('ann', 10000), ('bob', 0)";

marathon::Workflow<int64_t> Pay(marathon::WorkflowContext& ctx, Transfer transfer) {
  co_return co_await ctx.Run(kTransfer, transfer);
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int Work(const std::string& file, bool dies) {
  const auto move = [dies](marathon::sqlite::Transaction& tx, const Transfer& transfer) -> absl::StatusOr<int64_t> {
    const char* const add = "UPDATE accounts SET cents = cents + ?2 WHERE name = ?1";
    if (auto done = tx.Run(add, transfer.to, transfer.cents); !done.ok()) return done.status();
    if (auto done = tx.Run(add, transfer.from, -transfer.cents); !done.ok()) return done.status();
    const auto left = tx.One<int64_t>("SELECT cents FROM accounts WHERE name = ?1", transfer.from);
    std::cout << "  moved; " << left.value_or(-1) << " are left" << (dies ? "; dies" : "") << std::endl;
    if (dies) _exit(137);  // no destructor runs: as good as SIGKILL
    return left;           // OK: all of it is committed, and with it this result
  };
  marathon::Registry registry;
  registry.Use(marathon::SqliteBackend({.user_schema = kTables}));
  registry.Bind(kPay, Pay);
  registry.Bind(kTransfer, marathon::sqlite::Transactional(move));
  auto engine = marathon::Engine::Open("sqlite:" + file, registry);
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start(kPay, Transfer{"ann", "bob", 2500}, {.workflow_id = "pay-1", .request_id = "pay-1"});
  if (!run.ok()) return Complain(run.status());
  const auto left = run->Result<int64_t>(60s);
  if (!left.ok()) return Complain(left.status());
  std::cout << "  ann has " << *left << "\n";
  return *left == 7500 ? 0 : 1;
}

int main() {
  char folder[] = "/tmp/marathon-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string file = std::string(folder) + "/ledger.db";
  std::cout << "process 1" << std::endl;
  if (fork() == 0) return Work(file, true);
  int status = 0;
  wait(&status);
  std::cout << "process 2" << std::endl;
  const int result = Work(file, false);
  std::filesystem::remove_all(folder);
  return result;
}
