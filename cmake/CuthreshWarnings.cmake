# The warnings every target of ours is compiled with: cuthresh_warnings is linked PRIVATE.
add_library(cuthresh_warnings INTERFACE)
set(warnings -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align
    -Wunused -Wnull-dereference -Wdouble-promotion)
if(CUTHRESH_WERROR)
  list(APPEND warnings -Werror)
endif()
# g++ 12 reports overlapping copies inside std::string that cannot happen (GCC bug 105651).
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
  list(APPEND warnings -Wno-restrict)
endif()
target_compile_options(cuthresh_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${warnings}>")

# nvcc's own, and of g++'s those that its generated code keeps to; g++ alone reads the same files with all of the
# above. A kernel that spills registers is a mistake that only the assembler sees.
set(cuda_warnings -Xcompiler=-Wall,-Wextra -Xptxas=--warn-on-spills)
if(CUTHRESH_WERROR)
  list(APPEND cuda_warnings "SHELL:-Werror all-warnings" -Xptxas=-Werror)
endif()
target_compile_options(cuthresh_warnings INTERFACE "$<$<COMPILE_LANGUAGE:CUDA>:${cuda_warnings}>")
