// Acting on a run that is under way: a handler takes changes, a query looks inside, a cancel lets it clean up.
//
//   Trip ──► book ──► wait for "leave" ──► …
//              ▲           ▲        ▲
//        signal "note"  query "notes"  cancel ──► refund, in a shielded scope
#include <marathon/marathon.h>

#include <iostream>

using namespace std::chrono_literals;
using Notes = std::vector<std::string>;

inline constexpr marathon::WorkflowDef<std::string(std::string)> kTrip{"Trip"};
inline constexpr marathon::ActivityDef<std::string(std::string)> kBook{"Book"};
inline constexpr marathon::ActivityDef<std::string(std::string)> kRefund{"Refund"};
inline constexpr marathon::SignalDef<std::string> kNote{"note"};
inline constexpr marathon::QueryDef<Notes()> kNotes{"notes"};

marathon::Workflow<std::string> Trip(marathon::WorkflowContext& ctx, std::string city) {
  Notes notes;
  auto answers = ctx.OnQuery(kNotes, [&] { return notes; });
  auto takes = ctx.OnSignal(kNote, [&](std::string note) { notes.push_back(note); });

  if (ctx.Patched("name the city")) notes.push_back("to " + city);  // runs of before go on without it

  std::string ticket;
  {
    marathon::ShieldedScope whole(ctx);  // a booking is not given up half-way
    ticket = co_await ctx.Run(kBook, city);
  }
  std::optional<marathon::CanceledError> canceled;
  try {
    co_await ctx.Receive<bool>("leave");
  } catch (const marathon::CanceledError& error) {
    canceled = error;
  }
  if (!canceled) co_return "gone to " + city;

  marathon::ShieldedScope cleanup(ctx);
  notes.push_back(co_await ctx.Run(kRefund, ticket));
  throw *canceled;  // ends as canceled
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kTrip, Trip);
  registry.Bind(kBook, [](const std::string& city) { return "ticket to " + city; });
  registry.Bind(kRefund, [](const std::string& ticket) {
    std::cout << "refunded the " << ticket << "\n";
    return "no " + ticket;
  });
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  auto rome = engine->Start(kTrip, "Rome", {.workflow_id = "rome"});
  if (!rome.ok()) return Complain(rome.status());
  if (auto status = rome->Signal(kNote, "by train"); !status.ok()) return Complain(status);
  const auto notes = rome->Query(kNotes);
  if (!notes.ok()) return Complain(notes.status());
  for (const std::string& note : *notes) std::cout << "note: " << note << "\n";

  if (auto status = rome->Cancel("the weather"); !status.ok()) return Complain(status);
  const auto result = rome->Result<std::string>(10s);
  std::cout << (result.ok() ? *result : std::string(result.status().message())) << "\n";
}
