// The compiled bodies of the authoring layer.
#include "marathon/activity-inl.h"
#include "marathon/codec-inl.h"
#include "marathon/detail/workflow_core-inl.h"
#include "marathon/errors-inl.h"
#include "marathon/registry-inl.h"
#include "marathon/workflow_context-inl.h"
