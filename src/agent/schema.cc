#include "marathon/agent/schema.h"

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <utility>
#include <vector>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validation_results.hpp>
#include <valijson/validator.hpp>

#include "marathon/codec.h"

namespace marathon::inline MARATHON_ABI::agent {
namespace {

using nlohmann::json;
using Adapter = valijson::adapters::NlohmannJsonAdapter;

constexpr size_t kPatternMaxBytes = 8u << 10;
constexpr size_t kErrorsMax = 8;

// Members that hold values, not schemas.
bool IsValue(const std::string& key) {
  return key == "enum" || key == "const" || key == "default" || key == "examples";
}

// Adds the patterns of a schema, and of the schemas in it.
void AddPatterns(const json& schema, std::vector<std::string>* patterns) {
  if (schema.is_array()) {
    for (const json& one : schema) AddPatterns(one, patterns);
  }
  if (!schema.is_object()) return;
  for (const auto& [key, part] : schema.items()) {
    if (key == "pattern" && part.is_string()) patterns->push_back(part.get<std::string>());
    const bool by_pattern = key == "patternProperties" && part.is_object();
    if (by_pattern || (key == "properties" && part.is_object())) {
      for (const auto& [name, one] : part.items()) {  // by names of their own
        if (by_pattern) patterns->push_back(name);
        AddPatterns(one, patterns);
      }
    } else if (!IsValue(key)) {
      AddPatterns(part, patterns);
    }
  }
}

// valijson compiles a pattern when a value meets it: too late for whoever wrote it.
Status CheckPatterns(const std::vector<std::string>& patterns) {
  for (const std::string& pattern : patterns) {
    if (pattern.size() > kPatternMaxBytes) return InvalidArgument("not a JSON Schema: a pattern of more than 8 KiB");
    try {
      const std::regex compiled(pattern);
    } catch (const std::regex_error& error) {
      return InvalidArgument("not a JSON Schema: the pattern \"" + pattern + "\" is none: " + error.what());
    }
  }
  return {};
}

// "<root>", "[user]", "[name]": "user.name".
std::string PathOf(const std::vector<std::string>& context) {
  std::string path;
  for (size_t i = 1; i < context.size(); ++i) {
    std::string part = context[i];
    if (part.size() > 2 && part.front() == '[') part = part.substr(1, part.size() - 2);
    path += (path.empty() ? "" : ".") + part;
  }
  return path.empty() ? "the value" : path;
}

}  // namespace

struct JsonSchema::Compiled {
  valijson::Schema schema;
  bool has_pattern = false;
};

StatusOr<JsonSchema> JsonSchema::Parse(std::string_view text) {
  const StatusOr<json> parsed = Decode<json>({std::string(text), Encoding::kJson});
  if (!parsed.ok()) return parsed.status();
  if (!parsed->is_object()) return InvalidArgument("a JSON Schema is an object");
  auto compiled = std::make_shared<Compiled>();
  try {
    const Adapter adapter(*parsed);
    valijson::SchemaParser parser;
    parser.populateSchema(adapter, compiled->schema);
  } catch (const std::exception& error) {
    return InvalidArgument(std::string("not a JSON Schema: ") + error.what());
  }
  std::vector<std::string> patterns;
  AddPatterns(*parsed, &patterns);
  if (Status status = CheckPatterns(patterns); !status.ok()) return status;
  compiled->has_pattern = !patterns.empty();
  return JsonSchema(std::string(text), std::move(compiled));
}

Status JsonSchema::Check(const json& value) const {
  if (compiled_->has_pattern && value.dump().size() > kPatternMaxBytes) {
    return InvalidArgument("longer than 8 KiB");
  }
  std::string words;
  try {
    // Strict: "5" is no number. A validator caches what it compiles, so each check has its own.
    valijson::Validator validator(valijson::Validator::kStrongTypes);
    valijson::ValidationResults results;
    const Adapter adapter(value);
    if (validator.validate(compiled_->schema, adapter, &results)) return {};
    valijson::ValidationResults::Error error;
    for (size_t i = 0; i < kErrorsMax && results.popError(error); ++i) {
      words += (words.empty() ? "" : "\n") + PathOf(error.context) + ": " + error.description;
    }
  } catch (const std::exception& error) {
    words = error.what();
  }
  return InvalidArgument(words);
}

}  // namespace marathon::inline MARATHON_ABI::agent
