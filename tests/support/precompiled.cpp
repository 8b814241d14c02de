// Nothing: CMake compiles the headers that tests share in front of it (tests/CMakeLists.txt).
