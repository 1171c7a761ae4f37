// Agents: a thousand that stream at a time, and the history of one that has talked for long.
#include <malloc.h>
#include <marathon/agent/agent.h>
#include <marathon/llm/client.h>
#include <marathon/llm/scripted_model.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench.h"
#include "floor_http.h"
#include "place.h"
#include "token_server.h"

namespace bench {
namespace {

namespace agent = marathon::agent;
namespace llm = marathon::llm;
using Clock = std::chrono::steady_clock;

constexpr int kTokens = 200;       // of an answer
constexpr int kTurns = 200;        // of the long history
constexpr size_t kTurnBytes = 4 << 10;

constexpr int kThreadsBesides = 8;  // the pools', at most, however many agents there are

// The threads of this process, and how many of them are of the engine's pools.
struct Threads {
  int all = 0, pool = 0;
  int besides() const { return all - pool; }
};
Threads CountThreads() {
  Threads threads;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream comm(task.path() / "comm");
    std::string name;
    std::getline(comm, name);
    ++threads.all;
    threads.pool += name == "marathon/turn" || name == "marathon/act";
  }
  return threads;
}

// What streams cost, by the clock and by this process's CPU.
struct StreamCost {
  double seconds = 0;
  double cpu_seconds = 0;
  std::vector<double> latencies;
};

struct StreamRound {
  StreamCost engine;
  StreamCost floor;
  double ratio() const { return floor.seconds / engine.seconds; }
};

// Starts so many agents, calls `meanwhile`, and waits for all of them.
StreamCost StreamAll(marathon::Engine& engine, const std::string& name, int agents, const std::string& text,
                     const std::function<void()>& meanwhile) {
  StreamCost cost;
  const double cpu = CpuSeconds();
  const auto begin = Clock::now();
  std::vector<std::pair<Clock::time_point, marathon::Run>> runs;
  for (int i = 0; i < agents; ++i) {
    const auto start = Clock::now();
    runs.emplace_back(start, Must(engine.Start(name, agent::Ask("Say something."))));
  }
  meanwhile();
  for (const auto& [start, run] : runs) {
    if (Must(run.Result<agent::Result>()).text != text) Die("an agent said something else");
    cost.latencies.push_back(MicrosSince(start));
  }
  cost.seconds = SecondsSince(begin);
  cost.cpu_seconds = CpuSeconds() - cpu;
  return cost;
}

StreamCost StreamBare(HttpFloor& floor, int streams, const std::string& text) {
  StreamCost cost;
  const double cpu = CpuSeconds();
  const auto begin = Clock::now();
  if (floor.Stream() < static_cast<int64_t>(text.size()) * streams) Die("curl got less than it was sent");
  cost.seconds = SecondsSince(begin);
  cost.cpu_seconds = CpuSeconds() - cpu;
  return cost;
}

void BindTalker(marathon::Registry& registry, const std::string& name, const std::string& model,
                const std::shared_ptr<llm::Model>& client) {
  agent::Bind(registry, agent::Agent{.name = name, .model = model}, client);
}

}  // namespace

