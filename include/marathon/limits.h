// Every limit and default, in one place, with its reason.
#pragma once

#include <cstddef>
#include <cstdint>

#include "marathon/config.h"
#include "marathon/time.h"

namespace marathon::inline MARATHON_ABI::limits {

// Names and ids are UTF-8 without control characters.
inline constexpr size_t kMaxIdBytes = 255;    // workflow ids, request ids
inline constexpr size_t kMaxReasonBytes = 4096;  // of a cancel or a termination, for people
// Of a failure's message, for people; what is longer is cut. What user code throws may be anything, and histories are
// to be readable: bytes that are no UTF-8 become '?'. Details over kPayloadMaxBytes are dropped.
inline constexpr size_t kMaxFailureBytes = 64u << 10;
inline constexpr size_t kMaxNameBytes = 200;  // workflow, activity, signal and queue names

// A memo, or the attributes of a run: how many labels, of one text, and names and texts together. The run's row has
// them, and is written with each turn.
inline constexpr size_t kMaxLabels = 32;
inline constexpr size_t kMaxLabelBytes = 500;
inline constexpr size_t kMaxLabelsBytes = 4096;

// One encoded value. Larger things belong in a file or an object store, and their name in the payload.
inline constexpr size_t kPayloadWarnBytes = 256u << 10;
inline constexpr size_t kPayloadMaxBytes = 4u << 20;
// A longer one stands beside the history, as a blob: about where reading a file of its own begins to cost less than
// copying it with each row that has it. And so long is a blob kept that no run holds any more, for whoever was about to
// read it.
inline constexpr size_t kPayloadInlineBytes = 64u << 10;
inline constexpr Duration kBlobGrace = std::chrono::minutes(1);

// The id of a PayloadCodec, which each payload that it seals carries. And so long is an activity left alone whose input
// its worker cannot open: another worker may have the codec.
inline constexpr size_t kMaxCodecIdBytes = 64;
inline constexpr Duration kSealedRetry = std::chrono::seconds(10);

// JSON nesting, enforced while parsing and before writing (nlohmann's dump recurses).
inline constexpr int kJsonMaxDepth = 128;

// History: a hint to continue as new, a warning, and the end (Temporal's figures).
inline constexpr int64_t kHistoryHintEvents = 4'096;
inline constexpr int64_t kHistoryHintBytes = 4 << 20;
inline constexpr int64_t kHistoryWarnEvents = 10'240;
inline constexpr int64_t kHistoryWarnBytes = 10 << 20;
inline constexpr int64_t kHistoryMaxEvents = 51'200;
inline constexpr int64_t kHistoryMaxBytes = 50 << 20;

// What one run may have open at a time.
inline constexpr int64_t kMaxPendingActivities = 10'000;
inline constexpr int64_t kMaxInboxMessages = 10'000;

// What one turn takes from the inbox.
inline constexpr int kTurnMaxMessages = 1'000;
inline constexpr size_t kTurnMaxBytes = 1u << 20;

// Request ids of signals are remembered this long, and this many a run.
inline constexpr Duration kDedupeWindow = std::chrono::hours(24);
inline constexpr size_t kDedupeKeys = 10'000;

// A run's ready message goes to the worker that has it in its cache; after this, to anyone.
inline constexpr Duration kOwnerPreference = std::chrono::seconds(1);

// Whoever claims another's run has this long before it is anyone's again.
inline constexpr Duration kTurnClaim = std::chrono::seconds(10);

// What fell due and was handed to a caller of PollDue comes up again after this, until it is dealt with.
inline constexpr Duration kDueAgain = std::chrono::seconds(5);

// A closed run is kept this long, unless the store is told otherwise.
inline constexpr Duration kRetention = std::chrono::hours(7 * 24);
// … which is at least this: whoever awaits its result reads it after it has closed.
inline constexpr Duration kMinRetention = std::chrono::seconds(1);
// The longest time that a parameter of a URL may ask for anything to be kept.
inline constexpr Duration kMaxKeep = std::chrono::hours(3650 * 24);

// History is read in pages of about this size.
inline constexpr size_t kHistoryPageBytes = 4u << 20;

// A session that has held nothing for a third of its lease rests: it renews this one instead.
inline constexpr Duration kMinLease{100};
inline constexpr Duration kRestingLease = std::chrono::hours(24);

// What was published and not taken is published again after this, doubling up to the second.
inline constexpr Duration kResendFirst = std::chrono::minutes(1);
inline constexpr Duration kResendMax = std::chrono::hours(1);

// Hints on their way to a queue of another domain: so many wait while it is away, each no longer than until
// the store publishes it again. What does not fit, or waits longer, is dropped.
inline constexpr size_t kOutboxHints = 10'000;
inline constexpr Duration kOutboxPatience = kResendFirst;

// Hints of activities that a worker may not begin yet, by the limits of their types: how many of a type it keeps,
// and how often it offers them to other workers.
inline constexpr size_t kMaxKeptHints = 10'000;
inline constexpr Duration kOfferAgain = std::chrono::seconds(10);

// A task or a turn that has killed its worker this often runs alone, then not at all.
inline constexpr int kSuspectDeliveries = 3;
inline constexpr int kMaxDeliveries = 5;

// A closing turn is redone when a signal came meanwhile; after this many times it closes all the same
// and the late signals are recorded as unread.
inline constexpr int kMaxCloseRefusals = 10;

// A run that a worker gives back, for want of its code, is anyone's again after this, doubling up to the
// second.
inline constexpr Duration kGiveBackFirst = std::chrono::seconds(1);
inline constexpr Duration kGiveBackMax = std::chrono::minutes(1);

// Schedules: an id, with which those of its runs begin; starts that wait for a run to end; times that one
// backfill may ask for; how far back missed times are made up for (Temporal's figures).
inline constexpr size_t kMaxScheduleIdBytes = 200;
inline constexpr size_t kScheduleBuffer = 1'000;
inline constexpr int kMaxBackfill = 1'000;
inline constexpr Duration kCatchUpWindow = std::chrono::hours(365 * 24);
inline constexpr Duration kCatchUpMin = std::chrono::seconds(10);

// What a fork may keep of another run's history: it is one write, and one record.
inline constexpr size_t kForkMaxBytes = 16u << 20;

// A blob, a stream's frame, the frames of one append and what one read brings, at most; how long a blob that nobody uses is kept,
// and a stream that nobody writes to.
inline constexpr size_t kBlobMaxBytes = 64u << 20;
inline constexpr Duration kBlobKeep = std::chrono::hours(7 * 24);
inline constexpr size_t kFrameMaxBytes = 256u << 10;
inline constexpr size_t kAppendMaxFrames = 1'000;
inline constexpr size_t kFramePageBytes = 4u << 20;
inline constexpr Duration kStreamKeep = std::chrono::hours(24);

// A limit's key, its units and one amount of them, at most; how long it is kept when it says nothing any more; how long a
// permit is good from its instant on; how far apart those go who have waited for a pause; the longest wait.
inline constexpr size_t kLimitUnits = 8;
inline constexpr size_t kLimitUnitBytes = 64;
inline constexpr int64_t kLimitMaxAmount = 1'000'000'000;
inline constexpr Duration kLimitKeep = std::chrono::hours(1);
inline constexpr Duration kLimitGrace = std::chrono::seconds(10);
inline constexpr Duration kLimitSpacing{50};
inline constexpr Duration kLimitMaxWait = std::chrono::hours(30 * 24);

// Priorities of runs and of activities in a task queue: the smaller goes first (Temporal's figures).
inline constexpr uint8_t kDefaultPriority = 3;
inline constexpr uint8_t kMaxPriority = 5;
// Places of a concurrency key: the key with its task queue, and the name of who has one; how many there may be; how long one is
// kept for whoever it was passed to, after how long whoever has one is looked after, and about how long an activity waits that
// nobody has told of its turn; how many one call passes on; how long a key is kept that nobody uses, without and with places taken.
inline constexpr size_t kPlaceKeyBytes = kMaxNameBytes + 1 + kMaxIdBytes;
inline constexpr size_t kPlaceHolderBytes = 1024;
inline constexpr int32_t kMaxPlaces = 1'000'000;
inline constexpr Duration kPlacePassed = std::chrono::seconds(10);
inline constexpr Duration kPlaceLease = std::chrono::seconds(30);
inline constexpr Duration kPlaceRetry = std::chrono::minutes(1);
inline constexpr int kPlacesPassedOn = 100;
inline constexpr Duration kPlaceKeep = std::chrono::hours(1);
inline constexpr Duration kTakenPlaceKeep = std::chrono::hours(365 * 24);

inline constexpr Duration kDefaultStartToClose = std::chrono::minutes(10);

// Local activities: one attempt, by default and at most; the longest wait for the next attempt that is spent in the
// worker, a longer one is a durable timer; how long a turn goes on beginning them: after that, the next turn does.
inline constexpr Duration kDefaultLocalTime = std::chrono::seconds(5);
inline constexpr Duration kMaxLocalTime = std::chrono::minutes(1);
inline constexpr Duration kLocalRetryInWorker = std::chrono::seconds(5);
inline constexpr Duration kLocalTurnTime = std::chrono::seconds(10);

}  // namespace marathon::inline MARATHON_ABI::limits
