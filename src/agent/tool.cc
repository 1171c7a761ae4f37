#include "marathon/agent/tool.h"

#include <algorithm>
#include <cmath>

#include "src/agent/tool_writer.h"

namespace marathon::inline MARATHON_ABI::agent {

void ToolContext::Progress(std::string_view text) { Say(text, std::nullopt); }

void ToolContext::Progress(double fraction, std::string_view text) {
  if (std::isnan(fraction)) return Say(text, std::nullopt);
  Say(text, std::clamp(fraction, 0.0, 1.0));
}

void ToolContext::Say(std::string_view text, std::optional<double> fraction) {
  activity_.Heartbeat().IgnoreError();  // advice only
  if (writer_) writer_->Progress(std::string(text), fraction, activity_.elapsed());
}

namespace internal {
namespace {

// What both kinds of providers take: letters, digits, '_' and '-', up to 64.
bool IsToolName(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (const char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-';
    if (!good) return false;
  }
  return true;
}

}  // namespace

void ThrowToolStatus(const Status& status) { throw ApplicationError(std::string(MessageOf(status))); }

Tool NewTool(std::string name, std::string description, std::string schema, ToolOptions options) {
  Tool tool;
  if (!IsToolName(name)) {
    tool.mistake = "the tool \"" + name + "\" needs a name of 1 to 64 letters, digits, '_' and '-'";
  } else if (options.effect == Effect::kReconcilable && !options.check) {
    tool.mistake = "the tool \"" + name + "\" is kReconcilable and has no check";
  }
  StatusOr<JsonSchema> parsed = JsonSchema::Parse(schema);
  if (parsed.ok()) {
    tool.schema = *std::move(parsed);
  } else {
    tool.mistake = "the schema of the tool \"" + name + "\": " + std::string(MessageOf(parsed.status()));
  }
  tool.definition = {.name = std::move(name), .description = std::move(description), .schema = std::move(schema)};
  tool.options = std::move(options);
  return tool;
}

}  // namespace internal
}  // namespace marathon::inline MARATHON_ABI::agent
