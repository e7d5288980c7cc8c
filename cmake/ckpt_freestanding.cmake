# SPDX-License-Identifier: MIT
# Flags for code that runs without a libc: in a restarter with nothing around it, or in a signal
# handler of a program whose libc may be in any state.
find_path(CKPT_XXHASH_INCLUDE_DIR xxhash.h REQUIRED)

function(ckpt_freestanding target)
  target_link_libraries(${target} PRIVATE ckpt::core)
  target_compile_options(${target} PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:-ffreestanding -fno-exceptions -fno-rtti -fno-threadsafe-statics>
    # Such symbols stay global whatever objcopy is told.
    $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>
    -fno-stack-protector -fno-asynchronous-unwind-tables -fno-unwind-tables -fcf-protection=none
    -fvisibility=hidden -O2 -U_GLIBCXX_ASSERTIONS -U_FORTIFY_SOURCE
    -Wall -Wextra -Wpedantic -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wconversion -Wno-sign-conversion>)
endfunction()
