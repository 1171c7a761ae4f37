// Simulation: one simulated world, with its cluster, its users and what is known of their jobs.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/adapters/memory.h"
#include "marathon/engine/sealing_store.h"
#include "marathon/testing/faulty_task_queue.h"
#include "marathon/testing/invariants.h"
#include "marathon/testing/rewinding_state_store.h"
#include "marathon/testing/sim_blobs.h"
#include "marathon/testing/sim_cluster.h"
#include "marathon/testing/sim_codec.h"
#include "marathon/testing/sim_ledger.h"
#include "marathon/testing/sim_limits.h"
#include "marathon/testing/sim_places.h"
#include "marathon/testing/sim_program.h"
#include "marathon/testing/sim_streams.h"
#include "marathon/testing/simulator.h"

namespace marathon::inline MARATHON_ABI::testing::internal {

// A livelock would never end; a good seed takes a few thousand steps, and one that waits for a rest of a day, which only
// a store that loses its tail makes, a few seconds apart, some hundred thousand.
inline constexpr uint64_t kSimStepsMax = 3'000'000;
inline constexpr Duration kSimLiveness = std::chrono::hours(1);

// One workflow that the simulation's user wants to be done.
struct SimJob {
  std::string id;
  SimProgram program;
  int64_t signals = 0;       // to be sent, one after another
  int64_t sent = 0;
  int64_t updates = 0;                 // asked for
  std::map<int64_t, int64_t> answers;  // to those
  bool begun = false;        // its start was asked for
  bool disordered = false;   // a signal was on its way when those before it were lost
  bool terminate = false;    // asked for at some time
  bool cancel = false;       // the same
  bool pause = false;        // … and resumed
  bool with_signal = false;  // its first signal comes with its start …
  bool with_update = false;  // … and so does its first update
  bool is_fork = false;      // of another
  bool none = false;         // … that could not be
  Duration start_delay{0};
  Duration run_timeout{0};
  int priority = 0;
  std::optional<RunKey> run;
  std::optional<EventBody> end;  // as AwaitEnd told
};

class Simulation {
 public:
  explicit Simulation(const SimOptions& options);
  SimReport Run();

 private:
  // A call by the simulation's user at some process. If that crashes, or cannot do it for now, the user
  // calls again elsewhere.
  using Answered = std::function<bool(const Status&)>;  // false: not yet, the user calls again
  struct Request {
    std::string what;
    std::function<void(Host&, Answered answered)> make;
    const SimJob* job = nullptr;
    bool reads = false;
    uint64_t life = 0;  // of the store; in a later one the answer is of no use any more
    const SimProcess* at = nullptr;
    bool answered = false;
  };

