# SPDX-License-Identifier: MIT
# Copies an example and runs `make check` in the copy, against the ckpt installed in PREFIX.
if(NOT MAKE)
  message(STATUS "make is not installed")
  return()
endif()
file(REMOVE_RECURSE ${TO})
cmake_path(GET TO PARENT_PATH parent)
file(COPY ${FROM} DESTINATION ${parent})
execute_process(COMMAND ${MAKE} -C ${TO} PREFIX=${PREFIX} check COMMAND_ERROR_IS_FATAL ANY)
