// What if? A run that has ended badly is taken up again from the middle, with another answer, and the first one stays as it was.
//
//   Draft ──► Write ──► Review: "too long" ──► rejected
//                          └─ fork, with "fine" instead ──► Print
#include <marathon/marathon.h>

#include <iostream>
#include <string>

inline constexpr marathon::ActivityDef<std::string(std::string)> kWrite{"Write"};
inline constexpr marathon::ActivityDef<std::string(std::string)> kReview{"Review"};
inline constexpr marathon::ActivityDef<std::string(std::string)> kPrint{"Print"};
inline constexpr marathon::WorkflowDef<std::string(std::string)> kDraft{"Draft"};

marathon::Workflow<std::string> Draft(marathon::WorkflowContext& ctx, std::string topic) {
  const std::string text = co_await ctx.Run(kWrite, topic);  // an expensive model, say
  const std::string verdict = co_await ctx.Run(kReview, text);
  if (verdict != "fine") co_return "rejected: " + verdict;
  co_return co_await ctx.Run(kPrint, text);
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

// The event that scheduled an activity of this type.
marathon::EventId FindActivity(const marathon::History& history, std::string_view type) {
  for (const marathon::Event& event : history) {
    const auto* scheduled = std::get_if<marathon::ActivityScheduled>(&event.body);
    if (scheduled != nullptr && scheduled->activity_type == type) return event.id;
  }
  return 0;
}

int main() {
  int written = 0;
  marathon::Registry registry;
  registry.Bind(kDraft, Draft);
  registry.Bind(kWrite, [&](const std::string& topic) { return topic + ", chapter " + std::to_string(++written); });
  registry.Bind(kReview, [](const std::string&) { return std::string("too long"); });
  registry.Bind(kPrint, [](const std::string& text) { return "printed: " + text; });
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());
  auto draft = engine->Start(kDraft, std::string("Faust"), {.workflow_id = "draft"});
  if (!draft.ok()) return Complain(draft.status());
  const auto rejected = draft->Result<std::string>();
  if (!rejected.ok()) return Complain(rejected.status());
  std::cout << *rejected << "\n";

  const auto history = draft->History();
  if (!history.ok()) return Complain(history.status());
  marathon::ForkOptions options;
  options.keep = FindActivity(*history, "Review");
  if (auto status = options.SetResult(options.keep, std::string("fine")); !status.ok()) return Complain(status);
  auto fork = draft->Fork(options);
  if (!fork.ok()) return Complain(fork.status());
  const auto printed = fork->Result<std::string>();
  if (!printed.ok()) return Complain(printed.status());
  std::cout << *printed << ", written " << written << " time\n";
  return written == 1 ? 0 : 1;
}
