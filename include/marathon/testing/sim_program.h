// SimProgram: a random workflow as a list of steps, what runs it on the engine, and the oracle that says
// what must come out whatever crashes, delays and repetitions happen on the way.
//
// Values and functions; no thread rule.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "marathon/activity_def.h"
#include "marathon/config.h"
#include "marathon/limits.h"
#include "marathon/testing/seeded_random.h"
#include "marathon/time.h"
#include "marathon/workflow.h"
#include "marathon/workflow_context.h"

namespace marathon::inline MARATHON_ABI::testing {

// One call of a simulated activity, packed into its input. Its outcome depends on nothing else.
struct SimWork {
  enum class Mode : uint8_t {
    kSucceeds = 0,   // after failing its first `fails` attempts
    kRefuses = 1,    // fails for good after failing its first `fails` attempts
    kExhausts = 2,   // fails every attempt; its retry policy allows three
    kOverruns = 3,   // its first attempt takes longer than its deadline
    kBeats = 4,      // as kSucceeds, with heartbeats on the way
  };
  uint16_t id = 0;  // unique in its program
  uint8_t fails = 0;
  Mode mode = Mode::kSucceeds;
  uint32_t busy_ms = 0;

  int64_t Pack() const;
  static SimWork Unpack(int64_t packed);
  bool Succeeds() const { return mode != Mode::kRefuses && mode != Mode::kExhausts; }
  int64_t Result() const { return static_cast<int64_t>(SeededRandom::Mix(id) % 1000); }
};

// The start-to-close timeouts: of work that can do without its worker's lease being watched, and of work
// that must be taken from a dead worker long before its deadline.
inline constexpr Duration kSimDeadline{6'000};
inline constexpr Duration kSimLongDeadline = std::chrono::hours(10);

// Of those who look at what others have written: they move no payload out.
inline constexpr size_t kSimInline = limits::kPayloadMaxBytes;

// Longer than a simulation may last, a resting lease and all: what is swept before its end cannot be checked.
inline constexpr Duration kSimStreamKeep = 3 * limits::kRestingLease;

// Two doubles of the same work: one takes its virtual time as an asynchronous activity, one blocks.
inline constexpr ActivityDef<int64_t(int64_t)> kSimWork{"Work"};
inline constexpr ActivityDef<int64_t(int64_t)> kSimQuickWork{"QuickWork"};
// Those that complete elsewhere, write frames, keep and read blobs (by their names), and take from a limit.
inline constexpr ActivityDef<int64_t(int64_t)> kSimLater{"Later"};
inline constexpr ActivityDef<int64_t(int64_t)> kSimSpeak{"Speak"};  // gives the epoch that all was said in
inline constexpr ActivityDef<std::string(int64_t)> kSimKeep{"Keep"};
inline constexpr ActivityDef<std::string(std::string)> kSimFetch{"Fetch"};
inline constexpr ActivityDef<int64_t(int64_t)> kSimTake{"Take"};
// How many frames a call says, and the two blobs that it keeps.
inline uint32_t SimFrames(const SimWork& work) { return 2 + work.id % 5; }
inline std::string SimBlob(const SimWork& work, int which) {
  return std::string(1 + work.id % 300u * (which == 0 ? 1u : 7u), static_cast<char>('a' + which));
}

inline constexpr SignalDef<int64_t> kSimSignal{"signal"};
// Every fifth is rejected, every third sleeps first. The answer is made of the number and of how many the run has
// handled so far.
inline constexpr UpdateDef<int64_t(int64_t)> kSimUpdate{"count"};
inline constexpr bool SimRejects(int64_t number) { return number % 5 == 4; }
// The same, without any of that.
inline constexpr UpdateDef<int64_t(int64_t)> kSimTally{"tally"};
inline constexpr bool SimTallies(int64_t number) { return number % 5 == 1; }
inline constexpr QueryDef<std::string()> kSimQuery{"log"};  // what it would return by now
inline constexpr WorkflowDef<std::string(std::string)> kSimWorkflow{"Program"};
inline constexpr std::string_view kSimMemo = "a random one";  // each program's "program"
inline constexpr std::string_view kSimCancelReason = "no longer wanted";

struct SimStep {
  enum class Kind : char {
    kWork = 'W',      // one activity
    kQuick = 'Q',     // one that blocks
    kFan = 'F',       // `count` activities at once
    kLocal = 'L',     // two local activities at once, and a third that is canceled
    kKeyed = 'k',     // … with a concurrency key, which all programs share
    kSleep = 'T',     // `millis`
    kReceive = 'R',   // the next signal
    kHandler = 'H',   // the next signal, by a handler
    kPatient = 'P',   // the next signal, in rounds of `millis`
    kBranches = 'B',  // two branches, each an activity and a sleep
    kCondition = 'U',  // until two branches, an activity each, have both said so
    kRecord = 'E',    // a side effect, and attributes
    kRace = 'X',      // an activity against a timer; both are awaited in the end
    kScope = 'S',     // an activity and a timer in a scope that is canceled after `millis`
    kVersion = 'V',   // a version of a change, asked for twice
    kCancel = 'C',    // an activity that is canceled after `millis`, often long before its end
    kChild = 'K',     // a child with an activity and a sleep
    kToldChild = 'Y',  // a child that waits for a signal, which it gets
    kLeftChild = 'A',  // a child that is abandoned
    kGuard = 'G',     // a child that waits for ever, and so ends with this chain of runs
    kErrand = 'M',    // a child that gets two signals, the second by its workflow id
    kDismissed = 'D', // a child that waits for ever, and is canceled
    kFailingChild = 'h',  // a child that fails after its activity and its sleep
    kGather = 'J',    // the first of `count` timers; then all of activities and of them
    kDeadlines = 'O',  // conditions within `count` seconds, and a branch that is canceled
    kFacts = 'I',     // what a run knows of itself, and a local activity
    kLater = 'Z',     // an activity whose outcome comes from elsewhere, by its token
    kSpeak = 'w',     // … that writes to a stream
    kBlobs = 'b',     // … that keeps blobs, and another that reads them
    kTake = 'l',      // … that takes from a limit, and waits for it
    kContinue = 'N',  // ends the run: the rest goes on in the next of its chain
    kFlaky = '?',     // at the start only: fails the first `count` runs, which are retried
    kThrow = '!',     // fails the run
  };
  Kind kind = Kind::kWork;
  SimWork work;
  uint32_t millis = 0;
  uint32_t count = 0;
};

struct SimProgram {
  std::vector<SimStep> steps;

  static SimProgram Draw(SeededRandom& random);
  // How often its runs are tried; 1: once.
  int Attempts() const;
  // The input of kSimWorkflow, and back.
  std::string ToText() const;
  static SimProgram FromText(std::string_view text);

  // Signals it receives. They are the numbers 0, 1, 2 …, sent in this order.
  int64_t Receives() const;
  bool Throws() const;
  bool HasChildren() const;
  // What a run that is not terminated must return, or, if Throws(), say in its failure.
  std::string Expected() const;
};

// What the child of such a step runs.
SimProgram SimChildOf(const SimStep& step);
// How the handle of a child that is canceled (kDismissed) behaves.
ActivityCancellation SimCancellationOf(const SimStep& step);

// kSimWorkflow's code: interprets the program. What runs before it have logged stands in front, in brackets.
Workflow<std::string> RunSimProgram(WorkflowContext& ctx, std::string text);

}  // namespace marathon::inline MARATHON_ABI::testing

#ifndef MARATHON_COMPILED
#include "marathon/testing/sim_program-inl.h"
#endif
