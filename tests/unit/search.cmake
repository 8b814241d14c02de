cth_serial_test(search_test search_test.cpp search_rounds_test.cpp search_interpolate_test.cpp
                              search_parallel_test.cpp run_schedule_test.cpp)
cth_serial_test(search_property_test search_property_test.cpp allocation_property_test.cpp)
