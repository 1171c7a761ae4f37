#include "src/agent/tool_activity.h"

#include <exception>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "marathon/agent/stream.h"
#include "marathon/errors.h"
#include "src/agent/cut_text.h"
#include "src/agent/tool_writer.h"

namespace marathon::inline MARATHON_ABI::agent::internal {
namespace {

using nlohmann::json;

// A worker died while it ran, or an attempt of it timed out: it may have had its effect.
bool MayHaveRun(const ActivityContext& ctx) { return ctx.info().deliveries > 0 || ctx.attempt() > 1; }

ToolReply Unknown(std::string why) {
  return {.text = "It is not known whether this call had its effect: " + std::move(why) +
                  ". Do not simply call it again.",
          .is_error = true,
          .unknown = true};
}

// With a mark for each byte that is not UTF-8: what cannot be recorded would be run again.
std::string ValidText(std::string text) {
  try {
    static_cast<void>(json(text).dump());
    return text;
  } catch (const json::exception&) {
    return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace)).get<std::string>();
  }
}

}  // namespace

ToolReply ToolActivity::operator()(ActivityContext& activity, const ToolTask& task) const {
  std::shared_ptr<ToolWriter> writer;
  if (agent_->stream) {
    writer = std::make_shared<ToolWriter>(activity.streams(), StreamOf(activity.info().key.run.run_id), task,
                                          static_cast<uint64_t>(activity.info().epoch));
  }
  ToolContext ctx(activity, task, writer);
  try {
    ToolReply reply = Run(ctx, task);
    reply.text = ValidText(std::move(reply.text));
    if (writer) writer->Result(reply);
    return reply;
  } catch (...) {
    if (writer) writer->Stop();
    throw;
  }
}

ToolReply ToolActivity::Run(ToolContext& ctx, const ToolTask& task) const {
  const StatusOr<json> arguments = Decode<json>({task.arguments, Encoding::kJson});
  if (!arguments.ok()) return {.text = std::string(MessageOf(arguments.status())), .is_error = true};
  switch (tool_.options.effect) {
    case Effect::kPure:
    case Effect::kIdempotent: return Cut(tool_.run(ctx, *arguments));  // what it throws is retried
    case Effect::kReconcilable:
      return MayHaveRun(ctx.activity()) ? Reconcile(ctx, *arguments) : RunOnce(ctx, *arguments);
    case Effect::kAtMostOnce:
      return MayHaveRun(ctx.activity()) ? Unknown("the worker that ran it was lost") : RunOnce(ctx, *arguments);
  }
  return {};
}

// A failure is a result, so that nothing runs it again: neither a retry nor a worker that shuts down and gives back
// what has failed.
ToolReply ToolActivity::RunOnce(ToolContext& ctx, const json& arguments) const {
  try {
    return Cut(tool_.run(ctx, arguments));
  } catch (...) {
    return Cut({.text = FailureFrom(std::current_exception()).message, .is_error = true});
  }
}

ToolReply ToolActivity::Reconcile(ToolContext& ctx, const json& arguments) const {
  Reconciled found;
  try {
    found = tool_.options.check(arguments, ctx);
  } catch (...) {
    found.text = FailureFrom(std::current_exception()).message;
  }
  switch (found.kind) {
    case Reconciled::Kind::kDone: return Cut({.text = std::move(found.text)});
    case Reconciled::Kind::kNotDone: return RunOnce(ctx, arguments);
    case Reconciled::Kind::kUnknown: break;
  }
  return Unknown(found.text.empty() ? "its worker was lost, and a check could not tell" : std::move(found.text));
}

ToolReply ToolActivity::Cut(ToolReply reply) const {
  reply.text = CutText(std::move(reply.text), tool_.options.result_max);
  return reply;
}

}  // namespace marathon::inline MARATHON_ABI::agent::internal
