// What both files have: a struct with its conversions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

struct Order {
  std::string id;
  double amount = 0;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)
