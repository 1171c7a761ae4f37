// The only include a program needs: workflows, activities, the registry and the engine, with the memory
// store built in. Other stores have a header each under marathon/adapters/.
#pragma once

#include "marathon/activity.h"
#include "marathon/adapters/memory.h"
#include "marathon/cancellation_scope.h"
#include "marathon/codec.h"
#include "marathon/engine.h"
#include "marathon/errors.h"
#include "marathon/handle.h"
#include "marathon/options.h"
#include "marathon/registry.h"
#include "marathon/schedule.h"
#include "marathon/status.h"
#include "marathon/version.h"
#include "marathon/workflow.h"
#include "marathon/workflow_context.h"
