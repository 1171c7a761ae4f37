#include "marathon/agent/budget.h"

#include <algorithm>
#include <chrono>
#include <variant>

namespace marathon::inline MARATHON_ABI::agent {
namespace {

constexpr int64_t kMillion = 1'000'000;
constexpr int64_t kMediaTokens = 1'500;  // an image, or a page or two
constexpr int64_t kMessageTokens = 4;    // its role, and what separates it

struct EstimateBlock {
  int64_t operator()(const llm::Text& text) const { return EstimateTokens(text.text); }
  int64_t operator()(const llm::Media&) const { return kMediaTokens; }
  int64_t operator()(const llm::ToolCall& call) const {
    return EstimateTokens(call.name) + EstimateTokens(call.arguments);
  }
  int64_t operator()(const llm::ToolResult& result) const {
    return EstimateTokens(result.text) + kMediaTokens * static_cast<int64_t>(result.media.size());
  }
  int64_t operator()(const llm::Reasoning& reasoning) const { return EstimateTokens(reasoning.text); }
  int64_t operator()(const llm::Opaque& opaque) const { return EstimateTokens(opaque.json); }
};

int64_t LeastOf(int64_t one, int64_t other) {
  if (one == 0 || other == 0) return one + other;
  return std::min(one, other);
}

// Of one part of a budget that has `limit`.
int64_t ShareOf(int64_t limit, int64_t used, int64_t wanted, int shares) {
  if (limit == 0) return wanted;
  const int64_t left = limit - used;
  return left <= 0 ? -1 : LeastOf(wanted, (left + shares - 1) / shares);
}

}  // namespace

Budget Least(const Budget& one, const Budget& other) {
  return {.steps = static_cast<int>(LeastOf(one.steps, other.steps)),
          .tool_calls = static_cast<int>(LeastOf(one.tool_calls, other.tool_calls)),
          .tokens = LeastOf(one.tokens, other.tokens),
          .micro_usd = LeastOf(one.micro_usd, other.micro_usd),
          .wall = Duration(LeastOf(one.wall.count(), other.wall.count()))};
}

int64_t EstimateTokens(std::string_view text) { return (static_cast<int64_t>(text.size()) + 2) / 3; }

int64_t EstimateTokens(const llm::Message& message) {
  int64_t tokens = kMessageTokens;
  for (const llm::Block& block : message.blocks) tokens += std::visit(EstimateBlock(), block);
  return tokens;
}

const Price* FindPrice(const PriceTable& prices, std::string_view model) {
  const Price* found = nullptr;
  for (const Price& price : prices) {
    const bool longer = found == nullptr || price.model.size() > found->model.size();
    if (longer && model.starts_with(price.model)) found = &price;
  }
  return found;
}

int64_t CostOf(const Price& price, const llm::Usage& usage) {
  const int64_t cached = price.cached_input < 0 ? price.input : price.cached_input;
  const int64_t written = price.cache_write < 0 ? price.input : price.cache_write;
  const int64_t plain = usage.input - usage.cached_input - usage.cache_write_input;
  const int64_t millionths = (plain > 0 ? plain : 0) * price.input + usage.cached_input * cached +
                             usage.cache_write_input * written + usage.output * price.output;
  return (millionths + kMillion - 1) / kMillion;
}

std::string Ledger::Reserve(const Reservation& reservation, Time now) {
  if (TimeIsUp(now)) return "wall";
  if (budget_.steps != 0 && spent_.steps + lent_.steps >= budget_.steps) return "steps";
  const int64_t tokens = spent_.usage.input + spent_.usage.output + reservation.input + reservation.output;
  if (budget_.tokens != 0 && tokens + lent_.tokens > budget_.tokens) return "tokens";
  if (budget_.micro_usd < 0) return "usd";
  if (budget_.micro_usd > 0) {
    const Price* found = FindPrice(*prices_, reservation.model);
    if (found == nullptr) return "price";
    Price price = *found;
    price.input = std::max(price.input, price.cache_write);  // all of it may go into the cache
    const llm::Usage usage{.input = reservation.input, .output = reservation.output};
    if (spent_.micro_usd + lent_.micro_usd + CostOf(price, usage) > budget_.micro_usd) return "usd";
  }
  ++spent_.steps;
  reserved_ = reservation;
  return "";
}

// The model that answered may have another name than the one that was asked.
void Ledger::Settle(std::string_view model, const llm::Usage& usage, int64_t output_guess) {
  llm::Usage booked = usage;
  if (usage == llm::Usage()) {
    booked.input = reserved_.input;
    booked.output = output_guess;
    spent_.estimated = true;
  }
  spent_.usage += booked;
  const Price* price = FindPrice(*prices_, model);
  if (price == nullptr) price = FindPrice(*prices_, reserved_.model);
  if (price != nullptr) spent_.micro_usd += CostOf(*price, booked);
}

void Ledger::SettleLost(int attempts) {
  if (attempts <= 0) return;
  const llm::Usage lost{.input = attempts * reserved_.input};
  spent_.usage += lost;
  spent_.estimated = true;
  if (const Price* price = FindPrice(*prices_, reserved_.model)) spent_.micro_usd += CostOf(*price, lost);
}

std::string Ledger::ReserveTools(int calls, Time now) {
  if (TimeIsUp(now)) return "wall";
  const int all = spent_.tool_calls + lent_.tool_calls + calls;
  if (budget_.tool_calls != 0 && all > budget_.tool_calls) return "tool_calls";
  spent_.tool_calls += calls;
  return "";
}

// Without calls of tools there may still be an answer.
std::string Ledger::Lend(const Budget& wanted, int shares, Time now, Budget& lent) {
  const int64_t tokens = spent_.usage.input + spent_.usage.output;
  const Duration passed = std::chrono::duration_cast<Duration>(now - began_);
  const int64_t calls = ShareOf(budget_.tool_calls, spent_.tool_calls + lent_.tool_calls, wanted.tool_calls, shares);
  lent.steps = static_cast<int>(ShareOf(budget_.steps, spent_.steps + lent_.steps, wanted.steps, shares));
  lent.tool_calls = static_cast<int>(calls);
  lent.tokens = ShareOf(budget_.tokens, tokens + lent_.tokens, wanted.tokens, shares);
  lent.micro_usd = ShareOf(budget_.micro_usd, spent_.micro_usd + lent_.micro_usd, wanted.micro_usd, shares);
  lent.wall = Duration(ShareOf(budget_.wall.count(), passed.count(), wanted.wall.count(), 1));
  std::string lacking;
  if (lent.steps < 0) lacking = "steps";
  if (lent.tokens < 0) lacking = "tokens";
  if (lent.micro_usd < 0) lacking = "usd";
  if (lent.wall < Duration(0)) lacking = "wall";
  if (!lacking.empty()) {
    lent = {.steps = -1, .tool_calls = -1, .tokens = -1, .micro_usd = -1, .wall = Duration(-1)};
    return lacking;
  }
  Count(lent, 1);
  return "";
}

void Ledger::Return(const Budget& lent, const std::optional<Spending>& spent) {
  Count(lent, -1);
  Spending booked = spent.value_or(Spending{});
  if (!spent) {
    booked.steps = std::max(lent.steps, 0);
    booked.tool_calls = std::max(lent.tool_calls, 0);
    booked.usage.input = std::max<int64_t>(lent.tokens, 0);
    booked.micro_usd = std::max<int64_t>(lent.micro_usd, 0);
    booked.estimated = true;
  }
  spent_.steps += booked.steps;
  spent_.tool_calls += booked.tool_calls;
  spent_.usage += booked.usage;
  spent_.micro_usd += booked.micro_usd;
  spent_.estimated = spent_.estimated || booked.estimated;
}

void Ledger::Count(const Budget& lent, int sign) {
  lent_.steps += sign * std::max(lent.steps, 0);
  lent_.tool_calls += sign * std::max(lent.tool_calls, 0);
  lent_.tokens += sign * std::max<int64_t>(lent.tokens, 0);
  lent_.micro_usd += sign * std::max<int64_t>(lent.micro_usd, 0);
}

}  // namespace marathon::inline MARATHON_ABI::agent
