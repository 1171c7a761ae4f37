// The conformance suite of the StateStore port: what every adapter must do, in tests. A test
// program includes this header in one file, brings a StoreHarness, and instantiates
// StateStoreConformance (store_harness.h shows how).
#pragma once

#include "marathon/testing/conformance_activities.h"  // IWYU pragma: export
#include "marathon/testing/conformance_blobs.h"       // IWYU pragma: export
#include "marathon/testing/conformance_chains.h"      // IWYU pragma: export
#include "marathon/testing/conformance_children.h"    // IWYU pragma: export
#include "marathon/testing/conformance_control.h"     // IWYU pragma: export
#include "marathon/testing/conformance_delete.h"      // IWYU pragma: export
#include "marathon/testing/conformance_events.h"      // IWYU pragma: export
#include "marathon/testing/conformance_labels.h"      // IWYU pragma: export
#include "marathon/testing/conformance_pins.h"        // IWYU pragma: export
#include "marathon/testing/conformance_runs.h"        // IWYU pragma: export
#include "marathon/testing/conformance_sessions.h"    // IWYU pragma: export
#include "marathon/testing/conformance_time.h"        // IWYU pragma: export
#include "marathon/testing/conformance_turns.h"       // IWYU pragma: export
#include "marathon/testing/conformance_updates.h"     // IWYU pragma: export
#include "marathon/testing/state_store_fixture.h"     // IWYU pragma: export
