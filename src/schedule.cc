// The compiled bodies of schedules.
#include "marathon/schedule/cron-inl.h"
#include "marathon/schedule/plan-inl.h"
#include "marathon/schedule/workflow-inl.h"
