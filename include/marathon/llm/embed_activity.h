// EmbedActivity: an embedder as an activity; see chat_activity.h.
//
//   registry.Bind(llm::kEmbed, llm::EmbedActivity(client));
//   …
//   const llm::EmbedResponse vectors = co_await ctx.Run(llm::kEmbed, request);
#pragma once

#include <memory>

#include "marathon/activity.h"
#include "marathon/activity_def.h"
#include "marathon/config.h"
#include "marathon/llm/embed.h"
#include "marathon/llm/json.h"

namespace marathon::inline MARATHON_ABI::llm {

inline constexpr ActivityDef<EmbedResponse(EmbedRequest)> kEmbed{"llm.Embed"};

class MARATHON_EXPORT EmbedActivity {
 public:
  explicit EmbedActivity(std::shared_ptr<Embedder> embedder) : embedder_(std::move(embedder)) {}

  void operator()(ActivityContext& ctx, const EmbedRequest& request,
                  ActivityCompletion<EmbedResponse> done) const;

 private:
  std::shared_ptr<Embedder> embedder_;
};

}  // namespace marathon::inline MARATHON_ABI::llm
