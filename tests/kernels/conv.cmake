# The weights of convolutions.
set(cth_tsan_filter "*SmallFor*")
cth_test(conv_kernels_test conv_kernels_test.cpp)
target_link_libraries(conv_kernels_test PRIVATE cuthresh_simt)
unset(cth_tsan_filter)
