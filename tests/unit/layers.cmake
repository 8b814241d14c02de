cth_test(pool_test pool_test.cpp)
cth_test(norm_test norm_test.cpp)
cth_test(pointwise_test pointwise_test.cpp dropout_test.cpp)
