// Engine: Marathon in a process. It opens a store by URL, takes turns of workflows and runs activities on
// its own threads, and lets the program start runs, signal them and wait for their results.
//
//   auto engine = marathon::Engine::Open("memory:", registry);
//   if (!engine.ok()) return Complain(engine.status());
//   auto run = engine->Start("Checkout", Order{"o-1", 9.5});
//   if (!run.ok()) return Complain(run.status());
//   absl::StatusOr<std::string> receipt = run->Result<std::string>();
//
// A run's turns may be taken on the thread that calls Start or Signal: to hand them to another would cost more
// than they do. Workflow code must not block; a turn that hangs holds that call, as any function would,
// until it comes back. The watchdog (EngineOptions::watchdog) reports it, blocks the run, and keeps later
// calls of Start away from that workflow's code: they return, and leave the first turn to the engine's threads.
//
// Thread rule: safe to call from any thread and, but for Shutdown, from activities; refused with
// kFailedPrecondition in workflow bodies and, after fork(), in the child. Calls block until the store has answered; what the
// store could not do for a moment is tried again inside.
#pragma once

#include <memory>
#include <type_traits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "marathon/client_requests.h"
#include "marathon/codec.h"
#include "marathon/config.h"
#include "marathon/event.h"
#include "marathon/event_reader.h"
#include "marathon/fork.h"
#include "marathon/options.h"
#include "marathon/registry.h"
#include "marathon/schedule.h"
#include "marathon/status.h"
#include "marathon/store_rows.h"
#include "marathon/update_handle.h"

namespace marathon::inline MARATHON_ABI {

struct Ports;   // backend.h
class Runtime;  // runtime.h

// A run and what is pending in it.
struct RunDescription {
  RunRow run;
  std::vector<ActivityRow> activities;  // with attempt, last failure and next try
  Time now{};                           // the store's
};

// Names a run in an engine. Copies name the same; usable as long as the engine lives.
class Run {
 public:
  Run(std::shared_ptr<detail::EngineImpl> engine, RunKey key)
      : engine_(std::move(engine)), key_(std::move(key)) {}

  const RunKey& key() const { return key_; }
  const Id& workflow_id() const { return key_.workflow_id; }
  const Id& run_id() const { return key_.run_id; }

  // Waits for the run to end and gives what it returned; if it was continued as new or retried, for the run
  // of its chain that goes on, to the last. A run that ended badly gives FailureStatus
  // (status.h): kAborted if it failed, kCancelled if terminated, kDeadlineExceeded if timed out. kDeadlineExceeded too
  // when `timeout` passes first; kCancelled when the engine shuts down.
  template <class T = void>
  auto Result(Duration timeout = OneShotForever()) const
      -> std::conditional_t<std::is_void_v<T>, Status, StatusOr<T>> {
    StatusOr<Payload> payload = ResultPayload(timeout);
    if constexpr (std::is_void_v<T>) {
      return payload.status();
    } else {
      if (!payload.ok()) return payload.status();
      return Decode<T>(*payload);
    }
  }
  StatusOr<Payload> ResultPayload(Duration timeout = OneShotForever()) const;

  // To the run, or to the one of its chain that goes on. kFailedPrecondition: that is closed.
  template <class T>
    requires(!std::is_same_v<T, SignalOptions>)
  Status Signal(std::string_view name, const T& value, SignalOptions options = {}) const {
    StatusOr<Payload> payload = Encode<T>(value);
    return payload.ok() ? SignalPayload(name, *std::move(payload), std::move(options))
                        : payload.status();
  }
  Status Signal(std::string_view name, SignalOptions options = {}) const {
    return SignalPayload(name, Payload(), std::move(options));
  }
  template <class T>
  Status Signal(const SignalDef<T>& signal, const std::type_identity_t<T>& value,
                SignalOptions options = {}) const {
    return Signal<T>(signal.name, value, std::move(options));
  }
  Status Signal(const SignalDef<void>& signal, SignalOptions options = {}) const {
    return SignalPayload(signal.name, Payload(), std::move(options));
  }
  Status SignalPayload(std::string_view name, Payload value, SignalOptions options = {}) const;

