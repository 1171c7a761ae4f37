// A workflow on a file, whose second process finds the first one's run.
#include <marathon/adapters/sqlite.h>
#include <marathon/marathon.h>

marathon::Workflow<int> Double(marathon::WorkflowContext&, int value) { co_return value * 2; }

int main(int, char** argv) {
  const std::string file = std::string(argv[0]) + ".db";
  marathon::Registry registry;
  registry.Use(marathon::SqliteBackend());
  registry.Bind("Double", Double);
  for (int process = 0; process < 2; ++process) {
    auto engine = marathon::Engine::Open("sqlite:" + file, registry).value();
    if (process == 0) engine.Start("Double", 21, {.workflow_id = "w"}).value();
    if (engine.Find("w").Result<int>().value() != 42) return 1;
  }
  return marathon::CheckSqliteFile(file).ok() ? 0 : 1;
}
