# Selection, dense layers, losses, initial values and gathered rows.
foreach(stem select dense loss random)
  cth_test(${stem}_kernels_test ${stem}_kernels_test.cpp)
  target_link_libraries(${stem}_kernels_test PRIVATE cuthresh_simt)
endforeach()
