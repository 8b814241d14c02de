cth_bench_test(cases_test cases_test.cpp)
cth_bench_test(all_cases_test all_cases_test.cpp)
