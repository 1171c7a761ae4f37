// Budgets: how much an agent may do, and the ledger that keeps to it. What a call may cost at most is set aside
// before the call, and what it has cost is booked after it.
//
// Money is in micro-USD: 1,000,000 are a dollar. A price per million tokens is then micro-USD per token, times a
// million: $3 per million tokens is 3'000'000.
//
// Values; no thread rule.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::agent {

// 0: without limit; less: nothing at all.
struct Budget {
  int steps = 50;         // calls of the model
  int tool_calls = 200;   // that the model asks for
  int64_t tokens = 0;     // input and output
  int64_t micro_usd = 0;  // by the agent's prices
  Duration wall{0};       // looked at before each call; what is under way then goes on

  friend bool operator==(const Budget&, const Budget&) = default;
};

// What keeps to both.
MARATHON_EXPORT Budget Least(const Budget& one, const Budget& other);

// Of one model, in micro-USD per million tokens.
struct Price {
  std::string model;           // its name, or how the names of several begin
  int64_t input = 0;
  int64_t output = 0;
  int64_t cached_input = -1;  // -1: as input
  int64_t cache_write = -1;   // -1: as input
};
using PriceTable = std::vector<Price>;

// The price whose name is the longest that `model` begins with; null: there is none.
MARATHON_EXPORT const Price* FindPrice(const PriceTable& prices, std::string_view model);
// In micro-USD, rounded up.
MARATHON_EXPORT int64_t CostOf(const Price& price, const llm::Usage& usage);

// At a guess that is rather too high: 3 bytes a token.
MARATHON_EXPORT int64_t EstimateTokens(const llm::Message& message);
MARATHON_EXPORT int64_t EstimateTokens(std::string_view text);

// What was spent so far.
struct Spending {
  int steps = 0;
  int tool_calls = 0;
  llm::Usage usage{};
  int64_t micro_usd = 0;
  bool estimated = false;  // a part of it is: a call was broken off, or told no usage

  friend bool operator==(const Spending&, const Spending&) = default;
};

class MARATHON_EXPORT Ledger {
 public:
  // What one call of a model may come to.
  struct Reservation {
    std::string model;
    int64_t input = 0, output = 0;  // tokens
  };

  // `prices` must outlive it. `spent`: before.
  Ledger(const Budget& budget, const PriceTable& prices, Time began, const Spending& spent = {})
      : budget_(budget), prices_(&prices), began_(began), spent_(spent) {}

  const Spending& spent() const { return spent_; }

  // Counts a step and sets aside its cost, or says which part of the budget is too small: "steps", "tokens", "usd",
  // "wall", or "price": the model has none. Empty: none. One reservation at a time.
  std::string Reserve(const Reservation& reservation, Time now);
  // Books what the call has cost instead. No usage at all: the input is booked as it was guessed, and so is the
  // output.
  void Settle(std::string_view model, const llm::Usage& usage, int64_t output_guess = 0);
  // Books attempts at the call that came to nothing and may have been paid for: the input of each, as it was guessed.
  void SettleLost(int attempts);
  const Reservation& reserved() const { return reserved_; }
  // Counts calls of tools, or says what is too small.
  std::string ReserveTools(int calls, Time now);

  // Sets aside what another may spend of it: `wanted`, but no more than one of `shares` equal parts of what is left. Or
  // says what is used up, and `lent` is nothing. Of several at a time, none is lent what another one has.
  std::string Lend(const Budget& wanted, int shares, Time now, Budget& lent);
  // Books what that one has spent instead. Nothing: it could not tell, and has spent all that it was lent.
  void Return(const Budget& lent, const std::optional<Spending>& spent);

 private:
  bool TimeIsUp(Time now) const { return budget_.wall != Duration(0) && now - began_ >= budget_.wall; }

  void Count(const Budget& lent, int sign);

  Budget budget_;
  const PriceTable* prices_;
  Time began_;
  Spending spent_;
  Budget lent_{.steps = 0, .tool_calls = 0};  // of what has limits
  Reservation reserved_;
};

}  // namespace marathon::inline MARATHON_ABI::agent
