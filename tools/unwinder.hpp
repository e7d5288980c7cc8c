// SPDX-License-Identifier: MIT
//
// The part of backtrace.hpp that a library does: unwinder_libdw.cpp, or unwinder_none.cpp in a build
// without it (CKPT_WITH_LIBDW).
#pragma once

#include "backtrace.hpp"

namespace ckpt::tools {

/// Calls visit for each thread from number `first` on. Context: a process that may die of it.
void unwind_all(image_file& image, program_memory& memory, const std::vector<elf_module>& modules,
                std::size_t first, const std::function<void(const thread_trace&)>& visit);

}  // namespace ckpt::tools
