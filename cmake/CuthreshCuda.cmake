# The CUDA room is built where a toolkit is: CUTHRESH_CUDA = AUTO, ON (no toolkit is an error) or OFF. Sets
# CUTHRESH_WITH_CUDA. Sanitizers do not see into a GPU, so their builds never have the real room; what they check is
# the interpreted one (src/CMakeLists.txt).
set(CUTHRESH_CUDA AUTO CACHE STRING "Build the CUDA room: AUTO (where nvcc is), ON or OFF")
set_property(CACHE CUTHRESH_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT CUTHRESH_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "CUTHRESH_CUDA is \"${CUTHRESH_CUDA}\"; use AUTO, ON or OFF")
endif()

set(CUTHRESH_WITH_CUDA OFF)
if(CUTHRESH_CUDA STREQUAL "OFF")
  return()
endif()
if(CUTHRESH_SANITIZE)
  if(CUTHRESH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CUTHRESH_CUDA=ON and CUTHRESH_SANITIZE exclude each other")
  endif()
  return()
endif()

# Toolkits install to /usr/local/cuda and put nothing on the PATH.
if(NOT CMAKE_CUDA_COMPILER)
  find_program(CUTHRESH_NVCC nvcc PATHS ENV CUDA_PATH ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES bin)
  if(CUTHRESH_NVCC)
    set(CMAKE_CUDA_COMPILER "${CUTHRESH_NVCC}")
  endif()
endif()

# Every processor from Turing on, and PTX of the newest for those to come. Never "native": it asks for a GPU at build
# time.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES "75-real;80-real;86-real;89-real;90-real;100-real;100-virtual" CACHE STRING
      "CUDA architectures")
endif()
if("${CMAKE_CUDA_ARCHITECTURES}" MATCHES "native")
  message(FATAL_ERROR "CMAKE_CUDA_ARCHITECTURES=native builds for this machine's GPU only; list the architectures")
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
  if(CUTHRESH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CUTHRESH_CUDA=ON, but no nvcc was found; set CMAKE_CUDA_COMPILER")
  endif()
  message(STATUS "nvcc not found: building without the CUDA room")
  return()
endif()
enable_language(CUDA)
# CMake 3.25.1 does not know that nvcc has C++20 since CUDA 12, nor how to ask for it.
if(NOT DEFINED CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
find_package(CUDAToolkit 13 QUIET)
if(NOT CUDAToolkit_FOUND OR NOT TARGET CUDA::cudart_static OR NOT TARGET CUDA::cublas)
  if(CUTHRESH_CUDA STREQUAL "ON")
    message(FATAL_ERROR "CUTHRESH_CUDA=ON, but CUDA 13 with cudart_static and cuBLAS was not found beside "
                        "${CMAKE_CUDA_COMPILER}")
  endif()
  message(STATUS "CUDA 13 toolkit not found: building without the CUDA room")
  return()
endif()
set(CUTHRESH_WITH_CUDA ON)
message(STATUS "CUDA room: nvcc ${CMAKE_CUDA_COMPILER_VERSION}, ${CMAKE_CUDA_ARCHITECTURES}")
