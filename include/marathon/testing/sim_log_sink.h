// SimLogSink: what the engine of one simulated process says goes to its world's trace.
//
// Not safe from several threads: the world has one.
#pragma once

#include <fmt/format.h>

#include <string_view>

#include "marathon/config.h"
#include "marathon/log_sink.h"
#include "marathon/testing/sim_world.h"

namespace marathon::inline MARATHON_ABI::testing {

class SimLogSink final : public LogSink {
 public:
  SimLogSink(SimWorld& world, ActorId actor) : world_(world), actor_(actor) {}
  void Log(LogLevel, std::string_view message) override {
    if (world_.tracing()) world_.Trace(actor_, fmt::format("log: {}", message));
  }

 private:
  SimWorld& world_;
  ActorId actor_;
};

}  // namespace marathon::inline MARATHON_ABI::testing
