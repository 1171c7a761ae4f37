#include "marathon/llm/chat_activity.h"

#include <utility>

#include "src/llm/fail_activity.h"

namespace marathon::inline MARATHON_ABI::llm {

ChatActivity::ChatActivity(std::shared_ptr<Model> model, DeltaListener listener)
    : model_(std::move(model)), listener_(std::move(listener)) {}

void ChatActivity::operator()(ActivityContext& ctx, const ChatRequest& request,
                              ActivityCompletion<ChatResponse> done) const {
  // No piece comes after the result, so the context is there for each.
  auto on_delta = [&ctx, listener = listener_](const Delta& delta) {
    ctx.Heartbeat().IgnoreError();  // advice only
    if (listener) listener(ctx.info(), delta);
  };
  model_->ChatWithin(internal::PaceOf(ctx), request, ctx.stop_token(), std::move(on_delta),
                     internal::CompleteWith(ctx, std::move(done)));
}

}  // namespace marathon::inline MARATHON_ABI::llm
