# The engine of cuthresh-bench from its sources, so that the sanitizers see it too, which build no bench/.
set(bench "${PROJECT_SOURCE_DIR}/bench")
cth_test(bench_runner_test runner_test.cpp clock_test.cpp
  "${bench}/core/clock.cpp" "${bench}/core/progress.cpp" "${bench}/core/result.cpp" "${bench}/core/runner.cpp")

include("${bench}/ceilings/sources.cmake")
cth_test(bench_ceilings_test ceilings_test.cpp ${cuthresh_bench_ceilings_sources}
  "${bench}/core/clock.cpp" "${bench}/core/host_memory.cpp" "${bench}/core/result.cpp")
