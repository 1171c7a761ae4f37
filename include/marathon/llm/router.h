// Router: a model made of others. A request goes to the first route that takes its model; where that one cannot
// answer, and another may, to the next.
//
//   llm::Router({{.name = "main", .match = "claude-*", .model = anthropic},
//                {.name = "spare", .model = local, .send_as = "qwen3"}})
//
// Which route answered is in the response (ChatResponse::route), and so in the history.
//
// Safe from any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "marathon/config.h"
#include "marathon/llm/model.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::llm {

struct Route {
  std::string name;         // what the response calls it; unique
  std::string match = "*";  // the models it takes: a name, or the beginning of one with '*' behind it
  std::shared_ptr<Model> model{};
  std::string send_as{};    // the model it is asked for; empty: the one of the request
};

struct RouterOptions {
  // The next route is asked after errors of these classes. Not kRateLimit: it says when to come again, and the next
  // one's quota would be burnt as well. Never after kCanceled, nor kBadRequest and kRefused, unless they are here.
  std::vector<ErrorClass> next_after = {ErrorClass::kOverloaded, ErrorClass::kTransient,
                                        ErrorClass::kTruncated, ErrorClass::kTimeout,
                                        ErrorClass::kQuota};
};

class MARATHON_EXPORT Router final : public Model {
 public:
  // kInvalidArgument: no routes, one without a model, two of one name, a '*' that is not at the end.
  static StatusOr<std::shared_ptr<Router>> Make(std::vector<Route> routes, RouterOptions options = {});

  // kBadRequest, without asking anybody: no route takes the model. When all that were asked have failed, the error is
  // the first one that another try may mend, with the shortest retry_after of those; or else the last.
  // A route that fails when it has said something is followed by a Delta::Kind::kReset.
  void Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override;
  // Each route goes by its own limits.
  void ChatWithin(Pace pace, ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) override;

 private:
  struct Call;
  Router(std::vector<Route> routes, RouterOptions options)
      : routes_(std::make_shared<const std::vector<Route>>(std::move(routes))),
        options_(std::move(options)) {}

  const std::shared_ptr<const std::vector<Route>> routes_;  // calls under way outlive the router
  const RouterOptions options_;
};

}  // namespace marathon::inline MARATHON_ABI::llm
