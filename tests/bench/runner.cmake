set(bench "${PROJECT_SOURCE_DIR}/bench")
cth_bench_test(bench_runner_test runner_test.cpp clock_test.cpp)
cth_bench_test(command_cases_test command_cases_test.cpp)
cth_bench_test(bench_ceilings_test ceilings_test.cpp)

# The CUDA room's clock and ceilings, interpreted. Not under ThreadSanitizer, to which every thread of a full grid is one
# of its own: minutes for what the kernels' own suites watch at small sizes.
set(bench_cuda_sources "${bench}/core/cuda_clock.cpp" "${bench}/cases/step_shapes.cu" "${bench}/ceilings/cuda.cu"
    "${bench}/ceilings/cuda_instruments.cpp")
set_source_files_properties("${bench}/cases/step_shapes.cu" "${bench}/ceilings/cuda.cu" PROPERTIES LANGUAGE CXX)
if(NOT CUTHRESH_SANITIZE MATCHES "thread")
  cth_bench_test(bench_cuda_test cuda_instruments_test.cpp ${bench_cuda_sources})
endif()

if(NOT TARGET cuthresh-bench)
  return()
endif()
add_executable(cuthresh-bench-interpreted interpreted_main.cpp "${bench}/core/instruments.cpp" ${bench_cuda_sources})
set_target_properties(cuthresh-bench-interpreted PROPERTIES UNITY_BUILD OFF)
target_compile_definitions(cuthresh-bench-interpreted PRIVATE CTH_BENCH_CUDA=1)
target_link_libraries(cuthresh-bench-interpreted PRIVATE cuthresh_bench_app cuthresh_bench_parts cuthresh_internal cuthresh_warnings)

# Every case and every check, in both rooms.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
foreach(threads 1 2)
  add_test(NAME bench.smoke_${threads}_threads COMMAND cuthresh-bench --smoke --device cpu --threads ${threads})
endforeach()
add_test(NAME bench.smoke_cuda_interpreted COMMAND cuthresh-bench-interpreted --smoke --device cuda)
add_test(NAME bench.program COMMAND "${Python3_EXECUTABLE}" -B "${CMAKE_CURRENT_SOURCE_DIR}/program_test.py"
  "$<TARGET_FILE:cuthresh-bench>" "${PROJECT_SOURCE_DIR}")
set_tests_properties(bench.smoke_1_threads bench.smoke_2_threads bench.smoke_cuda_interpreted bench.program
  PROPERTIES TIMEOUT 600 ENVIRONMENT "OMP_WAIT_POLICY=PASSIVE")
