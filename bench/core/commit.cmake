# Writes the commit that is built into OUT, and leaves OUT alone when it has not changed:
# cmake -DSOURCE=FOLDER -DOUT=FILE -P commit.cmake
set(commit "")
find_package(Git QUIET)
# A source archive unpacked inside some other repository has not that one's commit.
if(GIT_FOUND AND EXISTS "${SOURCE}/.git")
  execute_process(COMMAND "${GIT_EXECUTABLE}" -C "${SOURCE}" describe --always --abbrev=9 --exclude=* --dirty
    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
file(CONFIGURE OUTPUT "${OUT}" CONTENT
[[#include "bench/core/machine.hpp"

namespace cuthresh::bench {
const char* const kCommit = "@commit@";
}  // namespace cuthresh::bench
]] @ONLY)
