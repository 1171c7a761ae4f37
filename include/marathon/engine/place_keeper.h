// PlaceKeeper: the places (limiter.h) of activities with a concurrency key. It asks for them and gives them up, tells those
// to whom one is passed, and looks after those whose worker may have died with one.
//
// An attempt asks once it is claimed, and never without a claim. So the store's epochs, which are claimed once, tell whose a
// place is, and calls that come late or twice do no harm.
//
// Thread rule: safe to call from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "marathon/callback.h"
#include "marathon/config.h"
#include "marathon/ids.h"
#include "marathon/limiter.h"

namespace marathon::inline MARATHON_ABI {
class Host;
}

namespace marathon::inline MARATHON_ABI::detail {

class Attempt;

class PlaceKeeper {
 public:
  explicit PlaceKeeper(Host& host) : host_(host) {}

  // Asks once. REQUIRES: the attempt has a concurrency key.
  void Enter(const Attempt& attempt, Done<bool> granted);
  // The store knows that the attempt has ended. Repeats until it is done; a shutdown waits. `place`: PlaceKeyOf, and if it
  // is empty, there is nothing to leave. `epoch`: 0, as in LeavePlace.
  void Leave(std::string place, ActivityKey key, Epoch epoch);

  // Has a shutdown wait for as long as it lives: somebody may be told of a place.
  class Busy;

 private:
  void Send(LeavePlace request, int failures, std::shared_ptr<Busy> busy);
  void TellAll(const std::string& place, const std::vector<std::string>& holders);
  void Tell(std::string place, ActivityKey key, int failures, std::shared_ptr<Busy> busy);
  void LookAfter(std::string place, const PlaceHolder& suspect);

  Host& host_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
