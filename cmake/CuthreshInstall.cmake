# What `cmake --install` puts into a prefix, which may be moved afterwards: no file of it names the build or the prefix.
# Components: library (what a program needs to run), development (what one is built with), tools.
include(CMakePackageConfigHelpers)

set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/cuthresh")
install(TARGETS cuthresh EXPORT cuthreshTargets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT library NAMELINK_COMPONENT development)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/cuthresh" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
  COMPONENT development FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
install(EXPORT cuthreshTargets NAMESPACE cuthresh:: DESTINATION "${package_folder}" COMPONENT development)

configure_package_config_file("${CMAKE_CURRENT_LIST_DIR}/cuthreshConfig.cmake.in"
  "${CMAKE_CURRENT_BINARY_DIR}/cuthreshConfig.cmake" INSTALL_DESTINATION "${package_folder}"
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break what the one before it promised.
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/cuthreshConfigVersion.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/cuthreshConfig.cmake"
              "${CMAKE_CURRENT_BINARY_DIR}/cuthreshConfigVersion.cmake"
  DESTINATION "${package_folder}" COMPONENT development)

file(RELATIVE_PATH prefix_from_pc "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
file(RELATIVE_PATH libdir_from_prefix "${CMAKE_INSTALL_PREFIX}" "${CMAKE_INSTALL_FULL_LIBDIR}")
file(RELATIVE_PATH includedir_from_prefix "${CMAKE_INSTALL_PREFIX}" "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
configure_file("${CMAKE_CURRENT_LIST_DIR}/cuthresh.pc.in" "${CMAKE_CURRENT_BINARY_DIR}/cuthresh.pc" @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/cuthresh.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig"
  COMPONENT development)

# Installed programs find the library, and what a bundle puts beside it, wherever the prefix is.
file(RELATIVE_PATH lib_from_bin "${CMAKE_INSTALL_FULL_BINDIR}" "${CMAKE_INSTALL_FULL_LIBDIR}")
foreach(program cuthresh_command cuthresh-bench)
  if(TARGET ${program})
    set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/${lib_from_bin}")
    install(TARGETS ${program} RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT tools)
  endif()
endforeach()
