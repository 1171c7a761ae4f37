// Compiles the bodies of history_json.h.
#include "marathon/testing/history_json-inl.h"
