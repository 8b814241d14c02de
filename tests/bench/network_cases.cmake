# The sources of the cases are compiled once more: the sanitizers build without bench/.
include("${PROJECT_SOURCE_DIR}/bench/cases/sources.cmake")
set(network_cases_sources ${cuthresh_bench_network_case_sources})
list(TRANSFORM network_cases_sources PREPEND "${PROJECT_SOURCE_DIR}/bench/")
cth_test(network_cases_test network_cases_test.cpp ${network_cases_sources})
