// The bodies of the store protocol's shared parts, and of the memory store.
#include "marathon/adapters/memory-inl.h"
#include "marathon/adapters/memory_sessions-inl.h"
#include "marathon/adapters/memory_tables-inl.h"
#include "marathon/backend-inl.h"
#include "marathon/store/hint_outbox-inl.h"
#include "marathon/store/local_hub-inl.h"
#include "marathon/store/open_ports-inl.h"
