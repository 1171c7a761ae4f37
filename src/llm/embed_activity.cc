#include "marathon/llm/embed_activity.h"

#include <utility>

#include "src/llm/fail_activity.h"

namespace marathon::inline MARATHON_ABI::llm {

void EmbedActivity::operator()(ActivityContext& ctx, const EmbedRequest& request,
                               ActivityCompletion<EmbedResponse> done) const {
  embedder_->EmbedWithin(internal::PaceOf(ctx), request, ctx.stop_token(),
                         internal::CompleteWith(ctx, std::move(done)));
}

}  // namespace marathon::inline MARATHON_ABI::llm
