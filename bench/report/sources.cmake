# Paths relative to bench/.
set(cuthresh_bench_report_sources
  core/result.cpp report/cells.cpp report/compare.cpp report/csv.cpp report/format.cpp report/json.cpp
  report/plot.cpp report/read_json.cpp report/table.cpp report/text.cpp)
