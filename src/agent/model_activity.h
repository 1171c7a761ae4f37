// A step of the model as an activity: finds the conversation, asks, and puts away what was said.
#pragma once

#include <memory>

#include "marathon/activity.h"
#include "marathon/agent/definition.h"
#include "marathon/agent/steps.h"
#include "marathon/config.h"
#include "marathon/llm/chat_activity.h"
#include "marathon/llm/model.h"
#include "src/agent/head_cache.h"

namespace marathon::inline MARATHON_ABI::agent::internal {

class ModelActivity {
 public:
  ModelActivity(std::shared_ptr<const Agent> agent, std::shared_ptr<llm::Model> model,
                llm::DeltaListener listener);

  void operator()(ActivityContext& ctx, const ModelTask& task, ActivityCompletion<ModelReply> done) const;

 private:
  std::shared_ptr<const Agent> agent_;
  std::shared_ptr<llm::Model> model_;
  llm::DeltaListener listener_;
  std::shared_ptr<HeadCache> cache_;
};

}  // namespace marathon::inline MARATHON_ABI::agent::internal