  // Asks the code of the run, or of the one of its chain that goes on, to end: what it waits for throws
  // CanceledError. It may clean up first, or go on. A second cancel changes nothing.
  Status Cancel(std::string_view reason = "") const;

  // Asks a handler that the run's code has set with ctx.OnQuery; of a run that has continued, the next one's. It
  // sees committed state: messages that wait are given a turn first, for as long as `options.patience`. This
  // process replays the run, so that it needs its code. Of a run that has returned, the handler is asked as of then.
  // kNotFound: no such run or handler; kFailedPrecondition: the run's code is not in this registry, does not
  // match its history, or ended without returning. What the handler throws comes as FailureStatus (status.h).
  template <class Out>
  StatusOr<Out> Query(std::string_view name, QueryOptions options = {}) const {
    return Answer<Out>(QueryPayload(name, Payload(), options));
  }
  template <class Out, class In>
    requires(!std::is_same_v<In, QueryOptions>)
  StatusOr<Out> Query(std::string_view name, const In& input, QueryOptions options = {}) const {
    StatusOr<Payload> payload = Encode<In>(input);
    if (!payload.ok()) return payload.status();
    return Answer<Out>(QueryPayload(name, *std::move(payload), options));
  }
  template <class Out>
  StatusOr<Out> Query(const QueryDef<Out()>& query, QueryOptions options = {}) const {
    return Query<Out>(query.name, options);
  }
  template <class Out, class In>
  StatusOr<Out> Query(const QueryDef<Out(In)>& query, const std::type_identity_t<In>& input,
                      QueryOptions options = {}) const {
    return Query<Out, In>(query.name, input, options);
  }
  StatusOr<QueryReply> QueryPayload(std::string_view name, Payload input, QueryOptions options) const;

  // Sends an update to the run, or to the one of its chain that goes on, and waits for its end: what the handler
  // that the run's code has set with ctx.OnUpdate returned. Errors as UpdateHandle::Result says; after
  // kDeadlineExceeded (UpdateOptions::patience), the same update_id waits on.
  template <class Out = void, class In>
    requires(!std::is_same_v<In, UpdateOptions>)
  auto Update(std::string_view name, const In& input, UpdateOptions options = {}) const {
    StatusOr<Payload> payload = Encode<In>(input);
    return UpdateEncoded<Out>(name, std::move(payload), std::move(options));
  }
  template <class Out = void>
  auto Update(std::string_view name, UpdateOptions options = {}) const {
    return UpdateEncoded<Out>(name, Payload(), std::move(options));
  }
  template <class Out, class In>
  auto Update(const UpdateDef<Out(In)>& update, const std::type_identity_t<In>& input,
              UpdateOptions options = {}) const {
    return Update<Out, In>(update.name, input, std::move(options));
  }
  template <class Out>
  auto Update(const UpdateDef<Out()>& update, UpdateOptions options = {}) const {
    return Update<Out>(update.name, std::move(options));
  }
  // The same, but waits only until the update has come to `options.wait`.
  template <class In>
    requires(!std::is_same_v<In, UpdateOptions>)
  StatusOr<UpdateHandle> StartUpdate(std::string_view name, const In& input,
                                     UpdateOptions options = {}) const {
    StatusOr<Payload> payload = Encode<In>(input);
    if (!payload.ok()) return payload.status();
    return StartUpdatePayload(name, *std::move(payload), std::move(options));
  }
  StatusOr<UpdateHandle> StartUpdate(std::string_view name, UpdateOptions options = {}) const {
    return StartUpdatePayload(name, Payload(), std::move(options));
  }
  template <class Out, class In>
  StatusOr<UpdateHandle> StartUpdate(const UpdateDef<Out(In)>& update,
                                     const std::type_identity_t<In>& input,
                                     UpdateOptions options = {}) const {
    return StartUpdate<In>(update.name, input, std::move(options));
  }
  template <class Out>
  StatusOr<UpdateHandle> StartUpdate(const UpdateDef<Out()>& update, UpdateOptions options = {}) const {
    return StartUpdatePayload(update.name, Payload(), std::move(options));
  }
  StatusOr<UpdateHandle> StartUpdatePayload(std::string_view name, Payload input,
                                            UpdateOptions options) const;
  // An update that was sent before. Does not ask the store.
  UpdateHandle FindUpdate(std::string_view update_id) const {
    return UpdateHandle(engine_, key_, std::string(update_id));
  }

