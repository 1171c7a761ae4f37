// What a tool takes: schemas from structs, arguments against them, and what callables may look like.
// needs: agent testing
// program: agent
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "marathon/agent/agent.h"
#include "marathon/engine.h"
#include "marathon/llm/scripted_model.h"
#include "marathon/testing/activity_tester.h"

namespace shop {

enum class Unit { kPiece, kBox };
MARATHON_TOOL_ENUM(Unit, (Unit::kPiece, "piece"), (Unit::kBox, "box"))

struct Item {
  std::string name;
  int count = 1;
};
MARATHON_TOOL_INPUT(Item, (name, "what"), (count, "how many"))

struct Order {
  std::vector<Item> items;
  std::optional<Unit> unit;
  bool gift = false;
  double discount = 0;
  uint8_t priority = 0;
  nlohmann::json notes;
};
MARATHON_TOOL_INPUT(Order, (items, "what is ordered"), (unit, "of the counts"), (gift, "wrap it"),
                    (discount, "of the price"), (priority, "0 is none"), (notes, "anything"))

}  // namespace shop

namespace marathon::agent::agent_tool_test {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

// Members in the order of their declaration: models read it from the top.
TEST(AgentToolTest, ASchemaFromAStruct) {
  EXPECT_EQ(SchemaTextOf<shop::Item>(),
            R"({"type":"object","properties":{"name":{"type":"string","description":"what"},)"
            R"("count":{"type":"integer","description":"how many"}},"required":["name","count"],)"
            R"("additionalProperties":false})");
  const json order = json::parse(SchemaTextOf<shop::Order>());
  EXPECT_EQ(order["required"], json({"items", "gift", "discount", "priority", "notes"}));
  const json& properties = order["properties"];
  EXPECT_EQ(properties["items"]["type"], "array");
  EXPECT_EQ(properties["items"]["items"], json::parse(SchemaTextOf<shop::Item>()));
  EXPECT_EQ(properties["unit"], json::parse(R"({"type":"string","enum":["piece","box"],"description":"of the counts"})"));
  EXPECT_EQ(properties["gift"]["type"], "boolean");
  EXPECT_EQ(properties["discount"]["type"], "number");
  EXPECT_EQ(properties["priority"]["minimum"], 0);
  EXPECT_FALSE(properties["notes"].contains("type"));
}

TEST(AgentToolTest, ValuesGoToJsonAndBack) {
  shop::Order order{.items = {{"lamp", 2}}, .unit = shop::Unit::kBox, .notes = {{"for", "Ann"}}};
  const json stored = order;
  EXPECT_EQ(stored, json::parse(R"({"items":[{"name":"lamp","count":2}],"unit":"box","gift":false,"discount":0.0,
                                    "priority":0,"notes":{"for":"Ann"}})"));
  const auto read = stored.get<shop::Order>();
  EXPECT_EQ(read.items.size(), 1u);
  EXPECT_EQ(read.unit, shop::Unit::kBox);
  order.unit.reset();
  EXPECT_FALSE(json(order).contains("unit"));
}

TEST(AgentToolTest, WhatDoesNotFitIsNamed) {
  const auto schema = JsonSchema::Parse(SchemaTextOf<shop::Order>());
  ASSERT_TRUE(schema.ok()) << schema.status();
  json order = shop::Order{.items = {{"lamp", 2}}};
  EXPECT_TRUE(schema->Check(order).ok()) << schema->Check(order);
  const auto complaint = [&](const char* change) {
    json changed = order;
    changed.merge_patch(json::parse(change));
    return std::string(MessageOf(schema->Check(changed)));
  };
  EXPECT_THAT(complaint(R"({"gift": null})"), HasSubstr("gift"));
  EXPECT_THAT(complaint(R"({"gift": "yes"})"), HasSubstr("gift: "));
  EXPECT_THAT(complaint(R"({"items": [{"name": "lamp", "count": "2"}]})"), HasSubstr("items.0.count: "));
  EXPECT_THAT(complaint(R"({"unit": "ton"})"), HasSubstr("unit: "));
  EXPECT_THAT(complaint(R"({"priority": -1})"), HasSubstr("priority: "));
  EXPECT_THAT(complaint(R"({"colour": "red"})"), HasSubstr("colour"));
  EXPECT_THAT(std::string(MessageOf(schema->Check(json::array()))), HasSubstr("the value: "));
}

// The schema has no upper bounds for integers; reading has.
TEST(AgentToolTest, IntegersThatDoNotFitAreNoneOfTheOthers) {
  json order = shop::Order{};
  order["priority"] = 256;
  EXPECT_THROW(order.get<shop::Order>(), std::exception);
  order["priority"] = 255;
  EXPECT_EQ(order.get<shop::Order>().priority, 255);
  order["items"] = json::parse(R"([{"name": "lamp", "count": 4294967296}])");
  EXPECT_THROW(order.get<shop::Order>(), std::exception);
}

TEST(AgentToolTest, SchemasThatAreNone) {
  EXPECT_FALSE(JsonSchema::Parse("").ok());
  EXPECT_FALSE(JsonSchema::Parse("[]").ok());
  EXPECT_FALSE(JsonSchema::Parse(R"({"type": "thing"})").ok());
  EXPECT_FALSE(JsonSchema::Parse(R"({"$ref": "https://example.com/other.json"})").ok());
}

TEST(AgentToolTest, PatternsThatAreNoneAreToldWithTheSchema) {
  const auto complaint = [](const char* schema) { return std::string(MessageOf(JsonSchema::Parse(schema).status())); };
  EXPECT_THAT(complaint(R"({"properties": {"a": {"type": "string", "pattern": "(x"}}})"), HasSubstr("the pattern \"(x\" is none"));
  EXPECT_THAT(complaint(R"({"items": {"anyOf": [{"pattern": "["}]}})"), HasSubstr("the pattern \"[\""));
  EXPECT_THAT(complaint(R"({"patternProperties": {"*": {}}})"), HasSubstr("the pattern \"*\""));
  EXPECT_THAT(complaint(R"({"patternProperties": {"^a": {"pattern": "+"}}})"), HasSubstr("the pattern \"+\""));
  // Members of these names are no patterns.
  for (const char* schema : {R"({"properties": {"pattern": {"type": "string"}}})", R"({"enum": [{"pattern": "("}]})",
                             R"({"const": {"pattern": "("}})", R"({"pattern": "^(a|b)+$"})"}) {
    EXPECT_EQ(complaint(schema), "") << schema;
  }
}

// A pattern over a long text would overflow std::regex's stack.
TEST(AgentToolTest, PatternsSeeNoLongTexts) {
  const auto schema = JsonSchema::Parse(R"({"properties": {"a": {"type": "string", "pattern": "^(x|y)*$"}}})");
  ASSERT_TRUE(schema.ok()) << schema.status();
  EXPECT_TRUE(schema->Check({{"a", "xyx"}}).ok());
  EXPECT_FALSE(schema->Check({{"a", "z"}}).ok());
  EXPECT_EQ(MessageOf(schema->Check({{"a", std::string(1'000'000, 'x')}})), "longer than 8 KiB");
}

// What a tool says, whatever its callable gives.
TEST(AgentToolTest, CallablesOfEveryForm) {
  const json item = shop::Item{"lamp", 2};
  const auto say = [&](const Tool& tool) {
    EXPECT_EQ(tool.mistake, "");
    const auto run = [&tool](ActivityContext& activity, const json& arguments) {
      ToolContext ctx(activity, {.step = 2, .call_id = "call_1"});
      return tool.run(ctx, arguments).text;
    };
    const StatusOr<std::string> text = testing::ActivityTester().Run(run, item);
    return text.ok() ? *text : "failed: " + std::string(MessageOf(text.status()));
  };
  EXPECT_EQ(say(MakeTool("t", "", [](const shop::Item& i) { return i.name; })), "lamp");
  EXPECT_EQ(say(MakeTool("t", "", [](ToolContext&, const shop::Item& i) { return i.count; })), "2");
  EXPECT_EQ(say(MakeTool("t", "", [](const shop::Item& i) { return i; })), R"({"count":2,"name":"lamp"})");
  EXPECT_EQ(say(MakeTool("t", "", [](const shop::Item&) {})), "done");
  EXPECT_EQ(say(MakeTool("t", "", [](const shop::Item&) { return StatusOr<std::string>("x"); })), "x");
  EXPECT_EQ(say(MakeTool("t", "", [](const shop::Item&) { return Status(); })), "done");
  const Tool failing = MakeTool("t", "", [](const shop::Item&) { return Status(NotFound("no lamp")); });
  EXPECT_THAT(say(failing), HasSubstr("no lamp"));
  EXPECT_EQ(say(MakeTool("t", "", [](ToolContext& ctx, const shop::Item&) { return ctx.idempotency_key(); })),
            "test-run/2/call_1");
  const Tool by_text = MakeToolWithSchema("t", "", R"({"type": "object"})",
                                          [](const json& arguments) { return arguments.dump(); });
  EXPECT_EQ(say(by_text), item.dump());
}

TEST(AgentToolTest, MistakesAreToldWhenTheEngineOpens) {
  const auto complaint = [](Agent agent) {
    Registry registry;
    Bind(registry, std::move(agent), std::make_shared<llm::ScriptedModel>());
    return std::string(MessageOf(Engine::Open("memory:", registry).status()));
  };
  const auto with = [](Tool tool) {
    Agent agent{.name = "A"};
    agent.tools = {std::move(tool)};
    return agent;
  };
  const auto nothing = [](const shop::Item&) {};
  EXPECT_THAT(complaint(with(MakeTool("two words", "", nothing))), HasSubstr("two words"));
  EXPECT_THAT(complaint(with(MakeTool("t", "", nothing, {.effect = Effect::kReconcilable}))), HasSubstr("no check"));
  EXPECT_THAT(complaint(with(MakeToolWithSchema("t", "", "{", nothing))), HasSubstr("schema of the tool \"t\""));
  EXPECT_THAT(complaint(with(MakeToolWithSchema("t", "", R"({"properties": {"name": {"pattern": "("}}})", nothing))),
              HasSubstr("schema of the tool \"t\": not a JSON Schema: the pattern \"(\""));
  Agent twice = with(MakeTool("t", "", nothing));
  twice.tools.push_back(twice.tools[0]);
  EXPECT_THAT(complaint(twice), HasSubstr("\"A/tool/t\" is bound twice"));
  EXPECT_THAT(complaint({.name = ""}), HasSubstr("workflow name"));
  EXPECT_THAT(complaint({.name = "A", .output = llm::OutputSchema{.schema = "no"}}), HasSubstr("output schema"));
}

}  // namespace
}  // namespace marathon::agent::agent_tool_test
