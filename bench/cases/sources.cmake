# Paths relative to bench/.
set(cuthresh_bench_list_case_sources
  cases/list_cases.cpp
  cases/lists.cpp
  cases/prox_step_cases.cpp)
set(cuthresh_bench_case_sources cases/cases.cpp ${cuthresh_bench_list_case_sources})
