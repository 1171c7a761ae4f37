// ChatActivity: a model as an activity. Workflows call it, the engine's retry policy repeats it, and a
// thousand of them in flight hold no thread.
//
//   registry.Bind(llm::kChat, llm::ChatActivity(client));
//   …
//   const llm::ChatResponse answer = co_await ctx.Run(llm::kChat, request);
//
// A failure of it has a type of error.h: ClassOf(error.failure()). Canceling the activity ends the HTTP call.
#pragma once

#include <functional>
#include <memory>

#include "marathon/activity.h"
#include "marathon/activity_def.h"
#include "marathon/config.h"
#include "marathon/llm/chat.h"
#include "marathon/llm/json.h"
#include "marathon/llm/model.h"

namespace marathon::inline MARATHON_ABI::llm {

inline constexpr ActivityDef<ChatResponse(ChatRequest)> kChat{"llm.Chat"};

// Told each piece of each attempt as it comes: a second attempt begins anew (ActivityInfo::attempt and
// deliveries tell them apart). On the model's thread, several calls at a time; it must not block.
using DeltaListener = std::function<void(const ActivityInfo&, const Delta&)>;

// The callable; bind it under kChat or a definition of your own. Each piece counts as a heartbeat.
class MARATHON_EXPORT ChatActivity {
 public:
  explicit ChatActivity(std::shared_ptr<Model> model, DeltaListener listener = {});

  void operator()(ActivityContext& ctx, const ChatRequest& request,
                  ActivityCompletion<ChatResponse> done) const;

 private:
  std::shared_ptr<Model> model_;
  DeltaListener listener_;
};

}  // namespace marathon::inline MARATHON_ABI::llm