  // Ends the run, or the one of its chain that goes on, at once, without its code; its activities are told
  // to stop.
  Status Terminate(std::string_view reason) const;
  // Lets a blocked run try again with the code there is now.
  Status Unblock() const;

  // Has the run, or the one of its chain that goes on, rest until Resume, whatever becomes of this process: it takes no
  // turns, and no attempts of its activities are claimed. Those that a worker has claimed go on; their outcomes, timers
  // that fire, signals, updates and cancels wait. Queries answer from what it has seen; Terminate and the run timeout end it;
  // deadlines of activities pass, but for schedule-to-start. Children go on, and so does what it has sent to other runs. What
  // follows it in its chain is paused, too. Paused already: OK, and the first reason stays.
  // kFailedPrecondition: it is closed.
  Status Pause(std::string_view reason = "") const;
  // Ends that. OK if it was not paused.
  Status Resume() const;
  // Moves the run, or the one of its chain that goes on, to workers of another build, whose code must fit its history:
  // they alone take its turns from now on, as those did of the build it was pinned to (Versioning::kPinned). A turn that
  // is under way elsewhere comes to nothing; activities go on, wherever they run. A blocked run tries again. Workers
  // that have no workflow bound as kPinned do not listen for pinned runs. OK if it is so already.
  // kInvalidArgument: this is no build id; kFailedPrecondition: the run is closed.
  Status Pin(std::string_view build_id) const;
  // Moves it to workers of any build. Likewise.
  Status Unpin() const;
  // Has a pending activity, of this very run, begin its next attempt at once: one that waits after a failure, or is
  // held as a dead letter (ActivityOptions::hold_dead_letter), whose deaths are then forgotten. In a paused run, it
  // begins when that resumes. OK if it runs, or only waits for a worker. `id` is that of its ActivityScheduled event, as
  // Describe tells. kNotFound: no such activity is pending.
  Status RetryActivity(EventId id) const;
  // Erases a closed run, its history and results, at once: whoever asks for it gets kNotFound, and its workflow id is
  // free. One that still owes its parent the news of its end, or its children that of theirs, goes when that is told.
  // Its request id goes, too: a start that is repeated after that makes another run, and so does a parent's that did not
  // hear of it. kFailedPrecondition: it, or what follows it in its chain, is open; terminate that first.
  Status Delete() const;
  // Begins a new run with the turns of this very run up to an event, as they are recorded or with other results and
  // input; they are not run again, but replayed. What was pending then is begun anew: activities and children run
  // once more, but for those with a result in `options`; timers have left what they had left. Random numbers of kept
  // turns are this run's, later ones the fork's own. It is a chain of its own, and nobody's child; this run, if open, goes
  // on. A fork that keeps turns is pinned as this run is. If its code and the kept turns do not fit, the fork blocks, as any run does.
  // kInvalidArgument: `options` name events that cannot be kept or changed; which can, it says. kResourceExhausted: more
  // is to be kept than limits::kForkMaxBytes. Others as Start.
  StatusOr<Run> Fork(ForkOptions options) const;
  StatusOr<RunDescription> Describe() const;
  StatusOr<marathon::History> History() const;
  // Follows it as it grows, behind event `after`: see event_reader.h. Does not ask the store.
  EventReader Subscribe(EventId after = 0) const { return EventReader(engine_, key_, after); }

