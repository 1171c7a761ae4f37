// A script's answer is recorded; a client that reaches nobody says so.
#include <marathon/llm/chat_activity.h>
#include <marathon/llm/client.h>
#include <marathon/llm/scripted_model.h>
#include <marathon/marathon.h>

#include <future>

namespace llm = marathon::llm;

marathon::Workflow<std::string> Ask(marathon::WorkflowContext& ctx, llm::ChatRequest request) {
  const llm::ChatResponse answer = co_await ctx.Run(llm::kChat, request);
  co_return llm::TextOf(answer.blocks);
}

int main() {
  llm::ChatRequest request{.model = "any"};
  request.messages = {llm::UserMessage("?")};
  auto model = std::make_shared<llm::ScriptedModel>();
  model->Says("It rains.");
  marathon::Registry registry;
  registry.Bind(llm::kChat, llm::ChatActivity(model));
  registry.Bind("Ask", Ask);
  auto engine = marathon::Engine::Open("memory:", registry).value();
  if (engine.Start("Ask", request).value().Result<std::string>().value() != "It rains.") return 1;

  const auto client = llm::Client::Open({.base_url = "http://127.0.0.1:1"}).value();
  std::promise<bool> answered;
  client->Chat(request, {}, [](const llm::Delta&) {}, [&](const llm::ChatResult& result) {
    answered.set_value(std::holds_alternative<llm::ChatResponse>(result));
  });
  return answered.get_future().get() ? 1 : 0;
}
