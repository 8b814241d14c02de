# Pools, batch normalisation, element-wise layers and dropout, small networks. ThreadSanitizer makes a thread of the interpreter cost a
# millisecond: there, small launches only.
set(cth_tsan_filter "*SmallFor*")
foreach(stem pool norm pointwise small_network)
  cth_test(${stem}_kernels_test ${stem}_kernels_test.cpp)
  target_link_libraries(${stem}_kernels_test PRIVATE cuthresh_simt)
endforeach()
unset(cth_tsan_filter)
