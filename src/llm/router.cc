#include "marathon/llm/router.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <set>
#include <utility>

namespace marathon::inline MARATHON_ABI::llm {
namespace {

bool Takes(const Route& route, std::string_view model) {
  const std::string_view match = route.match;
  return match.ends_with('*') ? model.starts_with(match.substr(0, match.size() - 1))
                              : match == model;
}

// Which of two errors the caller hears of: one that another try may mend, and that soonest.
Error Better(Error first, Error second) {
  if (first.retryable != second.retryable) return first.retryable ? first : second;
  if (!first.retryable) return second;
  if (first.retry_after && second.retry_after) {
    return *second.retry_after < *first.retry_after ? second : first;
  }
  return first.retry_after ? second : first;  // one that need not wait
}

}  // namespace

// A request on its way from route to route. One route has it at a time, so its parts need no lock.
struct Router::Call : std::enable_shared_from_this<Call> {
  std::shared_ptr<const std::vector<Route>> routes;
  std::vector<ErrorClass> next_after;
  std::vector<size_t> plan;  // the routes that take the model, in order
  Pace pace;
  ChatRequest request;
  std::stop_token stop;
  OnDelta on_delta;
  OnResult done;

  size_t at = 0;      // in `plan`
  bool said = false;  // the route has
  bool partial = false;  // one of them has
  bool sent = false;     // … or may have been asked
  std::optional<Error> error;

  void Ask() {
    const Route& route = (*routes)[plan[at]];
    ChatRequest asked = request;
    if (!route.send_as.empty()) asked.model = route.send_as;
    said = false;
    auto self = shared_from_this();
    OnDelta tell;
    if (on_delta) {
      tell = [self](const Delta& delta) {
        self->said = true;
        self->on_delta(delta);
      };
    }
    route.model->ChatWithin(pace, std::move(asked), stop, std::move(tell),
                            [self](ChatResult result) { self->OnAnswer(std::move(result)); });
  }

  void OnAnswer(ChatResult result) {
    if (auto* response = std::get_if<ChatResponse>(&result)) {
      if (response->route.empty()) response->route = (*routes)[plan[at]].name;
      return done(std::move(result));
    }
    Error failed = std::get<Error>(std::move(result));
    partial = partial || failed.partial;
    sent = sent || failed.sent;
    const bool may_go_on =
        !stop.stop_requested() && failed.error_class != ErrorClass::kCanceled &&
        std::find(next_after.begin(), next_after.end(), failed.error_class) != next_after.end();
    if (plan.size() > 1) failed.message = (*routes)[plan[at]].name + ": " + failed.message;
    const bool wanted = !stop.stop_requested() && failed.error_class != ErrorClass::kCanceled;
    error = error && wanted ? Better(*std::move(error), std::move(failed)) : std::move(failed);
    if (!may_go_on || ++at == plan.size()) {
      error->partial = partial;
      error->sent = sent;
      return done(*std::move(error));
    }
    if (said) on_delta({.kind = Delta::Kind::kReset});
    Ask();
  }
};

StatusOr<std::shared_ptr<Router>> Router::Make(std::vector<Route> routes, RouterOptions options) {
  if (routes.empty()) return InvalidArgument("a router needs routes");
  std::set<std::string> names;
  for (const Route& route : routes) {
    if (route.name.empty() || !names.insert(route.name).second) {
      return InvalidArgument(
          fmt::format("routes need names of their own; \"{}\" is none", route.name));
    }
    if (route.model == nullptr) {
      return InvalidArgument(fmt::format("route \"{}\" has no model", route.name));
    }
    const size_t star = route.match.find('*');
    if (route.match.empty() || (star != route.match.npos && star + 1 != route.match.size())) {
      return InvalidArgument(fmt::format(
          "route \"{}\" matches \"{}\": write a model's name, or the beginning of one and a '*'",
          route.name, route.match));
    }
  }
  return std::shared_ptr<Router>(new Router(std::move(routes), std::move(options)));
}

void Router::Chat(ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) {
  ChatWithin({}, std::move(request), std::move(stop), std::move(on_delta), std::move(done));
}

void Router::ChatWithin(Pace pace, ChatRequest request, std::stop_token stop, OnDelta on_delta, OnResult done) {
  auto call = std::make_shared<Call>();
  for (size_t i = 0; i < routes_->size(); ++i) {
    if (Takes((*routes_)[i], request.model)) call->plan.push_back(i);
  }
  if (call->plan.empty()) {
    std::string known;
    for (const Route& route : *routes_) known += (known.empty() ? "" : ", ") + route.match;
    return done(MakeError(ErrorClass::kBadRequest,
                          fmt::format("no route takes the model \"{}\"; there are: {}",
                                      request.model, known)));
  }
  call->routes = routes_;
  call->next_after = options_.next_after;
  call->pace = std::move(pace);
  call->request = std::move(request);
  call->stop = std::move(stop);
  call->on_delta = std::move(on_delta);
  call->done = std::move(done);
  call->Ask();
}

}  // namespace marathon::inline MARATHON_ABI::llm
