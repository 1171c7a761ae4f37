// expect: a workflow may co_await only what its WorkflowContext offers
// What a workflow must not await.
#include <coroutine>

#include "marathon/marathon.h"

marathon::Workflow<int> Helper(marathon::WorkflowContext& ctx) {
  co_return co_await ctx.Receive<int>("n");
}

struct Foreign {
  bool await_ready() const { return false; }
  void await_suspend(std::coroutine_handle<>) const {}
  void await_resume() const {}
};

marathon::Workflow<int> Good(marathon::WorkflowContext& ctx) {
  auto handle = ctx.Spawn(Helper(ctx));
  co_return co_await Helper(ctx) + co_await handle;
}

#ifdef CASE_foreign_awaitable
marathon::Workflow<void> Bad(marathon::WorkflowContext&) { co_await Foreign(); }
#endif
#ifdef CASE_standard_awaitable
marathon::Workflow<void> Bad(marathon::WorkflowContext&) { co_await std::suspend_always(); }
#endif
#ifdef CASE_plain_value
marathon::Workflow<void> Bad(marathon::WorkflowContext&) { co_await 1; }
#endif
#ifdef CASE_named_workflow  // expect: await a workflow where it is made
marathon::Workflow<void> Bad(marathon::WorkflowContext& ctx) {
  auto helper = Helper(ctx);
  co_await helper;
}
#endif
#ifdef CASE_yield  // expect: yield_value
marathon::Workflow<void> Bad(marathon::WorkflowContext&) { co_yield 1; }
#endif
#ifdef CASE_wrong_result  // expect: return_value|convert
marathon::Workflow<int> Bad(marathon::WorkflowContext&) { co_return "text"; }
#endif
