// What a file costs that has its own JSON and its errors as values, without Marathon.
#include <absl/status/statusor.h>

#include "order.h"

std::string Write(const Order& order) { return nlohmann::json(order).dump(); }

absl::StatusOr<Order> Read(const std::string& text) {
  const auto json = nlohmann::json::parse(text, nullptr, false);
  if (json.is_discarded()) return absl::InvalidArgumentError("not JSON");
  return json.get<Order>();
}
