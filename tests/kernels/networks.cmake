# Selection, dense layers, losses, initial values and gathered rows. ThreadSanitizer makes a thread of the interpreter
# cost a millisecond: there, small launches only.
set(cth_tsan_filter "*SmallFor*")
foreach(stem select dense loss random)
  cth_test(${stem}_kernels_test ${stem}_kernels_test.cpp)
  target_link_libraries(${stem}_kernels_test PRIVATE cuthresh_simt)
endforeach()
cth_test(gather_images_test gather_images_test.cpp)
target_link_libraries(gather_images_test PRIVATE cuthresh_simt)
unset(cth_tsan_filter)
