# SPDX-License-Identifier: MIT
#
# ckpt_hosted(target): how everything that runs on a libc is compiled. The sanitizers are applied
# here and nowhere else, because code without a libc cannot have them.
include_guard(GLOBAL)

set(CKPT_SANITIZE "" CACHE STRING "Sanitizers for hosted code, e.g. address,undefined")

function(ckpt_hosted target)
  target_link_libraries(${target} PRIVATE ckpt::core)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
  if(CKPT_SANITIZE)
    # Without -fno-sanitize-recover a test that hits undefined behaviour prints it and passes.
    target_compile_options(${target} PRIVATE
      -fsanitize=${CKPT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(${target} PRIVATE -fsanitize=${CKPT_SANITIZE})
  endif()
endfunction()
