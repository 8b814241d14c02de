# What may be switched, and the defaults that a plain `cmake -B build` gets.
option(CUTHRESH_BUILD_TOOL "Build the cuthresh command" ON)
option(CUTHRESH_BUILD_BENCH "Build the benchmark executables" ON)
option(CUTHRESH_BUILD_TESTS "Build the tests (needs GoogleTest and RapidCheck)" ON)
option(CUTHRESH_ONEDNN "Use oneDNN for matrix products; without it the plain-loop engine does them" ON)
option(CUTHRESH_ZLIB "Read gzipped data; without it a gzipped file is an error that says so" ON)
option(CUTHRESH_STANDALONE
       "A library that needs nothing at run time but those of C and C++: no oneDNN, no zlib, all else compiled in" OFF)
option(CUTHRESH_WERROR "Treat warnings as errors" OFF)
set(CUTHRESH_SANITIZE "" CACHE STRING "Sanitizers, e.g. address,undefined or thread")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_VISIBILITY_INLINES_HIDDEN ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# One formula gives one result in every translation unit and on every machine: products and sums are
# contracted to fused multiply-adds only where the source says fmaf (docs/numerics.md).
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-ffp-contract=off>"
                    "$<$<COMPILE_LANGUAGE:CUDA>:-fmad=false;-Xcompiler=-ffp-contract=off>")

option(CUTHRESH_COMPILER_CACHE "Compile through ccache where it is installed" ON)
find_program(CUTHRESH_CCACHE ccache)
if(NOT CUTHRESH_COMPILER_CACHE)
  set(CUTHRESH_CCACHE "")
endif()
if(CUTHRESH_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CUTHRESH_CCACHE}")
endif()
if(CUTHRESH_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER "${CUTHRESH_CCACHE}")
endif()

set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
set(CMAKE_ARCHIVE_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/lib")
