# SPDX-License-Identifier: MIT
# One source, built as people build programs. Each becomes kinds/NAME beside the victims; what this
# machine has no compiler for is not built, and its row in tests/e2e/programs.py is skipped.

set(kinds_directory ${CMAKE_CURRENT_BINARY_DIR}/kinds)
file(MAKE_DIRECTORY ${kinds_directory})
set(kinds_built)

# ckpt_kind(NAME source compiler words…): -o is added.
function(ckpt_kind name source compiler)
  add_custom_command(OUTPUT ${kinds_directory}/${name}
    COMMAND ${compiler} ${ARGN} -o ${kinds_directory}/${name} ${CMAKE_CURRENT_SOURCE_DIR}/${source}
            $<$<STREQUAL:${source},workload.c>:-lm>
    DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source} COMMAND_EXPAND_LISTS VERBATIM
    COMMENT "Building the ${name} workload")
  set(kinds_built ${kinds_built} ${kinds_directory}/${name} PARENT_SCOPE)
endfunction()

find_program(CKPT_TEST_CC NAMES gcc cc)
find_program(CKPT_TEST_CLANG NAMES clang)
find_program(CKPT_TEST_RUSTC NAMES rustc)

ckpt_kind(plain workload.c ${CKPT_TEST_CC} -O2)
ckpt_kind(stripped workload.c ${CKPT_TEST_CC} -O2 -s)
ckpt_kind(hardened workload.c ${CKPT_TEST_CC} -O2 -fcf-protection=full -fstack-protector-all
  -fstack-clash-protection -D_FORTIFY_SOURCE=2 -pie -fPIE -Wl,-z,relro,-z,now,-z,noexecstack)
ckpt_kind(asan workload.c ${CKPT_TEST_CC} -O1 -fsanitize=address)
ckpt_kind(ubsan workload.c ${CKPT_TEST_CC} -O1 -fsanitize=undefined)
ckpt_kind(static workload.c ${CKPT_TEST_CC} -O2 -static)
ckpt_kind(static-pie workload.c ${CKPT_TEST_CC} -O2 -static-pie)
if(CKPT_TEST_CLANG)
  ckpt_kind(asan-clang workload.c ${CKPT_TEST_CLANG} -O1 -fsanitize=address)
endif()
if(CKPT_MUSL_GCC)
  ckpt_kind(musl workload.c ${CKPT_MUSL_GCC} -O2)
  ckpt_kind(musl-static workload.c ${CKPT_MUSL_GCC} -O2 -static)
endif()
if(CKPT_TEST_RUSTC)
  ckpt_kind(rust workload.rs ${CKPT_TEST_RUSTC} -O)
endif()

# Runtimes with threads of their own.
find_program(CKPT_TEST_GO NAMES go)
find_program(CKPT_TEST_JAVAC NAMES javac)
mark_as_advanced(CKPT_TEST_GO CKPT_TEST_JAVAC)
if(CKPT_TEST_GO)
  foreach(cgo 0 1)
    if(cgo)
      set(name go-cgo)
      set(file with_c.go)
    else()
      set(name go)
      set(file plain.go)
    endif()
    add_custom_command(OUTPUT ${kinds_directory}/${name}
      COMMAND ${CMAKE_COMMAND} -E env CGO_ENABLED=${cgo} GO111MODULE=off GOFLAGS=
              GOCACHE=${CMAKE_CURRENT_BINARY_DIR}/go-cache
              ${CKPT_TEST_GO} build -o ${kinds_directory}/${name} ${file} workload.go
      WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/go
      DEPENDS go/workload.go go/${file} VERBATIM COMMENT "Building the ${name} workload")
    list(APPEND kinds_built ${kinds_directory}/${name})
  endforeach()
endif()
if(CKPT_TEST_JAVAC)
  add_custom_command(OUTPUT ${kinds_directory}/Workload.class
    COMMAND ${CKPT_TEST_JAVAC} -d ${kinds_directory} ${CMAKE_CURRENT_SOURCE_DIR}/Workload.java
    DEPENDS Workload.java VERBATIM COMMENT "Building the java workload")
  list(APPEND kinds_built ${kinds_directory}/Workload.class)
endif()
add_custom_target(ckpt_kinds ALL DEPENDS ${kinds_built})
