cth_test(pool_test pool_test.cpp)