  static bool IsSplit(const SimOptions& options, SeededRandom random);
  static bool LosesTail(const SimOptions& options, SeededRandom random);
  void DrawCodec();
  std::shared_ptr<StateStore> MakeStore(const Clock& clock);
  // A store with its payloads opened, and in their places.
  std::shared_ptr<StateStore> Readable(std::shared_ptr<StateStore> store) const;
  void SplitDomains(const FaultRates& rates);
  void PlanLosses();
  void LoseTail();
  static FaultRates RatesFor(const SimOptions& options, SeededRandom random);
  EngineOptions DrawKnobs();
  void Plan();
  void PlanJob(size_t index);
  void Ask(std::string what, const SimJob& job, std::function<void(Host&, Answered)> make,
           bool reads = false);
  void Send(const std::shared_ptr<Request>& request);
  void OnCrash(const SimProcess& process);
  void StartJob(SimJob& job, int times);
  static void AddToStart(const SimJob& job, StartCall& call);
  void StartAgain(SimJob& job);
  // A request of its user's that writes is unanswered.
  bool IsAsking(const SimJob& job) const;
  void OnStarted(SimJob& job, const StatusOr<RunKey>& run);
  void SendSignal(SimJob& job);
  void TerminateJob(SimJob& job);
  void CancelJob(SimJob& job);
  void PauseJob(SimJob& job, bool pause);  // or resumes it
  void MoveJob(SimJob& job);               // to some build, or any
  void RetryActivity(SimJob& job);
  void CompleteLater(const RunKey& run, const std::string& token, const SimWork& work);
  void SendOutcome(const SimJob& job, const std::string& token, const SimWork& work);
  void QueryJob(SimJob& job);
  void UpdateJob(SimJob& job);
  void SendUpdate(SimJob& job, int64_t number);
  void AwaitUpdate(SimJob& job, int64_t number, const RunKey& run, UpdateStage stage);
  void OnUpdated(SimJob& job, int64_t number, const RunEnd& end);
  void LookAtJob(SimJob& job);
  void DescribeJob(SimJob& job);
  void ReadHistory(SimJob& job, const RunKey& run, const std::shared_ptr<std::vector<std::string>>& seen);
  void ListJob(SimJob& job);
  void CountJob(SimJob& job);
  void SubscribeTo(SimJob& job, const RunKey& run, EventId after);
  bool HasDeadLetter(const SimJob& job) const;
  void PlanInterruptions(SimJob& job, int64_t within_ms);
  void AwaitJob(SimJob& job, const RunKey& run);
  static std::string ForkId(const SimJob& job) { return job.id + "-fork"; }
  bool MayFork(const SimJob& job) const;
  void ForkJob(SimJob& job);
  void OnForked(SimJob& fork, const StatusOr<StartReply>& forked);
  // Somebody at the store follows a run, and those after it in its chain, from behind an event on.
  void Follow(const RunKey& run, EventId after);
  // Whether the job's chain of runs has come to its end.
  bool HasEnded(const SimJob& job) const { return invariants_.FindLast(*job.run)->closed; }
  void After(int64_t low_ms, int64_t high_ms, std::string_view label, Callback<void()> work) {
    world_.After(kWorldActor, random_.Between(low_ms, high_ms) * 1'000, label, std::move(work));
  }
  // Nothing, if the store has gone back meanwhile.
  void AfterInThisLife(int64_t low_ms, int64_t high_ms, std::string_view label,
                       std::function<void()> work) {
    After(low_ms, high_ms, label, [this, life = life_, work = std::move(work)] {
      if (life == life_) work();
    });
  }
  void Violation(std::string_view which, const SimJob& job, std::string_view what) {
    invariants_.Report(which, job.run.value_or(RunKey{job.id, ""}), what);
  }
  bool Broken() const { return !invariants_.violation().empty(); }

  bool AllEnded() const;
  void PlanUnblocking();
  void RunUntilAllEnded();
  void CheckJob(SimJob& job);
  void CheckEnd(SimJob& job, const Invariants::Run& run);
  static bool MetAnOrphan(const Invariants::Run& run);
  void CheckStored(const RunKey& run);
  std::string DescribeStored(const RunKey& run);
  void CheckWork(const Invariants::Run& run);
  void CheckQuiescence();
  void CheckBeside();
  void CheckDeletes();
  void CheckLists();
  void CheckBlobs();

  SimOptions options_;
  SimWorld world_;
  SeededRandom random_;  // of the workload
  Invariants invariants_;
  FaultCounts counts_;
  SimLedger ledger_{world_, invariants_};
  Ports memory_;                        // the store below the audit, payloads in their places; and the queue
  std::shared_ptr<StateStore> memory_store_;  // … and they where they are kept
  const Ports beside_ = NewMemoryPorts(world_, {.stream_keep = kSimStreamKeep});  // what stands beside the runs
  std::unique_ptr<SimStreams> streams_;
  SimBlobs blobs_{world_, invariants_, beside_.blobs};
  SimLimits limits_{world_, invariants_, beside_.limiter};
  SimPlaces places_{invariants_, [this]() -> StateStore& { return *memory_store_; }};
  std::shared_ptr<SimCodec> codec_;  // of the processes, and faulty; null: they have none
  std::shared_ptr<PayloadSealer> sealer_ = std::make_shared<PayloadSealer>();  // of whoever looks at what is stored
  std::shared_ptr<StateStore> store_;
  std::shared_ptr<RewindingStateStore> rewinding_;  // `store_`, if it loses its tail
  std::unique_ptr<SimRuntime> outlet_runtime_;  // with split domains: sends the store's hints …
  std::shared_ptr<FaultyTaskQueue> outlet_;     // … over this link
  std::unique_ptr<SimCluster> cluster_;
  std::deque<SimJob> jobs_;
  std::vector<std::shared_ptr<Request>> requests_;
  std::map<RunKey, std::vector<std::string>> followed_;  // what Follow was told: records
  uint64_t life_ = 0;           // how often the store has gone back
  uint64_t lost_writes_ = 0;
  bool losing_ = false;
  bool pins_ = false;
  int64_t virtual_micros_ = 0;  // until all was done
};

}  // namespace marathon::inline MARATHON_ABI::testing::internal
