cth_test(conv_test conv_test.cpp)
