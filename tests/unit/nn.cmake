cth_serial_test(network_test layer_spec_test.cpp graph_test.cpp gradient_plan_test.cpp parameters_test.cpp)
