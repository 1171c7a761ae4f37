#include <marathon/marathon.h>

#include <iostream>

using namespace std::chrono_literals;

// An activity is any callable: I/O lives here. This one fails twice; the engine tries it again.
inline constexpr marathon::ActivityDef<std::string(std::string)> kGreet{"Greet"};
inline constexpr marathon::RetryPolicy kPatient{.initial_interval = 20ms, .maximum_attempts = 5};

std::string Greet(marathon::ActivityContext& ctx, const std::string& name) {
  if (ctx.attempt() < 3) throw std::runtime_error("the line is busy");
  return "Hello, " + name + "!";
}

// A workflow is a durable coroutine: each co_await is a step that is recorded once it is done.
marathon::Workflow<std::string> Welcome(marathon::WorkflowContext& ctx, std::string name) {
  std::string greeting = co_await ctx.Run(kGreet, name, {.retry = &kPatient});
  co_await ctx.Sleep(100ms);  // thirty days are as good: a sleeper holds no thread
  co_return greeting;
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kGreet, Greet);
  registry.Bind("Welcome", Welcome);

  auto engine = marathon::Engine::Open("memory:", registry);  // or "sqlite:app.db"
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Welcome", std::string("world"));
  if (!run.ok()) return Complain(run.status());
  auto greeting = run->Result<std::string>();
  if (!greeting.ok()) return Complain(greeting.status());
  std::cout << *greeting << "\n\n";

  auto history = run->History();  // what a restart would rebuild the run from
  if (!history.ok()) return Complain(history.status());
  for (const marathon::Event& event : *history) {
    std::cout << event.id << " " << marathon::Describe(event.body) << "\n";
  }
}
