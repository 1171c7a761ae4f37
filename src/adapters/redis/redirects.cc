#include "redirects.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace marathon::inline MARATHON_ABI::detail {

void RedisRedirects::Send(const RedisPlace& place, RedisCommand command, Callback<void(RedisConnection::Reply)> done) {
  Target& target = At(place);
  Waiting step{std::move(command), std::move(done)};
  if (target.connection.connected() || closed_) return SendAsking(target, std::move(step));
  target.waiting.push_back(std::move(step));
}

void RedisRedirects::Close() {
  closed_ = true;
  for (const auto& target : targets_) {
    target->connection.Close();
    OnLost(target->connection);
  }
}

RedisRedirects::Target& RedisRedirects::At(const RedisPlace& place) {
  const auto found = std::find_if(targets_.begin(), targets_.end(), [&](const auto& one) { return one->place == place; });
  if (found != targets_.end()) return **found;
  RedisAddress address = address_;
  address.host = place.host;
  address.port = place.port;
  Target* const target = new Target{
      place, RedisConnection(std::move(address), nodes_, std::nullopt, {}, jitter_ + targets_.size(), this), {}};
  targets_.emplace_back(target);
  loop_.Post([this, target] { loop_.Add(&target->connection); });  // not now: the loop may be at its waiters
  return *target;
}

RedisRedirects::Target& RedisRedirects::Of(const RedisConnection& connection) const {
  return **std::find_if(targets_.begin(), targets_.end(), [&](const auto& one) { return &one->connection == &connection; });
}

void RedisRedirects::OnConnected(RedisConnection& connection) {
  on_connected_();
  Target& target = Of(connection);
  for (Waiting& step : std::exchange(target.waiting, {})) SendAsking(target, std::move(step));
}

void RedisRedirects::OnLost(RedisConnection& connection) {
  for (Waiting& step : std::exchange(Of(connection).waiting, {})) step.done(Unavailable(MessageOf(connection.status())));
}

// It counts for the next command of its connection, whatever that is. Refused, it is the step that tells.
void RedisRedirects::SendAsking(Target& target, Waiting step) {
  target.connection.Send(RedisCommand("ASKING"), [](const RedisConnection::Reply&) {});
  target.connection.Send(step.command, std::move(step.done));
}

}  // namespace marathon::inline MARATHON_ABI::detail