 private:
  template <class Out>
  static StatusOr<Out> Answer(StatusOr<QueryReply> reply) {
    if (!reply.ok()) return reply.status();
    return Decode<Out>(reply->answer);
  }
  template <class Out>
  auto UpdateEncoded(std::string_view name, StatusOr<Payload> input, UpdateOptions options) const
      -> std::conditional_t<std::is_void_v<Out>, Status, StatusOr<Out>> {
    if (!input.ok()) return input.status();
    const Duration patience = options.patience;
    auto update = SendUpdate(name, *std::move(input), std::move(options));
    if (!update.ok()) return update.status();
    return update->template Result<Out>(patience);
  }
  StatusOr<UpdateHandle> SendUpdate(std::string_view name, Payload input, UpdateOptions options) const;
  static constexpr Duration OneShotForever() { return Duration::max(); }
  std::shared_ptr<detail::EngineImpl> engine_;
  RunKey key_;
};

class Engine {
 public:
  // Opens the store that `url` names ("memory:", "sqlite:app.db" once the registry knows SqliteBackend())
  // and begins to work. The registry is copied. kInvalidArgument: the URL or the registry is wrong.
  static StatusOr<Engine> Open(std::string_view url, const Registry& registry,
                               EngineOptions options = {});
  // The same over ports that the caller made; several engines may share them.
  static StatusOr<Engine> Open(Ports ports, const Registry& registry, EngineOptions options = {});
  // The same without threads of its own: all that it does, it does through `runtime`, which somebody else
  // drives. testing/test_environment.h runs it in virtual time so.
  static StatusOr<Engine> Open(Ports ports, const Registry& registry, EngineOptions options,
                               std::shared_ptr<Runtime> runtime);

  Engine(Engine&&) noexcept = default;
  Engine& operator=(Engine&&) noexcept;
  // Shutdown(). Where that is refused the engine cannot be ended: it logs an error, and works on until the process ends.
  ~Engine();

