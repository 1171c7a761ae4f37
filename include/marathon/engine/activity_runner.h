// ActivityRunner: runs activities that this process has claimed, in its turns' commits or from the task
// queue, and sees each attempt to its end: completed, retried, given back or dead.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "marathon/activity.h"
#include "marathon/config.h"
#include "marathon/detail/block_pool.h"
#include "marathon/engine/activity_gate.h"
#include "marathon/engine/claim_ahead.h"
#include "marathon/engine/place_keeper.h"
#include "marathon/engine/run_cache.h"
#include "marathon/options.h"
#include "marathon/runtime.h"
#include "marathon/state_store.h"
#include "marathon/task_queue.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

namespace marathon::inline MARATHON_ABI::detail {

class Attempt;

class ActivityRunner {
 public:
  ActivityRunner(Host& host, const EngineOptions& options);

  // Takes room for one activity that a commit is about to claim; false: leave it to the queue.
  bool Reserve(std::string_view activity_type, std::string_view task_queue, uint8_t priority);
  void Unreserve(std::string_view activity_type);
  // Runs an activity that this session holds. `slot`: of its run, if a turn of ours has claimed it; then
  // Reserve took its room. `admitted`: the limits of its type have it counted already.
  void Start(ActivityRow&& row, SlotPtr slot = nullptr, bool admitted = false);
  bool IsRunning(const ActivityKey& key, Epoch epoch);
  // Of an attempt that a read shows in this session's hands: whether to begin it. True once; false, too, if it has
  // begun here in another way: its end may be on its way to the store.
  bool MayBegin(const ActivityKey& key, Epoch epoch);
  // The store may have gone back in time, and epochs come once more: what has begun here is known no longer, but for what
  // is in this session's hands all the same. Its end may still be on its way.
  void ForgetBegun(const std::vector<HeldActivity>& held);

  // Claims activities of the library's own: there is always room.
  void ClaimBuiltIn(std::vector<ClaimRequest> requests);
  // Fetches claimable activities as long as there is room.
  void Pump();
  // Fires the stop token of every attempt of the activity that runs here, or is about to: the notice may
  // overtake the answer to the claim.
  void Cancel(const ActivityKey& key);
  // Fires the stop token of an attempt whose deadline has passed.
  void Stop(const ActivityKey& key, Epoch epoch);
  void StopAll();
  // Of what the session holds, what does not run here: its end was lost with the store's last writes.
  void GiveBackUnknown(std::vector<HeldActivity> held);
  // Forgets what runs, as a crash would.
  void Abandon();
  int running() const { return running_count_.load(); }
  std::string DescribeRunning();  // for people

  // For Attempt.
  void Measured(int64_t micros) { ahead_.Measured(micros); }
  void Ended(Attempt& attempt, AttemptResult result);
  // `place`: PlaceKeyOf the activity, as far as is known here; it is left when the store knows of the end.
  void SendEnd(AttemptEnd end, std::string place = {});

 private:
  // By the hash of its key.
  using Running = std::unordered_multimap<
      size_t, std::shared_ptr<Attempt>, std::identity, std::equal_to<>,
      PoolAllocator<std::pair<const size_t, std::shared_ptr<Attempt>>>>;
  struct Lanes {
    std::atomic<int> used{0};
    int limit = 0;
  };
  Lanes& LanesOf(bool asynchronous) { return asynchronous ? async_ : blocking_; }
  // Activities that are being claimed, for as long as it lives.
  class Claiming;
  class Hints;

  void OnHints(const SessionId& session, StatusOr<std::vector<Delivery>> hints);
  // Leaves in `hints` what has a place. What may not begin yet is kept, and offered to others; gives what there is no
  // room for.
  std::vector<Delivery> HoldBack(std::vector<Delivery>& hints);
  void ClaimKept();
  void OfferKept();
  void ClaimHinted(std::vector<Delivery> hints);
  bool IsAsynchronous(std::string_view activity_type) const;
  int RoomForBlocking() const;
  int TakePlaces(bool asynchronous, int wanted);  // gives how many it could
  void GiveBackPlaces(const ActivityRoom& places);
  bool MayClaimAhead(uint8_t priority) const;
  // The requests have these places, which this gives back once it has the answer. `doubtful`: an earlier try may yet be
  // applied, or has been.
  // `hints`: those that told of them, acknowledged once they are claimed or refused. Null: no queue did.
  void Claim(std::vector<ClaimRequest> requests, ActivityRoom places, int failures, bool doubtful = false,
             std::shared_ptr<Hints> hints = nullptr);
  void OnClaimUnknown(std::vector<ClaimRequest> requests, std::shared_ptr<Hints> hints);
  // Asks for its place until there is an answer. With one it begins, else it is given back for a while.
  void Enter(std::shared_ptr<Attempt> attempt, int failures);
  void OnEntered(std::shared_ptr<Attempt> attempt, int failures, const StatusOr<bool>& granted);
  void Begin(std::shared_ptr<Attempt> attempt);
  // One that is a blob, first.
  void ReadInput(std::shared_ptr<Attempt> attempt, int failures);
  void OpenInput(std::shared_ptr<Attempt> attempt, int failures);
  void Run(std::shared_ptr<Attempt> attempt);
  void RunSuspect(std::shared_ptr<Attempt> attempt);
  void HoldDead(Attempt& attempt, Failure failure);
  void WatchWaiting();
  void GiveBackWaiting();
  AttemptEnd EndOf(const Attempt& attempt);
  void GiveBack(Attempt& attempt, Duration delay, std::optional<Failure> why = {});
  // `busy`: keeps a shutdown waiting where a place is to be left; else null.
  void SendEnd(AttemptEnd end, std::string place, int failures, std::shared_ptr<PlaceKeeper::Busy> busy);
  std::optional<AttemptEnd> AnotherTry(const Attempt& attempt, Failure& failure);
  // `release`: nobody has taken over what it holds.
  void Forget(Attempt& attempt, bool release);
  bool TakeEarlyCancel(const ActivityKey& key);  // with mutex_ held
  void NoteBegun(size_t hash, Epoch epoch);  // with mutex_ held
  std::vector<std::shared_ptr<Attempt>> AttemptsOf(const ActivityKey& key);  // with mutex_ held
  static size_t HashOf(const Attempt& attempt);

  Host& host_;
  Lanes blocking_;
  Lanes async_;
  ClaimAhead ahead_;
  ActivityGate gate_;
  std::atomic<bool> watching_{false};  // those that wait for a thread
  std::atomic<int> running_count_{0};
  std::mutex mutex_;
  Running running_;
  std::multiset<ActivityKey> claiming_;             // from the queue
  std::deque<ActivityKey> early_cancels_;           // for attempts that do not run here yet
  std::array<uint64_t, 1'024> begun_{};             // the last attempts that began here: hashes, with their epochs
  size_t next_begun_ = 0;
  const Attempt* suspect_ = nullptr;                // runs alone among its like
  std::atomic<bool> receiving_{false};
  static constexpr uint8_t kNoneWaits = 255;
  std::atomic<uint8_t> waiting_priority_{kNoneWaits};  // the smallest that may wait in the queue, as it was last known
  std::atomic<int> claimed_ahead_{0};                  // … since then
};

}  // namespace marathon::inline MARATHON_ABI::detail
