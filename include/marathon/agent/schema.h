// JsonSchema: a JSON Schema, ready to check values against, with words for a model that got one wrong.
//
// A value, cheap to copy; safe from any thread.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "marathon/config.h"
#include "marathon/status.h"

namespace marathon::inline MARATHON_ABI::agent {

class MARATHON_EXPORT JsonSchema {
 public:
  // Draft 7, as text. kInvalidArgument: it is no schema, has a pattern that is none, or refers to another document.
  static StatusOr<JsonSchema> Parse(std::string_view text);

  const std::string& text() const { return text_; }

  // kInvalidArgument: what is wrong, and where, a line each. A value that a `pattern` could see is refused when it
  // is over 8 KiB: std::regex would need the stack for it.
  Status Check(const nlohmann::json& value) const;

 private:
  struct Compiled;
  JsonSchema(std::string text, std::shared_ptr<const Compiled> compiled)
      : text_(std::move(text)), compiled_(std::move(compiled)) {}

  std::string text_;
  std::shared_ptr<const Compiled> compiled_;
};

}  // namespace marathon::inline MARATHON_ABI::agent
