cth_test(config_test config_test.cpp)
