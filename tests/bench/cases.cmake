include("${PROJECT_SOURCE_DIR}/bench/cases/sources.cmake")
list(TRANSFORM cuthresh_bench_list_case_sources PREPEND "${PROJECT_SOURCE_DIR}/bench/" OUTPUT_VARIABLE list_cases)
cth_test(cases_test cases_test.cpp ${list_cases})
