// Limiter keeps many workers under one limit together, such as the requests and tokens a minute of a provider.
// Whoever is about to use some of it asks, and is told when to go.
//
//   limiter.Acquire({.key = "api", .units = {{.name = "requests", .amount = 1, .per_minute = 500}}},
//                   [](StatusOr<Permit> permit) { /* wait for permit->wait, then go */ });
//
// Nobody waits in here. A permit is taken for an instant of its own, and the next one for a later instant, so that a
// crowd comes one by one. Whoever has waited shows its permit again: it costs nothing, and tells of a pause that has
// come between.
//
// A unit is a bucket: `burst` fits in, `per_minute` flows in, and no more is given than has flowed. Who has to wait for
// one unit has taken the others when it asked, so that they are not idle for those behind it. What the other side says
// of its own buckets (LimitReport) and its pauses hold all callers back, too, and never let them do more.
// A key that says nothing any more is forgotten after limits::kLimitKeep.
//
// It keeps places as well: so many of a key at a time, over all that share the store, as activities with a concurrency
// key have them. Enter asks for one, Leave gives it up. Who does not get one waits, outside: when a place is free it is
// passed to the first of those that wait, and whoever passed it tells him. All of it may be repeated.
//
// Thread rule: safe to call from any thread. `done` is called once, on any thread, perhaps before the call returns,
// and holds no lock; it must not block. All times are by the store's clock.
//
// Errors: kInvalidArgument says which name or number is wrong (limits.h); nothing is changed then, nor with
// kUnavailable. kUnknown: perhaps it is done. An Acquire may be repeated all the same, which costs what it takes twice;
// a Settle with `unused` may not.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI {

struct LimitUnit {
  std::string name;        // 1 to 64 bytes of a-z, 0-9 and '_'
  int64_t amount = 0;      // how much is taken; may be more than `burst`, and waits the longer
  int64_t per_minute = 0;  // 0: not limited by us
  int64_t burst = 0;       // 0: as much as flows in in a minute
};

struct AcquireLimit {
  std::string key = {};  // 1 to 255 bytes
  std::vector<LimitUnit> units = {};
  Time permit = {};  // Permit::at of one that has been waited for
};

struct Permit {
  Time at{};         // when to go
  Duration wait{0};  // from now until then; 0: at once
};

struct LimitAmount {
  std::string unit;
  int64_t amount = 0;
};

// What the other side has said: of `limit`, `remaining` are left, and all of it is there again in `full_in`.
struct LimitReport {
  std::string unit;
  int64_t limit = 0;
  int64_t remaining = 0;
  Duration full_in{0};
};

struct SettleLimit {
  std::string key = {};
  std::vector<LimitAmount> unused = {};  // taken, and not used; negative: more was used
  std::vector<LimitReport> reports = {};
  Duration pause{0};  // nobody goes for so long, whatever permit he has
};

// ---- Places. Their keys have nothing to do with those above.

// An attempt asks for one of the places of a key.
struct EnterPlace {
  std::string key = {};     // 1 to limits::kPlaceKeyBytes bytes
  std::string holder = {};  // 1 to limits::kPlaceHolderBytes bytes: the same for all attempts of one, which share a place
  int64_t epoch = 0;        // of this attempt, from 1; later ones have higher ones
  int32_t max = 1;          // how many places there are, from 1; the last that was said counts
  uint8_t priority = 0;     // of those that wait the smallest is first, and of equals who came first
};

struct PlaceHolder {
  std::string holder;
  int64_t epoch = 0;

  friend bool operator==(const PlaceHolder&, const PlaceHolder&) = default;
};

struct EnterReply {
  bool granted = false;
  std::vector<std::string> passed = {};  // as in LeaveReply
  // Of a refusal: one who has had a place for a while, or the asker's own later attempt. Whoever is told of one looks whether
  // it still is at work, and calls Leave for it, with its epoch, if not.
  std::optional<PlaceHolder> suspect = {};
};

struct LeavePlace {
  std::string key = {};
  std::string holder = {};
  int64_t epoch = 0;  // of the attempt that has ended; 0: the holder no longer waits, and does not want what it was passed
};

struct LeaveReply {
  // Who waited and have a place now, for limits::kPlacePassed: until then they are to Enter. The caller tells them.
  std::vector<std::string> passed = {};
};

class Limiter {
 public:
  virtual ~Limiter() = default;

  // Takes from all units at once. A permit is good for limits::kLimitGrace from its instant on: shown then, with the same
  // key, it is answered with itself and nothing is taken. After that, or when a pause has overtaken it, a new one is taken.
  // Those who ask during a pause go one by one after it, at most limits::kLimitSpacing apart.
  // kResourceExhausted: that would be in more than limits::kLimitMaxWait; nothing is taken.
  virtual void Acquire(AcquireLimit request, Done<Permit> done) = 0;

  // Gives back, reports and pauses, all at once. A pause or a report beyond limits::kLimitMaxWait counts as that.
  virtual void Settle(SettleLimit request, DoneStatus done) = 0;

  // Forgets all of a key: what is taken, its pause, its permits. For operators.
  virtual void Clear(std::string key, DoneStatus done) = 0;

  // Grants a place if one is free and nobody waits before the holder, or if it was passed to it, or if an earlier attempt
  // of the holder has it: then it is this attempt's. Else the holder waits, and keeps its turn when it asks again. A holder
  // whose later attempt has the place is refused and does not wait.
  virtual void Enter(EnterPlace request, Done<EnterReply> done) = 0;

  // Gives up the place of a holder, if it is of this attempt or an earlier one, and passes on what is free. If it is passed
  // one while its attempt ends that was refused, `passed` names it.
  virtual void Leave(LeavePlace request, Done<LeaveReply> done) = 0;
};

}  // namespace marathon::inline MARATHON_ABI
