// Keyed concurrency: of the activities with one key no more are at work at a time than may, over all runs, workers and
// processes that share the store. Here a customer's ledger is written by one at a time, while other customers' go on.
//
//   Book(ann, 10) ──► Write ──┐ one after another: key "ann"
//   Book(ann, 20) ──► Write ──┘
//   Book(bob, 30) ──► Write ──── beside them:      key "bob"
#include <marathon/marathon.h>

#include <atomic>
#include <iostream>
#include <map>
#include <thread>

using namespace std::chrono_literals;

struct Booking {
  std::string customer;
  int amount = 0;
  NLOHMANN_DEFINE_TYPE_INTRUSIVE(Booking, customer, amount)
};

inline constexpr marathon::ActivityDef<int(Booking)> kWrite{"Write"};

std::map<std::string, int> ledgers = {{"ann", 0}, {"bob", 0}};
std::map<std::string, std::atomic<int>> writers;

// Reads, thinks and writes: two at once for one customer would lose a booking.
int Write(const Booking& booking) {
  if (++writers.at(booking.customer) > 1) std::cout << "two at once for " << booking.customer << "\n";
  int& ledger = ledgers.at(booking.customer);
  const int before = ledger;
  std::this_thread::sleep_for(10ms);
  ledger = before + booking.amount;
  --writers.at(booking.customer);
  return ledger;
}

marathon::Workflow<int> Book(marathon::WorkflowContext& ctx, Booking booking) {
  // The others wait without a thread, and without using up an attempt. `max_per_key` is 1 unless it is said.
  co_return co_await ctx.Run(kWrite, booking, {.concurrency_key = booking.customer});
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  for (const auto& [customer, ledger] : ledgers) writers[customer] = 0;
  marathon::Registry registry;
  registry.Bind(kWrite, Write);
  registry.Bind("Book", Book);
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());
  std::vector<marathon::Run> runs;
  for (int amount = 1; amount <= 10; ++amount) {
    for (const char* const customer : {"ann", "bob"}) {
      auto run = engine->Start("Book", Booking{customer, amount});
      if (!run.ok()) return Complain(run.status());
      runs.push_back(*std::move(run));
    }
  }
  for (const marathon::Run& run : runs) {
    const auto result = run.Result<int>(30s);
    if (!result.ok()) return Complain(result.status());
  }
  for (const auto& [customer, ledger] : ledgers) std::cout << customer << " " << ledger << "\n";
  return ledgers["ann"] == 55 && ledgers["bob"] == 55 ? 0 : 1;
}
