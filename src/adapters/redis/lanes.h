// RedisLanes: the operations of a store, in a lane for each workflow id and each session. Operations of
// one lane wait for each other, and what has waited goes together; lanes do not wait for other lanes.
//
// On the loop's thread only.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "keys.h"
#include "marathon/config.h"
#include "marathon/status.h"
#include "marathon/store/effects.h"
#include "marathon/store/local_hub.h"
#include "marathon/store/store_protocol.h"
#include "rows.h"
#include "script.h"
#include "tables.h"

namespace marathon::inline MARATHON_ABI::detail {

using RedisProtocol = StoreProtocol<RedisTables>;
using RedisSessionProtocol = SessionProtocol<RedisTables>;

// What an operation sees of its transaction.
struct RedisTransaction {
  RedisTables& tables;
  Time now;
  Effects& effects;
  std::vector<Awaited>& awaited;  // what it makes true of what somebody here awaits
  StoreTimes times;
  RedisProtocol protocol() { return {tables, now, effects, times}; }
  RedisSessionProtocol sessions() { return {tables, now, effects}; }
};

class RedisOperation {
 public:
  virtual ~RedisOperation() = default;
  // Whether it may share a transaction: it looks at nothing but rows and dedupe keys.
  virtual bool joins() const = 0;
  // Makes the reply. May be called again: only the last one counts.
  virtual void Apply(RedisTransaction& transaction) = 0;
  // Answers: with the reply, or with an error.
  virtual void Finish(Status status) = 0;
};

class RedisLanes {
 public:
  // What becomes of the effects of a transaction.
  class Spreader {
   public:
    virtual ~Spreader() = default;
    // Before the last step: adds what other processes are to be told to its writes, and leaves the rest.
    virtual void SpreadInStep(RedisTransaction& transaction) = 0;
    // When it is durable.
    virtual void SpreadHere(Effects&& effects, std::vector<Awaited>&& awaited) = 0;
  };

  RedisLanes(const RedisKeys& keys, RedisWriter& writer, RedisScript& script, const Clock& clock,
             StoreTimes times, Spreader* spreader)
      : keys_(keys),
        writer_(writer),
        script_(script),
        clock_(clock),
        times_(times),
        spreader_(spreader) {}

  static std::string OfWorkflow(std::string_view id) { return 'w' + std::string(id); }
  static std::string OfSession(std::string_view id) { return 's' + std::string(id); }

  void Add(std::string lane, std::unique_ptr<RedisOperation> operation);

 private:
  struct Lane {
    std::string name;
    std::deque<std::unique_ptr<RedisOperation>> waiting;
    RedisRows known;
    bool busy = false;
  };
  struct Transaction;

  void Run(Lane& lane);
  void Try(std::unique_ptr<Transaction> transaction);
  void OnReply(std::unique_ptr<Transaction> transaction, StatusOr<RedisStepReply> reply);
  void Finish(std::unique_ptr<Transaction> transaction, Status status);
  void Tidy(Lane& lane);

  const RedisKeys& keys_;
  RedisWriter& writer_;
  RedisScript& script_;
  const Clock& clock_;
  const StoreTimes times_;
  Spreader* const spreader_;
  std::unordered_map<std::string, std::unique_ptr<Lane>> lanes_;
};

}  // namespace marathon::inline MARATHON_ABI::detail
