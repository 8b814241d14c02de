include("${PROJECT_SOURCE_DIR}/bench/report/sources.cmake")
list(TRANSFORM cuthresh_bench_report_sources PREPEND "${PROJECT_SOURCE_DIR}/bench/")
cth_test(bench_report_test report_test.cpp report_compare_test.cpp report_json_test.cpp report_plot_test.cpp
                           ${cuthresh_bench_report_sources})
