// The simulator's parts that need no engine, compiled once.
#include "marathon/testing/audited_state_store-inl.h"
#include "marathon/testing/fault_rates-inl.h"
#include "marathon/testing/faulty_state_store-inl.h"
#include "marathon/testing/faulty_task_queue-inl.h"
#include "marathon/testing/invariants-inl.h"
#include "marathon/testing/sim_program-inl.h"
#include "marathon/testing/sim_runtime-inl.h"
#include "marathon/testing/sim_world-inl.h"
