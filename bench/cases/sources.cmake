# Paths relative to bench/.
set(cuthresh_bench_list_case_sources
  cases/list_cases.cpp
  cases/lists.cpp
  cases/one_run_cases.cpp
  cases/prox_step_cases.cpp)
set(cuthresh_bench_case_sources cases/cases.cpp ${cuthresh_bench_list_case_sources})
set(cuthresh_bench_network_case_sources
  cases/command_cases.cpp
  cases/conv_cases.cpp
  cases/float64_network.cpp
  cases/layer_workload.cpp
  cases/models.cpp
  cases/product_cases.cpp
  cases/search_cases.cpp
  cases/training_cases.cpp)
list(APPEND cuthresh_bench_case_sources ${cuthresh_bench_network_case_sources})
