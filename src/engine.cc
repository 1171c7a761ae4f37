// The compiled bodies of the engine and of the runtime.
#include "marathon/engine-inl.h"
#include "marathon/engine/fork_plan-inl.h"
#include "marathon/engine/host-inl.h"
#include "marathon/engine/next_start-inl.h"
#include "marathon/engine/payload_store-inl.h"
#include "marathon/engine/replayer-inl.h"
#include "marathon/engine/sealing_store-inl.h"
#include "marathon/runtime/thread_runtime-inl.h"
