cth_test(schedule_test schedule_test.cpp)
cth_test(training_rounds_test training_rounds_test.cpp)