Figures MeasureAgentStream(const Settings& settings, Place& place) {
  const int agents = settings.in_flight > 0 ? settings.in_flight : 1'000;
  TokenServer server(kTokens);
  HttpFloor floor(server.url() + "/v1/chat/completions",
                  R"({"model":"m","stream":true,"messages":[{"role":"user","content":"Say something."}]})", agents);
  StreamBare(floor, agents, server.text());  // it warms up
  const int before = CountThreads().besides();
  const std::shared_ptr<llm::Model> client = Must(llm::Client::Open({.base_url = server.url() + "/v1"}));
  marathon::Registry registry = TheRegistry();
  BindTalker(registry, "Talker", "m", client);
  BindTalker(registry, "HeldTalker", "held", client);
  marathon::EngineOptions options;
  options.turn_threads = 2;
  marathon::Engine engine = Must(marathon::Engine::Open(place.url(), registry, options));
  const auto nothing = [] {};
  StreamAll(engine, "Talker", agents, server.text(), nothing);
  std::vector<StreamRound> rounds;
  for (int i = 0; i < settings.rounds; ++i) {
    StreamRound& round = rounds.emplace_back();
    round.floor = StreamBare(floor, agents, server.text());
    round.engine = StreamAll(engine, "Talker", agents, server.text(), nothing);
  }
  malloc_trim(0);
  const double heap = HeapBytes();
  double bytes = 0;
  Threads threads;
  StreamAll(engine, "HeldTalker", agents, server.text(), [&] {
    server.WaitForHeld(agents);
    bytes = (HeapBytes() - heap) / agents;
    threads = CountThreads();
    server.Release();
  });
  const int besides = threads.besides() - before;
  if (threads.pool == 0) Die("no thread has the name of the pools'");
  if (besides > kThreadsBesides) {
    Die(std::to_string(besides) + " threads besides the pools' for so many agents; at most " +
        std::to_string(kThreadsBesides) + " are needed");
  }

  const auto median = rounds.begin() + static_cast<ptrdiff_t>(rounds.size() / 2);
  std::nth_element(rounds.begin(), median, rounds.end(),
                   [](const StreamRound& a, const StreamRound& b) { return a.ratio() < b.ratio(); });
  StreamCost& cost = median->engine;
  const double tokens = static_cast<double>(agents) * kTokens;
  Figures figures;
  figures.options = "tokens=" + std::to_string(kTokens);
  figures.in_flight = agents;
  figures.count = agents;
  figures.workflows_per_s = agents / cost.seconds;
  figures.cpu_us = cost.cpu_seconds * 1e6 / agents;
  figures.p50_us = Percentile(cost.latencies, 0.5);
  figures.p99_us = Percentile(cost.latencies, 0.99);
  figures.rss_mb = RssMb();
  figures.floor_per_s = agents / median->floor.seconds;
  figures.more = {{"tokens_per_s", tokens / cost.seconds},
                  {"floor_tokens_per_s", tokens / median->floor.seconds},
                  {"cpu_us_per_token", cost.cpu_seconds * 1e6 / tokens},
                  {"overhead_us_per_token", (cost.cpu_seconds - median->floor.cpu_seconds) * 1e6 / tokens},
                  {"bytes_per_agent", bytes},
                  {"process_threads", threads.all},
                  {"pool_threads", threads.pool},
                  {"threads_besides", besides}};
  return figures;
}

Figures MeasureAgentHistory(const Settings& settings, Place& place) {
  const auto model = std::make_shared<llm::ScriptedModel>([](const llm::ChatRequest& request) -> llm::ChatResult {
    llm::ChatResponse response;
    const size_t turn = (request.messages.size() + 1) / 2;
    if (turn > kTurns) {
      response.blocks = {llm::Text{"done"}};
    } else {
      response.blocks = {llm::ToolCall{"call_" + std::to_string(turn), "read", R"({"page":1})"}};
    }
    return response;
  });
  agent::Agent reader{.name = "Reader", .model = "m"};
  reader.budget.steps = 0;
  reader.tools = {agent::MakeToolWithSchema(
      "read", "Reads.", R"({"type":"object"})",
      [](const nlohmann::json&) { return std::string(kTurnBytes, 'x'); }, {.effect = agent::Effect::kPure})};
  marathon::Registry registry = TheRegistry();
  agent::Bind(registry, reader, model);
  marathon::History sample;
  double bytes = 0;
  std::vector<double> latencies;
  double rss = 0;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(place.url(), registry));
    for (int i = 0; i < settings.rounds; ++i) {
      const auto begin = Clock::now();
      const marathon::Run run = Must(engine.Start("Reader", agent::Ask("Read it all.")));
      if (Must(run.Result<agent::Result>()).spent.tool_calls != kTurns) Die("an agent did not take all turns");
      latencies.push_back(MicrosSince(begin));
      bytes = static_cast<double>(Must(run.Describe()).run.history_bytes);
      sample = Must(run.History());
    }
    rss = RssMb();
  }
  if (bytes > 2e6) Die("200 turns of 4 KB take more than 2 MB of history");
  Figures figures;
  figures.options = "turns=" + std::to_string(kTurns);
  figures.count = settings.rounds;
  figures.p50_us = Percentile(latencies, 0.5);
  figures.p99_us = Percentile(latencies, 0.99);
  figures.workflows_per_s = 1e6 / figures.p50_us;
  figures.rss_mb = rss;
  figures.floor_per_s = place.Floor(1, sample, [](const marathon::Payload&) {}, settings.seconds / 2);
  figures.more = {{"history_bytes", bytes}, {"history_bytes_per_turn", bytes / kTurns}};
  return figures;
}

Workload AgentWorkload(std::string name) {
  Workload workload;
  workload.steps = name == "agent-history" ? 2 * kTurns + 2 : 2;  // the model's, the tool's, and the stream's end
  workload.payload_bytes = name == "agent-history" ? static_cast<int>(kTurnBytes) : 0;
  workload.name = std::move(name);
  return workload;
}

}  // namespace bench
