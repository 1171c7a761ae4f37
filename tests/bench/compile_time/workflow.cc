// The same struct as the input of a workflow and of its activity.
#include <marathon/marathon.h>

#include "order.h"

inline constexpr marathon::ActivityDef<std::string(Order)> kCharge{"Charge"};

std::string Charge(const Order& order) { return "receipt of " + order.id; }

marathon::Workflow<std::string> Checkout(marathon::WorkflowContext& ctx, Order order) {
  co_return co_await ctx.Run(kCharge, order);
}

void Bind(marathon::Registry& registry) {
  registry.Bind(kCharge, Charge);
  registry.Bind("Checkout", Checkout);
}
