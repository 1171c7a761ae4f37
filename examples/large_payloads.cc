// Large values as inputs and results: nothing is to be done for it. They stand beside the history, the same bytes once.
#include <marathon/marathon.h>

#include <iostream>

inline constexpr marathon::ActivityDef<std::string(std::string)> kUpper{"Upper"};
inline constexpr marathon::ActivityDef<int64_t(std::string)> kCount{"Count"};

std::string Upper(const std::string& text) {
  std::string upper;
  for (const char c : text) upper += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return upper;
}

int64_t Count(const std::string& text) { return static_cast<int64_t>(text.size()); }

// A hundred kilobytes are in four events of this run, and in two blobs.
marathon::Workflow<int64_t> Shout(marathon::WorkflowContext& ctx, std::string text) {
  const std::string upper = co_await ctx.Run(kUpper, text);
  co_return co_await ctx.Run(kCount, upper);
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  marathon::Registry registry;
  registry.Bind(kUpper, Upper);
  registry.Bind(kCount, Count);
  registry.Bind("Shout", Shout);
  marathon::EngineOptions options;
  options.payload_inline_bytes = 16 << 10;  // longer ones stand beside the history; 64 KiB unless said otherwise
  auto engine = marathon::Engine::Open("memory:", registry, options);  // or sqlite, or redis
  if (!engine.ok()) return Complain(engine.status());
  auto run = engine->Start("Shout", std::string(100'000, 'a'));
  if (!run.ok()) return Complain(run.status());
  const auto count = run->Result<int64_t>();
  if (!count.ok()) return Complain(count.status());
  std::cout << *count << " letters\n";

  const auto history = run->History();  // whole, wherever its bytes are
  if (!history.ok()) return Complain(history.status());
  const auto& started = std::get<marathon::WorkflowStarted>((*history)[1].body);
  std::cout << started.input.data.size() << " bytes of input\n";
  const auto description = run->Describe();
  if (!description.ok()) return Complain(description.status());
  std::cout << (description->run.has_blobs ? "beside its history" : "in its history") << "\n";
  return description->run.has_blobs ? 0 : 1;
}
