# Paths relative to bench/. Cases over lists of weights; all of them.
set(cuthresh_bench_list_case_sources
  cases/lists.cpp
  cases/prox_step_cases.cpp)
