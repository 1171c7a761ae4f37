#include "marathon/llm/chat_activity.h"

#include <utility>
#include <variant>

#include "src/llm/fail_activity.h"
#include "src/llm/media_blobs.h"

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
  internal::FetchMedia(ctx.blobs(), request,
                       [&ctx, model = model_, on_delta = std::move(on_delta),
                        complete = internal::CompleteWith(ctx, std::move(done))](
                           std::variant<ChatRequest, Error> fetched) mutable {
                         if (auto* error = std::get_if<Error>(&fetched)) return complete(std::move(*error));
                         model->ChatWithin(internal::PaceOf(ctx), std::get<ChatRequest>(std::move(fetched)),
                                           ctx.stop_token(), std::move(on_delta), std::move(complete));
                       });
}

}  // namespace marathon::inline MARATHON_ABI::llm
