# The streaming kernels over lists, 16-byte packs and number types.
foreach(stem pack scalar prox_step prox_step_half prox_step_stop count_nonzero kkt_residual
             keep_largest set_values follow_rates)
  cth_test(${stem}_test ${stem}_test.cpp)
  target_link_libraries(${stem}_test PRIVATE cuthresh_simt)
endforeach()
