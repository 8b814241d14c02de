# The warnings every target of ours is compiled with: cuthresh_warnings is linked PRIVATE.
add_library(cuthresh_warnings INTERFACE)
target_compile_options(cuthresh_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align
  -Wunused -Wnull-dereference -Wdouble-promotion)
if(CUTHRESH_WERROR)
  target_compile_options(cuthresh_warnings INTERFACE -Werror)
endif()
# g++ 12 reports overlapping copies inside std::string that cannot happen (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  target_compile_options(cuthresh_warnings INTERFACE -Wno-restrict)
endif()
