// Retries: an activity that fails is tried again, by a policy, until it succeeds or its failure is
// final.
//
//   Order ──► Reserve ──x── wait 20 ms ──x── wait 40 ms ──► ok
//         └─► Charge ──x  "CardDeclined" is final: no retry, the workflow catches it
#include <marathon/marathon.h>

#include <iostream>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<std::string(std::string)> kReserve{"Reserve"};
inline constexpr marathon::ActivityDef<std::string(int)> kCharge{"Charge"};

// Policies are named constants: they outlive the call, and options stay trivially destructible.
inline constexpr std::string_view kFinal[] = {"CardDeclined"};
inline constexpr marathon::RetryPolicy kQuick{
    .initial_interval = 20ms, .maximum_attempts = 5, .non_retryable_types = kFinal};

// An exception fails the attempt; so does an absl::Status.
absl::StatusOr<std::string> Reserve(marathon::ActivityContext& ctx, const std::string& item) {
  std::cout << "  Reserve, attempt " << ctx.attempt() << "\n";
  if (ctx.attempt() < 3) return absl::UnavailableError("the warehouse is busy");
  return item + " reserved";
}

std::string Charge(const int& amount) {
  throw marathon::ApplicationError("no funds for " + std::to_string(amount),
                                   {.type = "CardDeclined"});
}

marathon::Workflow<std::string> Order(marathon::WorkflowContext& ctx, std::string item) {
  const std::string reserved =
      co_await ctx.Run(kReserve, item, {.start_to_close_timeout = 10s, .retry = &kQuick});
  try {
    co_return reserved + ", " + co_await ctx.Run(kCharge, 42, {.retry = &kQuick});
  } catch (const marathon::ActivityError& error) {
    co_return reserved + ", not paid: " + error.failure().message + " (attempt " +
        std::to_string(error.attempt()) + ")";
  }
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kReserve, Reserve);
  registry.Bind(kCharge, Charge);
  registry.Bind("Order", Order);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Order", std::string("a bicycle"));
  if (!run.ok()) return Complain(run.status());
  const auto result = run->Result<std::string>(10s);
  if (!result.ok()) return Complain(result.status());
  std::cout << *result << "\n";
}
