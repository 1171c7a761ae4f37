// What takes its time: an activity that goes on where its failed attempt stood, one that a person completes, and a run
// with a delay, a deadline, and another try when it fails.
//
//   Import ─ 50 ms ─► Count: 50 rows ✗ ─► Count: from 50 on ─► Approve … the desk: FailActivity(token) ─► fails
//      └─ its retry ► Count: 50 rows ✗ ─► Count: from 50 on ─► Approve … CompleteActivity(token) ─► done
#include <marathon/marathon.h>

#include <condition_variable>
#include <deque>
#include <iostream>
#include <mutex>
#include <string>

using namespace std::chrono_literals;

inline constexpr marathon::ActivityDef<int(int)> kCount{"Count"};
inline constexpr marathon::ActivityDef<std::string(int)> kApprove{"Approve"};
inline constexpr marathon::WorkflowDef<std::string(int)> kImport{"Import"};
inline constexpr marathon::RetryPolicy kSoon{.initial_interval = 10ms, .maximum_attempts = 3};

marathon::Workflow<std::string> Import(marathon::WorkflowContext& ctx, int rows) {
  const int counted = co_await ctx.Run(kCount, rows, {.retry = &kSoon});
  const std::string who = co_await ctx.Run(kApprove, rows, {.start_to_close_timeout = 72h});
  co_return who + " agreed at attempt " + std::to_string(ctx.attempt()) + "; the last count was of " +
      std::to_string(counted) + " rows";
}

// Says how far it is, and breaks off. What it has said is what its next attempt begins with.
absl::StatusOr<int> Count(marathon::ActivityContext& ctx, const int& rows) {
  const int done = ctx.LastHeartbeat<int>().value_or(0);
  if (done > 0) return rows - done;
  if (absl::Status told = ctx.Heartbeat(rows / 2); !told.ok()) return told;
  return absl::UnavailableError("the file is locked");
}

// What waits for a person. In earnest a mail with a link, whose click reaches any process that can open the store.
class Desk {
 public:
  void Put(const std::string& token) {
    std::lock_guard lock(mutex_);
    tokens_.push_back(token);
    put_.notify_all();
  }
  std::string Take() {
    std::unique_lock lock(mutex_);
    put_.wait(lock, [&] { return !tokens_.empty(); });
    std::string token = tokens_.front();
    tokens_.pop_front();
    return token;
  }

 private:
  std::mutex mutex_;
  std::condition_variable put_;
  std::deque<std::string> tokens_;
};

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main() {
  Desk desk;
  marathon::Registry registry;
  registry.Bind(kImport, Import);
  registry.Bind(kCount, Count);
  registry.Bind(kApprove, [&desk](marathon::ActivityContext& ctx, int) -> absl::StatusOr<std::string> {
    const absl::StatusOr<std::string> token = ctx.CompleteLater();
    if (!token.ok()) return token.status();
    desk.Put(*token);
    return std::string();  // ignored: from now on no thread and no worker waits for it
  });
  auto engine = marathon::Engine::Open("memory:", registry);
  if (!engine.ok()) return Complain(engine.status());

  auto run = engine->Start(kImport, 100, {.run_timeout = 1h, .start_delay = 50ms, .retry = kSoon});
  if (!run.ok()) return Complain(run.status());
  // The first run fails of this, and its policy has another one follow, with the same input.
  const absl::Status no = engine->FailActivity(desk.Take(), {.type = "Refused", .message = "not before lunch"});
  if (!no.ok()) return Complain(no);
  const std::string token = desk.Take();
  if (auto yes = engine->CompleteActivity(token, std::string("Ada")); !yes.ok()) return Complain(yes);
  const auto result = run->Result<std::string>(10s);
  if (!result.ok()) return Complain(result.status());
  std::cout << *result << "\n";
  if (*result != "Ada agreed at attempt 2; the last count was of 50 rows") return 1;

  // An answer counts once.
  const absl::Status again = engine->CompleteActivity(token, std::string("Bob"));
  if (!absl::IsNotFound(again)) return Complain(absl::InternalError("two people were heard"));

  // Nobody looks at this one: its deadline ends it.
  auto late = engine->Start(kImport, 100, {.run_timeout = 50ms});
  if (!late.ok()) return Complain(late.status());
  const absl::Status ended = late->Result<std::string>(10s).status();
  const auto failure = marathon::GetFailure(ended);
  if (!failure || failure->timeout != marathon::TimeoutKind::kRun) return Complain(ended);
  std::cout << "nobody agreed: " << ended.message() << "\n";
}