  // Stops taking work, fires the stop tokens of running activities, waits for them and for turns, gives
  // leases back, and joins all threads. Whoever waits in Result gets kCancelled. An activity that goes
  // on for longer than `patience` is logged every 5 s, and waited for. Hints that a queue of another domain does not take
  // within `patience` after that are left to the store, which publishes them again after a minute. kFailedPrecondition,
  // and nothing is done, where it would wait for its caller: in a workflow's body, an activity or a callback of this engine,
  // and after fork().
  Status Shutdown(Duration patience = Duration(10'000));

  // Starts a run. kAlreadyExists: the id policies forbid it; kNotFound: no such workflow type.
  template <class In>
  StatusOr<Run> Start(std::string_view workflow_type, const In& input, StartOptions options = {}) {
    StatusOr<Payload> payload = Encode<In>(input);
    if (!payload.ok()) return payload.status();
    return StartPayload(workflow_type, *std::move(payload), std::move(options));
  }
  StatusOr<Run> Start(std::string_view workflow_type, StartOptions options = {}) {
    return StartPayload(workflow_type, Payload(), std::move(options));
  }
  template <class Out, class In>
  StatusOr<Run> Start(const WorkflowDef<Out(In)>& def, const std::type_identity_t<In>& input,
                      StartOptions options = {}) {
    return Start<In>(def.name, input, std::move(options));
  }
  template <class Out>
  StatusOr<Run> Start(const WorkflowDef<Out()>& def, StartOptions options = {}) {
    return StartPayload(def.name, Payload(), std::move(options));
  }
  StatusOr<Run> StartPayload(std::string_view workflow_type, Payload input, StartOptions options = {});

  // Starts a run with a signal waiting for it; if one with the workflow id is open, signals that one.
  // One atomic step. Workflow and signal by their definitions, with what these take …
  template <class Out, class In, class T>
  StatusOr<Run> SignalWithStart(const WorkflowDef<Out(In)>& def, const std::type_identity_t<In>& input,
                                const SignalDef<T>& signal, const std::type_identity_t<T>& value,
                                StartOptions options = {}, SignalOptions signal_options = {}) {
    return SignalWithStartEncoded(def.name, Encode<In>(input), signal.name, Encode<T>(value),
                                  std::move(options), std::move(signal_options));
  }
  template <class Out, class In>
  StatusOr<Run> SignalWithStart(const WorkflowDef<Out(In)>& def, const std::type_identity_t<In>& input,
                                const SignalDef<void>& signal, StartOptions options = {},
                                SignalOptions signal_options = {}) {
    return SignalWithStartEncoded(def.name, Encode<In>(input), signal.name, Payload(), std::move(options),
                                  std::move(signal_options));
  }
  template <class Out, class T>
  StatusOr<Run> SignalWithStart(const WorkflowDef<Out()>& def, const SignalDef<T>& signal,
                                const std::type_identity_t<T>& value, StartOptions options = {},
                                SignalOptions signal_options = {}) {
    return SignalWithStartEncoded(def.name, Payload(), signal.name, Encode<T>(value), std::move(options),
                                  std::move(signal_options));
  }
  template <class Out>
  StatusOr<Run> SignalWithStart(const WorkflowDef<Out()>& def, const SignalDef<void>& signal,
                                StartOptions options = {}, SignalOptions signal_options = {}) {
    return SignalWithStartPayload(def.name, Payload(), signal.name, Payload(), std::move(options),
                                  std::move(signal_options));
  }
  // … or by their names, with an input and a value.
  template <class In, class T>
  StatusOr<Run> SignalWithStart(std::string_view workflow_type, const In& input,
                                std::string_view signal, const T& value,
                                StartOptions options = {}, SignalOptions signal_options = {}) {
    return SignalWithStartEncoded(workflow_type, Encode<In>(input), signal, Encode<T>(value),
                                  std::move(options), std::move(signal_options));
  }
  // As they are: by name where there is no input, or no value, which is Payload() then.
  StatusOr<Run> SignalWithStartPayload(std::string_view workflow_type, Payload input,
                                       std::string_view signal, Payload value, StartOptions options = {},
                                       SignalOptions signal_options = {});

  // Starts a run with an update waiting for it; if one with the workflow id is open, that one gets it. One
  // atomic step. Then waits until the update has come to `update_options.wait`. In the same forms.
  template <class Result, class In, class Out, class Arg>
  StatusOr<UpdateHandle> UpdateWithStart(const WorkflowDef<Result(In)>& def, const std::type_identity_t<In>& input,
                                         const UpdateDef<Out(Arg)>& update,
                                         const std::type_identity_t<Arg>& update_input,
                                         StartOptions options = {}, UpdateOptions update_options = {}) {
    return UpdateWithStartEncoded(def.name, Encode<In>(input), update.name, Encode<Arg>(update_input),
                                  std::move(options), std::move(update_options));
  }
  template <class Result, class In, class Out>
  StatusOr<UpdateHandle> UpdateWithStart(const WorkflowDef<Result(In)>& def, const std::type_identity_t<In>& input,
                                         const UpdateDef<Out()>& update, StartOptions options = {},
                                         UpdateOptions update_options = {}) {
    return UpdateWithStartEncoded(def.name, Encode<In>(input), update.name, Payload(), std::move(options),
                                  std::move(update_options));
  }
  template <class Result, class Out, class Arg>
  StatusOr<UpdateHandle> UpdateWithStart(const WorkflowDef<Result()>& def, const UpdateDef<Out(Arg)>& update,
                                         const std::type_identity_t<Arg>& update_input,
                                         StartOptions options = {}, UpdateOptions update_options = {}) {
    return UpdateWithStartEncoded(def.name, Payload(), update.name, Encode<Arg>(update_input), std::move(options),
                                  std::move(update_options));
  }
  template <class Result, class Out>
  StatusOr<UpdateHandle> UpdateWithStart(const WorkflowDef<Result()>& def, const UpdateDef<Out()>& update,
                                         StartOptions options = {}, UpdateOptions update_options = {}) {
    return UpdateWithStartPayload(def.name, Payload(), update.name, Payload(), std::move(options),
                                  std::move(update_options));
  }
  template <class In, class Out, class Arg>
  StatusOr<UpdateHandle> UpdateWithStart(std::string_view workflow_type, const In& input,
                                         const UpdateDef<Out(Arg)>& update,
                                         const std::type_identity_t<Arg>& update_input,
                                         StartOptions options = {}, UpdateOptions update_options = {}) {
    return UpdateWithStartEncoded(workflow_type, Encode<In>(input), update.name, Encode<Arg>(update_input),
                                  std::move(options), std::move(update_options));
  }
  StatusOr<UpdateHandle> UpdateWithStartPayload(std::string_view workflow_type, Payload input,
                                                std::string_view update, Payload update_input,
                                                StartOptions options = {}, UpdateOptions update_options = {});

  // The newest run of a workflow id, or a certain run. Does not ask the store.
  Run Find(std::string_view workflow_id, std::string_view run_id = "") const;
  // Runs, the newest first, page by page: client_requests.h says what can be asked, and what that costs. One that starts, or
  // changes, while pages are read is in a later page as it is then, or in none.
  StatusOr<ListReply> List(ListRequest request = {}) const;
  // How many there are of those; its limit and page do not matter. Costs as much as to look at them all.
  StatusOr<int64_t> Count(ListRequest request = {}) const;

  // ---- Schedules: see schedule.h

  // kAlreadyExists: there is one of this id. kInvalidArgument: what is wrong, and what to write instead.
  template <class In>
  StatusOr<Schedule> CreateSchedule(std::string_view id, ScheduleSpec spec,
                                    std::string_view workflow_type, const In& input,
                                    ScheduleOptions options = {}) {
    StatusOr<Payload> payload = Encode<In>(input);
    if (!payload.ok()) return payload.status();
    ScheduleAction action{std::string(workflow_type), *std::move(payload)};
    return CreateSchedule(id, {std::move(spec), std::move(action), std::move(options)});
  }
  template <class Out, class In>
  StatusOr<Schedule> CreateSchedule(std::string_view id, ScheduleSpec spec,
                                    const WorkflowDef<Out(In)>& def,
                                    const std::type_identity_t<In>& input,
                                    ScheduleOptions options = {}) {
    return CreateSchedule<In>(id, std::move(spec), def.name, input, std::move(options));
  }
  template <class Out>
  StatusOr<Schedule> CreateSchedule(std::string_view id, ScheduleSpec spec,
                                    const WorkflowDef<Out()>& def, ScheduleOptions options = {}) {
    ScheduleAction action{std::string(def.name)};
    return CreateSchedule(id, {std::move(spec), std::move(action), std::move(options)});
  }
  StatusOr<Schedule> CreateSchedule(std::string_view id, const ScheduleConfig& config);
  // Does not ask the store.
  Schedule FindSchedule(std::string_view id) const;
  // The ids of all that there are, the newest first.
  StatusOr<std::vector<std::string>> ListSchedules() const;

  // ---- Activities

  // The outcome of an activity that said CompleteLater(); a failure, too, is final, whatever its retry policy says. kNotFound:
  // it is resolved; kAborted: it was delivered anew since.
  template <class T>
  Status CompleteActivity(std::string_view token, const T& result) {
    StatusOr<Payload> payload = Encode<T>(result);
    if (!payload.ok()) return payload.status();
    return CompleteActivityPayload(token, *std::move(payload));
  }
  Status CompleteActivityPayload(std::string_view token, Payload result);
  Status FailActivity(std::string_view token, Failure failure);

  // ---- Beside the runs, in the store: see blob_store.h, stream_log.h and limiter.h. Not for workflow bodies; good for as
  // long as the engine lives. Unlike the engine's own calls theirs do not block. kUnimplemented: the backend has none.
  BlobStore& blobs() const;
  StreamLog& streams() const;
  Limiter& limiter() const;

 private:
  StatusOr<Run> StartWith(std::string_view workflow_type, Payload input, StartOptions options,
                          std::vector<Message> messages);
  StatusOr<Run> SignalWithStartEncoded(std::string_view workflow_type, StatusOr<Payload> input,
                                       std::string_view signal, StatusOr<Payload> value,
                                       StartOptions options, SignalOptions signal_options) {
    if (!input.ok()) return input.status();
    if (!value.ok()) return value.status();
    return SignalWithStartPayload(workflow_type, *std::move(input), signal, *std::move(value),
                                  std::move(options), std::move(signal_options));
  }
  StatusOr<UpdateHandle> UpdateWithStartEncoded(std::string_view workflow_type, StatusOr<Payload> input,
                                                std::string_view update, StatusOr<Payload> update_input,
                                                StartOptions options, UpdateOptions update_options) {
    if (!input.ok()) return input.status();
    if (!update_input.ok()) return update_input.status();
    return UpdateWithStartPayload(workflow_type, *std::move(input), update, *std::move(update_input),
                                  std::move(options), std::move(update_options));
  }
  explicit Engine(std::shared_ptr<detail::EngineImpl> impl) : impl_(std::move(impl)) {}
  static StatusOr<Engine> OpenImpl(std::shared_ptr<detail::EngineImpl> impl, Ports ports,
                                   const Registry& registry, EngineOptions options);
  std::shared_ptr<detail::EngineImpl> impl_;
};

}  // namespace marathon::inline MARATHON_ABI

#ifndef MARATHON_COMPILED
#include "marathon/engine-inl.h"
#endif
