// expect: Name it first: `Order order\{...\}; co_await ctx.Run\(kCharge, order\);`
// Temporaries that g++ 12 would destroy twice inside an expression with co_await.
#include <string>

#include "marathon/marathon.h"

struct Order {
  std::string id;
  double amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)

struct Point {
  int x = 0, y = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Point, x, y)

constexpr marathon::ActivityDef<int(Order)> kCharge{"Charge"};
constexpr marathon::ActivityDef<int(Point)> kPaint{"Paint"};
constexpr marathon::WorkflowDef<int(Order)> kShip{"Ship"};
constexpr marathon::SignalDef<Order> kChanged{"changed"};

marathon::Workflow<int> Good(marathon::WorkflowContext& ctx) {
  const Order order{"o-1", 9.5};
  const std::string text = "text";
  const auto named = [text] { return text; };
  int sum = co_await ctx.Run(kCharge, order) + co_await ctx.Run(kPaint, Point{1, 2});
  sum += static_cast<int>((co_await ctx.SideEffect(named)).size());
  sum += static_cast<int>((co_await ctx.SideEffect([&] { return text; })).size());
  co_await ctx.WaitUntil([&] { return !text.empty(); });
  co_await ctx.SignalRun("w", kChanged, order);
  auto awaiter = ctx.Run(kCharge, order);
  co_return sum + co_await awaiter + co_await ctx.RunChild(kShip, order);
}

#ifdef CASE_aggregate  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Run(kCharge, Order{"o-1", 9.5});
}
#endif
#ifdef CASE_aggregate_by_name  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Run<int>("Charge", Order{"o-1", 9.5});
}
#endif
#ifdef CASE_local  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.RunLocal(kCharge, Order{"o-1", 9.5});
}
#endif
#ifdef CASE_start  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Start(kCharge, Order{"o-1", 9.5});
}
#endif
#ifdef CASE_start_local  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.StartLocal(kCharge, Order{"o-1", 9.5});
}
#endif
#ifdef CASE_child  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.RunChild(kShip, Order{"o-1", 9.5});
}
#endif
#ifdef CASE_child_by_name  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.StartChild<int>("Ship", Order{"o-1", 9.5});
}
#endif
#ifdef CASE_signal  // gcc12-only
marathon::Workflow<void> Bad(marathon::WorkflowContext& ctx) {
  co_await ctx.SignalRun("w", kChanged, Order{"o-1", 9.5});
}
#endif
#ifdef CASE_signal_by_name  // gcc12-only
marathon::Workflow<void> Bad(marathon::WorkflowContext& ctx) {
  co_await ctx.SignalRun("w", "changed", Order{"o-1", 9.5});
}
#endif
#ifdef CASE_continue_as_new  // gcc12-only
marathon::Workflow<void> Bad(marathon::WorkflowContext& ctx, Order) {
  co_await ctx.ContinueAsNew(Order{"o-1", 9.5});
}
#endif
#ifdef CASE_try_by_name  // gcc12-only
marathon::Workflow<bool> Bad(marathon::WorkflowContext& ctx) {
  co_return (co_await ctx.TryRun<int>("Charge", Order{"o-1", 9.5})).ok();
}
#endif
#ifdef CASE_try  // gcc12-only
marathon::Workflow<bool> Bad(marathon::WorkflowContext& ctx) {
  co_return (co_await ctx.TryRun(kCharge, Order{"o-1", 9.5})).ok();
}
#endif
#ifdef CASE_moved  // gcc12-only
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx, Order order) {
  co_return co_await ctx.Run(kCharge, std::move(order));
}
#endif
#ifdef CASE_closure_in_side_effect  // gcc12-only
marathon::Workflow<std::string> Bad(marathon::WorkflowContext& ctx, std::string text) {
  co_return co_await ctx.SideEffect([text] { return text; });
}
#endif
#ifdef CASE_closure_in_condition  // gcc12-only
marathon::Workflow<void> Bad(marathon::WorkflowContext& ctx, std::string text) {
  co_await ctx.WaitUntil([text] { return !text.empty(); });
}
#endif
#ifdef CASE_closure_in_condition_with_timeout  // gcc12-only
marathon::Workflow<bool> Bad(marathon::WorkflowContext& ctx, std::string text) {
  co_return co_await ctx.WaitUntil([text] { return !text.empty(); }, marathon::Duration(1));
}
#endif
#ifdef CASE_moved_awaiter  // expect: deleted
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  const Order order{"o-1", 9.5};
  auto awaiter = ctx.Run(kCharge, order);
  auto moved = std::move(awaiter);
  co_return co_await moved;
}
#endif
#ifdef CASE_kept_awaiters  // expect: deleted|no matching|construct
marathon::Workflow<int> Bad(marathon::WorkflowContext& ctx) {
  const Order order{"o-1", 9.5};
  std::vector<marathon::detail::JoinAwaiter<int>> awaiters;
  awaiters.push_back(ctx.Run(kCharge, order));
  co_return co_await awaiters.front();
}
#endif
