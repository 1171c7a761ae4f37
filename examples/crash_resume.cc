// A crash and a resume: the first process dies in the second of three steps, without a word; the
// second process opens the same file and goes on there. The first step does not run again.
//
//   process 1:  Step 1 ──► Step 2 ✗ dies
//   process 2:  (1 from history) Step 2 ──► Step 3 ──► done
#include <marathon/adapters/sqlite.h>
#include <marathon/marathon.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iostream>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<int(int)> kStep{"Step"};
inline constexpr marathon::WorkflowDef<int()> kSteps{"Steps"};

marathon::Workflow<int> Steps(marathon::WorkflowContext& ctx) {
  int sum = 0;
  for (int i = 1; i <= 3; ++i) sum += co_await ctx.Run(kStep, i);
  co_return sum;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int Work(const std::string& file, bool dies) {
  marathon::Registry registry;
  registry.Use(marathon::SqliteBackend());
  registry.Bind(kSteps, Steps);
  registry.Bind(kStep, [dies](const int& number) {
    std::cout << "  step " << number << (dies && number == 2 ? ": dies\n" : "\n") << std::flush;
    if (dies && number == 2) _exit(137);  // no destructor runs: as good as SIGKILL
    return number;
  });
  auto engine = marathon::Engine::Open("sqlite:" + file, registry);
  if (!engine.ok()) return Complain(engine.status());
  // The same request id gives the same run, however often it is asked for.
  auto run = engine->Start(kSteps, {.workflow_id = "steps", .request_id = "steps"});
  if (!run.ok()) return Complain(run.status());
  const auto sum = run->Result<int>(60s);
  if (!sum.ok()) return Complain(sum.status());
  std::cout << "  the sum is " << *sum << "\n";
  return 0;
}

int main() {
  char folder[] = "/tmp/marathon-XXXXXX";
  if (mkdtemp(folder) == nullptr) return 1;
  const std::string file = std::string(folder) + "/steps.db";
  std::cout << "process 1" << std::endl;
  if (fork() == 0) return Work(file, true);
  int status = 0;
  wait(&status);
  std::cout << "process 2" << std::endl;
  const int result = Work(file, false);
  std::filesystem::remove_all(folder);
  return result;
}
