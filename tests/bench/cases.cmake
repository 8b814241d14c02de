# The sources of the cases are compiled once more: the sanitizers build without bench/.
include("${PROJECT_SOURCE_DIR}/bench/cases/sources.cmake")
set(list_cases_sources ${cuthresh_bench_list_case_sources})
list(TRANSFORM list_cases_sources PREPEND "${PROJECT_SOURCE_DIR}/bench/")
cth_test(cases_test cases_test.cpp ${list_cases_sources})
set(all_cases_sources ${cuthresh_bench_case_sources})
list(TRANSFORM all_cases_sources PREPEND "${PROJECT_SOURCE_DIR}/bench/")
cth_test(all_cases_test all_cases_test.cpp ${all_cases_sources})
