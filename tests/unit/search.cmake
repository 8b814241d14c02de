cth_test(search_test search_test.cpp search_rounds_test.cpp)
cth_test(search_property_test search_property_test.cpp)
