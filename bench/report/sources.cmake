# Paths relative to bench/.
set(cuthresh_bench_report_sources core/result.cpp)
