// The version of the library. The one place that states it: CMakeLists.txt reads it from here.
#pragma once

#define MARATHON_VERSION_MAJOR 0
#define MARATHON_VERSION_MINOR 1
#define MARATHON_VERSION_PATCH 0
