// Chat: a model with a tool, inside a durable workflow. Each answer and each result of the tool is recorded
// once it is there, so a crash asks no question twice; what fails is tried again, as its class says.
//
//   Chat ──► llm.Chat ──x overloaded ── wait ──► "weather(Oslo)" ──► Weather ──► llm.Chat ──► "Take …"
//
// The model is a script, so it needs no network. With OPENAI_BASE_URL (and OPENAI_API_KEY, OPENAI_MODEL) it is
// a real one:
//   OPENAI_BASE_URL=http://localhost:8080/v1 ./chat "What should I wear in Oslo?"
#include <marathon/llm/chat_activity.h>
#include <marathon/llm/client.h>
#include <marathon/llm/scripted_model.h>
#include <marathon/marathon.h>

#include <cstdlib>
#include <iostream>

using namespace std::chrono_literals;
namespace llm = marathon::llm;

inline constexpr marathon::ActivityDef<std::string(std::string)> kWeather{"Weather"};
inline constexpr marathon::RetryPolicy kPatient{.initial_interval = 100ms, .maximum_attempts = 5};

std::string EnvironmentOr(const char* name, std::string otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : otherwise;
}

std::string Weather(const std::string& arguments) {
  std::cout << "[the tool is called with " << arguments << "]\n";
  return "4 degrees and rain";
}

marathon::Workflow<std::string> Chat(marathon::WorkflowContext& ctx, llm::ChatRequest request) {
  for (int step = 0; step < 5; ++step) {
    const llm::ChatResponse answer = co_await ctx.Run(llm::kChat, request, {.retry = &kPatient});
    request.messages.push_back(llm::AsMessage(answer));
    const std::vector<llm::ToolCall> calls = llm::ToolCallsOf(answer.blocks);
    if (calls.empty()) co_return llm::TextOf(answer.blocks);
    llm::Message results{.role = llm::Role::kUser};
    for (const llm::ToolCall& call : calls) {  // one result for each, in the model's order
      llm::ToolResult result{.call_id = call.id};
      result.text = co_await ctx.Run(kWeather, call.arguments);
      results.blocks.emplace_back(std::move(result));
    }
    request.messages.push_back(std::move(results));
  }
  throw marathon::ApplicationError("the model did not come to an end");
}

absl::StatusOr<std::shared_ptr<llm::Model>> OpenModel() {
  const std::string url = EnvironmentOr("OPENAI_BASE_URL", "");
  if (url.empty()) {
    auto script = std::make_shared<llm::ScriptedModel>();
    script->Fails(llm::ErrorClass::kOverloaded)
        .CallsTool("weather", R"({"city":"Oslo"})")
        .Says("Take a raincoat and a warm sweater.");
    return script;
  }
  return llm::Client::Open({.base_url = url, .api_key = EnvironmentOr("OPENAI_API_KEY", "")});
}

int Complain(const absl::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int main(int argc, char** argv) {
  auto model = OpenModel();
  if (!model.ok()) return Complain(model.status());
  marathon::Registry registry;
  // Pieces are shown as they come. They are for the eye: what counts is the recorded answer.
  registry.Bind(llm::kChat,
                llm::ChatActivity(*model, [](const marathon::ActivityInfo&, const llm::Delta& delta) {
                  if (delta.kind == llm::Delta::Kind::kText) std::cout << delta.text << std::flush;
                }));
  registry.Bind(kWeather, Weather);
  registry.Bind("Chat", Chat);
  auto engine = marathon::Engine::Open("memory:", registry);  // or "sqlite:chat.db"
  if (!engine.ok()) return Complain(engine.status());

  llm::ChatRequest request{.model = EnvironmentOr("OPENAI_MODEL", "any")};
  request.messages = {llm::SystemMessage("Be brief."),
                      llm::UserMessage(argc > 1 ? argv[1] : "What should I wear in Oslo today?")};
  request.tools = {{.name = "weather",
                    .description = "The weather of a city, now.",
                    .schema = R"({"type": "object", "properties": {"city": {"type": "string"}},
                                  "required": ["city"]})"}};
  auto run = engine->Start("Chat", request);
  if (!run.ok()) return Complain(run.status());
  const auto answer = run->Result<std::string>(10min);
  if (!answer.ok()) return Complain(answer.status());
  std::cout << "\n[recorded: " << *answer << "]\n";
}
