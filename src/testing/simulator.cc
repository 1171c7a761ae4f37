// The simulator of whole clusters, compiled once.
#include "marathon/testing/sim_cluster-inl.h"
#include "marathon/testing/simulator-inl.h"
