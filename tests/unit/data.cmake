cth_test(data_test data_test.cpp data_readers_test.cpp)
cth_test(safetensors_test safetensors_test.cpp)
cth_test(run_folder_test run_folder_test.cpp)
