cth_test(search_test search_test.cpp)
cth_test(search_property_test search_property_test.cpp)
