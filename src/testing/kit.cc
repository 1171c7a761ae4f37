// The kit for users' own tests, compiled once.
#include "marathon/testing/blocking_sim_runtime-inl.h"
#include "marathon/testing/history_builder-inl.h"
#include "marathon/testing/open_runs-inl.h"
#include "marathon/testing/replay_history-inl.h"
#include "marathon/testing/test_environment-inl.h"
#include "marathon/testing/workflow_simulator-inl.h"
