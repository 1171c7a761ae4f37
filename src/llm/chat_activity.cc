#include "marathon/llm/chat_activity.h"

#include <cstdint>
#include <utility>

#include "marathon/detail/text.h"

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
  const int attempt = ctx.attempt();
  const uint64_t seed = marathon::detail::HashOf(ctx.idempotency_key());
  auto on_result = [done = std::move(done), attempt, seed](ChatResult result) mutable {
    if (const auto* response = std::get_if<ChatResponse>(&result)) return done.Complete(*response);
    const Error& error = std::get<Error>(result);
    Failure failure = ToFailure(error, attempt, seed);
    // Only the engine stops the call. If it does so for its own sake, such as a lost lease, and not for a
    // cancel, of which the store knows, the call is still wanted.
    if (error.error_class == ErrorClass::kCanceled) failure.non_retryable = false;
    done.Fail(std::move(failure));
  };
  model_->Chat(request, ctx.stop_token(), std::move(on_delta), std::move(on_result));
}

}  // namespace marathon::inline MARATHON_ABI::llm
