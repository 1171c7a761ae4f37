// Closed loops: clients that keep so many runs in flight.
#include <marathon/event_codec.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>
#include <thread>

#include "bench.h"
#include "place.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Round {
  double per_second = 0;
  double cpu_us = 0;  // of the whole process, a run
  double floor = 0;
  int64_t count = 0;
  std::vector<double> latencies;
  std::vector<double> lateness;  // of timers
};

// Keeps `window` runs in flight from one thread.
class Client {
 public:
  Client(marathon::Engine& engine, const Workload& workload, std::atomic<int64_t>& next)
      : engine_(engine), workload_(workload), next_(next), every_(workload.has_timers ? 10 : 100) {}

  void Loop(int window, int64_t max, Clock::time_point until) {
    while (true) {
      const bool more = Clock::now() < until && next_.load(std::memory_order_relaxed) < max;
      while (more && flying_.size() < static_cast<size_t>(window)) Start();
      if (flying_.empty()) return;
      Finish();
    }
  }

  std::vector<double> latencies;
  std::vector<marathon::Run> samples;  // one of a hundred, of those with timers of ten

 private:
  struct Flight {
    Clock::time_point begin;
    int64_t index;
    marathon::Run run;
  };

  void Start() {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    const auto begin = Clock::now();
    flying_.push_back({begin, index, Must(workload_.start(engine_, index))});
  }
  void Finish() {
    Flight& oldest = flying_.front();
    const std::string problem = workload_.finish(oldest.run, oldest.index);
    latencies.push_back(MicrosSince(oldest.begin));
    if (!problem.empty()) Die(workload_.name + ": " + problem);
    if (latencies.size() % every_ == 1) samples.push_back(std::move(oldest.run));
    flying_.pop_front();
  }

  marathon::Engine& engine_;
  const Workload& workload_;
  std::atomic<int64_t>& next_;
  const size_t every_;
  std::deque<Flight> flying_;
};

// How late the timers of a run were, by the store's clock: from the turn that asked for one until the turn that took
// its fire, less its duration. The write that sets it is part of that.
void AddLateness(const marathon::History& history, std::vector<double>& micros) {
  std::map<marathon::EventId, marathon::Time> due;
  marathon::Time now{};
  for (const marathon::Event& event : history) {
    if (const auto* turn = std::get_if<marathon::TurnStarted>(&event.body)) now = turn->time;
    if (const auto* timer = std::get_if<marathon::TimerStarted>(&event.body)) due[event.id] = now + timer->duration;
    const auto* fired = std::get_if<marathon::TimerFired>(&event.body);
    if (fired == nullptr) continue;
    if (now < due[fired->timer]) Die("a timer fired early");
    micros.push_back(static_cast<double>(marathon::ToMicros(now) - marathon::ToMicros(due[fired->timer])));
  }
}

Round RunLoop(marathon::Engine& engine, const Workload& workload, int threads, int in_flight,
              int64_t max, double seconds) {
  std::atomic<int64_t> next{0};
  std::deque<Client> clients;
  for (int i = 0; i < threads; ++i) clients.emplace_back(engine, workload, next);
  const double cpu_before = CpuSeconds();
  const auto begin = Clock::now();
  const auto until = begin + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(seconds));
  {
    std::vector<std::jthread> running;
    for (Client& client : clients) {
      running.emplace_back([&] { client.Loop(in_flight / threads, max, until); });
    }
  }
  Round round;
  const double elapsed = SecondsSince(begin);
  const double cpu = CpuSeconds() - cpu_before;
  for (Client& client : clients) {
    round.latencies.insert(round.latencies.end(), client.latencies.begin(), client.latencies.end());
  }
  round.count = static_cast<int64_t>(round.latencies.size());
  round.per_second = static_cast<double>(round.count) / elapsed;
  round.cpu_us = cpu * 1e6 / static_cast<double>(round.count);
  for (const Client& client : clients) {
    for (const marathon::Run& run : client.samples) AddLateness(CheckHistory(run, workload), round.lateness);
  }
  return round;
}

// The memory store keeps so many bytes of closed runs: more runs than that are not started.
int64_t MostRuns(const marathon::History& sample) {
  constexpr size_t kBytes = 160u << 20;
  constexpr size_t kRun = 800;
  size_t bytes = kRun;
  for (const auto& turn : TurnsOf(sample)) bytes += marathon::EncodeRecord(1, turn).size();
  return static_cast<int64_t>(kBytes / bytes);
}

}  // namespace

Figures MeasureLoop(const Settings& settings, Place& place, const Workload& workload,
                    int in_flight) {
  // A client of a durable store waits for the disk in Start, so it takes many to fill a group commit.
  const int chosen = std::min(in_flight, place.memory() ? 2 : 128);
  const int threads = settings.threads > 0 ? settings.threads : chosen;
  marathon::History sample;
  {
    marathon::Engine engine = Must(marathon::Engine::Open(place.url(), TheRegistry()));
    marathon::Run run = Must(workload.start(engine, 0));
    if (const std::string problem = workload.finish(run, 0); !problem.empty()) Die(problem);
    sample = Must(run.History());
  }
  const int64_t max = place.memory() ? MostRuns(sample) : INT64_MAX;
  std::vector<Round> rounds;
  double rss = 0;
  for (int i = 0; i < settings.rounds; ++i) {
    const double floor = place.Floor(in_flight, sample, workload.convert, settings.seconds / 2);
    marathon::Engine engine = Must(marathon::Engine::Open(place.url(), TheRegistry()));
    RunLoop(engine, workload, threads, in_flight, max, settings.seconds / 10);  // warms up
    rounds.push_back(RunLoop(engine, workload, threads, in_flight, max, settings.seconds));
    rounds.back().floor = floor;
    rss = std::max(rss, RssMb());
  }
  const auto median = rounds.begin() + static_cast<ptrdiff_t>(rounds.size() / 2);
  std::nth_element(rounds.begin(), median, rounds.end(), [](const Round& a, const Round& b) {
    return a.per_second / a.floor < b.per_second / b.floor;
  });
  Figures figures;
  figures.threads = threads;
  figures.in_flight = in_flight;
  figures.count = median->count;
  figures.workflows_per_s = median->per_second;
  figures.cpu_us = median->cpu_us;
  figures.p50_us = Percentile(median->latencies, 0.5);
  figures.p99_us = Percentile(median->latencies, 0.99);
  figures.rss_mb = rss;
  figures.floor_per_s = median->floor;
  if (!median->lateness.empty()) {
    figures.more = {{"late_p50_us", Percentile(median->lateness, 0.5)},
                    {"late_p99_us", Percentile(median->lateness, 0.99)}};
  }
  return figures;
}

}  // namespace bench
