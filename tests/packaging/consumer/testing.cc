// A workflow that takes a month, tested in no time.
#include <marathon/marathon.h>
#include <marathon/testing/test_environment.h>

marathon::Workflow<int> Sleeper(marathon::WorkflowContext& ctx) {
  co_await ctx.Sleep(std::chrono::hours(30 * 24));
  co_return 42;
}

int main() {
  marathon::Registry registry;
  registry.Bind("Sleeper", Sleeper);
  marathon::testing::TestEnvironment env(registry);
  return env.engine().Start("Sleeper").value().Result<int>().value() == 42 ? 0 : 1;
}
