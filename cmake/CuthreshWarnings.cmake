# The warnings every target of ours is compiled with: cuthresh_warnings is linked PRIVATE.
add_library(cuthresh_warnings INTERFACE)
target_compile_options(cuthresh_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Wcast-align
  -Wunused -Wnull-dereference -Wdouble-promotion)
if(CUTHRESH_WERROR)
  target_compile_options(cuthresh_warnings INTERFACE -Werror)
endif()
