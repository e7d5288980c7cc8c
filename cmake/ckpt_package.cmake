# SPDX-License-Identifier: MIT
# What other projects find: find_package(ckpt) and pkg-config. Everything in them is relative to where
# they lie, so an installation can be moved. docs/LINKING.md is for whoever uses it.
include(CMakePackageConfigHelpers)

# ckpt::ckpt. A linker with --as-needed drops a library to which a program refers weakly at most, as
# ckpt.h does. The first item is for CMake, which knows run paths from it; the second is one word for
# the linker, whose parts nothing can separate.
add_library(ckpt_shared INTERFACE)
target_link_libraries(ckpt_shared INTERFACE ckpt_preload
  "$<INSTALL_INTERFACE:-Wl,--push-state,--no-as-needed,$<TARGET_FILE:ckpt::library>,--pop-state>")
target_include_directories(ckpt_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# ckpt::static, for statically linked programs and others that want the agent within.
add_library(ckpt_static_link INTERFACE)
target_link_options(ckpt_static_link INTERFACE LINKER:-u,ckpt_agent)
target_link_libraries(ckpt_static_link INTERFACE
  $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/libckpt-agent.a>)
target_include_directories(ckpt_static_link INTERFACE
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

# By its path as well: a program in C need not be linked by a C++ compiler.
add_library(ckpt_stub_link INTERFACE)
target_link_libraries(ckpt_stub_link INTERFACE
  $<INSTALL_INTERFACE:$<INSTALL_PREFIX>/${CMAKE_INSTALL_LIBDIR}/libckpt-stub.a>)
target_include_directories(ckpt_stub_link INTERFACE
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)

set_target_properties(ckpt_preload PROPERTIES EXPORT_NAME library)
set_target_properties(ckpt_shared PROPERTIES EXPORT_NAME ckpt)
set_target_properties(ckpt_static_link PROPERTIES EXPORT_NAME static)
set_target_properties(ckpt_stub_link PROPERTIES EXPORT_NAME stub)
set_target_properties(ckpt_core PROPERTIES EXPORT_NAME core)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/ckpt)
install(TARGETS ckpt_shared ckpt_static_link ckpt_stub_link EXPORT ckpt)
install(EXPORT ckpt NAMESPACE ckpt:: FILE ckptTargets.cmake DESTINATION ${package})
# By itself, for the core alone needs other packages.
install(TARGETS ckpt_core EXPORT ckpt_core)
install(EXPORT ckpt_core NAMESPACE ckpt:: FILE ckptCore.cmake DESTINATION ${package})

configure_package_config_file(cmake/ckptConfig.cmake.in ckptConfig.cmake
  INSTALL_DESTINATION ${package} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(ckptConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ckptConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/ckptConfigVersion.cmake DESTINATION ${package})

file(RELATIVE_PATH prefix_from_pc "/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/")
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
configure_file(cmake/ckpt.pc.in ckpt.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/ckpt.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
