cth_test(config_test config_test.cpp config_errors_test.cpp config_write_test.cpp)
