// Chat Completions: the request.
#include <utility>

#include "src/llm/request_builder.h"
#include "src/llm/wire.h"

namespace marathon::inline MARATHON_ABI::llm::internal {
namespace {

class OpenAiEncoder {
 public:
  std::variant<std::string, Error> Encode(const ChatRequest& request, const Endpoint& endpoint) {
    OrderedJson& root = builder_.root;
    root["model"] = request.model;
    root["messages"] = OrderedJson::array();
    for (const Message& message : request.messages) AddMessage(message);
    AddTools(request);
    if (request.max_tokens) {
      root[endpoint.old_max_tokens ? "max_tokens" : "max_completion_tokens"] = *request.max_tokens;
    }
    if (request.temperature) root["temperature"] = *request.temperature;
    if (!request.stop.empty()) root["stop"] = request.stop;
    if (request.output) {
      root["response_format"] = {
          {"type", "json_schema"},
          {"json_schema",
           {{"name", request.output->name},
            {"schema", builder_.ParseObject(request.output->schema, "the output's schema")},
            {"strict", request.output->strict}}}};
    }
    if (!request.cache.key.empty()) root["prompt_cache_key"] = request.cache.key;
    if (endpoint.stream) root["stream_options"] = {{"include_usage", true}};
    return builder_.Finish(request.extra, endpoint.stream);
  }

 private:
  void AddMessage(const Message& message) {
    if (message.role == Role::kAssistant) return AddAnswer(message);
    // A result is a message of its own, and comes before what else the user says.
    OrderedJson parts = OrderedJson::array();
    for (const Block& block : message.blocks) {
      if (const auto* result = std::get_if<ToolResult>(&block)) {
        AddResult(*result);
      } else if (const auto* text = std::get_if<Text>(&block)) {
        parts.push_back({{"type", "text"}, {"text", text->text}});
      } else if (const auto* media = std::get_if<Media>(&block)) {
        parts.push_back(PartOf(*media));
      } else {
        builder_.Refuse("only the assistant's messages have tool calls and reasoning");
      }
    }
    if (parts.empty()) return;
    const bool plain = parts.size() == 1 && parts[0]["type"] == "text";
    OrderedJson content = plain ? parts[0]["text"] : std::move(parts);
    builder_.root["messages"].push_back(
        {{"role", message.role == Role::kSystem ? "system" : "user"}, {"content", content}});
  }

  void AddResult(const ToolResult& result) {
    if (!result.media.empty()) {
      builder_.Refuse("results of tools have no images in OpenAI's protocol: show them as the user");
    }
    builder_.root["messages"].push_back(
        {{"role", "tool"}, {"tool_call_id", result.call_id}, {"content", result.text}});
  }

  void AddAnswer(const Message& message) {
    OrderedJson calls = OrderedJson::array();
    OrderedJson answer = {{"role", "assistant"}};
    const std::string text = TextOf(message.blocks);
    answer["content"] = text.empty() ? OrderedJson() : OrderedJson(text);
    for (const ToolCall& call : ToolCallsOf(message.blocks)) {
      calls.push_back({{"id", call.id},
                       {"type", "function"},
                       {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    }
    if (!calls.empty()) {
      answer["tool_calls"] = std::move(calls);
      AddReasoning(message, &answer);
    } else if (text.empty()) {
      return;  // nothing that the protocol could say
    }
    builder_.root["messages"].push_back(std::move(answer));
  }

  // Servers whose models think between calls want that back; of other messages some refuse it.
  static void AddReasoning(const Message& message, OrderedJson* answer) {
    for (const Block& block : message.blocks) {
      const auto* reasoning = std::get_if<Reasoning>(&block);
      if (reasoning != nullptr && !reasoning->field.empty()) {
        (*answer)[reasoning->field] = reasoning->text;
      }
    }
  }

  OrderedJson PartOf(const Media& media) {
    builder_.CheckMedia(media);
    if (media.kind == MediaKind::kImage) {
      if (!media.file_id.empty()) builder_.Refuse("Chat Completions take no file_id for an image");
      const std::string url = media.url.empty() ? RequestBuilder::DataUrl(media) : media.url;
      return {{"type", "image_url"}, {"image_url", {{"url", url}}}};
    }
    if (!media.url.empty()) {
      builder_.Refuse("Chat Completions take no URL of a document: give its bytes or a file_id");
    }
    if (!media.file_id.empty()) return {{"type", "file"}, {"file", {{"file_id", media.file_id}}}};
    return {{"type", "file"},
            {"file",
             {{"filename", media.name.empty() ? "document" : media.name},
              {"file_data", RequestBuilder::DataUrl(media)}}}};
  }

  void AddTools(const ChatRequest& request) {
    if (request.tools.empty()) return;
    OrderedJson& root = builder_.root;
    for (const Tool& tool : request.tools) {
      OrderedJson function = {{"name", tool.name}};
      if (!tool.description.empty()) function["description"] = tool.description;
      function["parameters"] = builder_.SchemaOf(tool);
      if (tool.strict) function["strict"] = true;
      root["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
    switch (request.tool_choice.kind) {
      case ToolChoice::Kind::kAuto: break;
      case ToolChoice::Kind::kNone: root["tool_choice"] = "none"; break;
      case ToolChoice::Kind::kRequired: root["tool_choice"] = "required"; break;
      case ToolChoice::Kind::kTool:
        root["tool_choice"] = {{"type", "function"},
                               {"function", {{"name", request.tool_choice.name}}}};
        break;
    }
    if (!request.tool_choice.parallel) root["parallel_tool_calls"] = false;
  }

  RequestBuilder builder_;
};

}  // namespace

std::vector<std::string> OpenAiHeaders(const std::string& api_key) {
  if (api_key.empty()) return {};
  return {"Authorization: Bearer " + api_key};
}

std::variant<std::string, Error> EncodeOpenAi(const ChatRequest& request, const Endpoint& endpoint) {
  return OpenAiEncoder().Encode(request, endpoint);
}

}  // namespace marathon::inline MARATHON_ABI::llm::internal
