// SPDX-License-Identifier: MIT
//
// Who has called whom in each thread. Frames are found and named by libdw (elfutils) in a process
// of its own with limits: what it reads is the program's memory and files of today, and neither is
// to be trusted with the life of the reader.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "elf_modules.hpp"

namespace ckpt::tools {

struct frame {
  u64 address = 0;
  std::string function;  // empty without a symbol
  u64 offset = 0;        // of the address in the function, or in the module without one
  std::string module;    // path, or empty where no file was mapped
  std::string source;    // FILE:LINE, empty where no debug information tells
};

struct thread_trace {
  i32 tid = 0;
  std::vector<frame> frames;
  std::string end;  // why there are no more, empty at the outermost one
};

/// Whether this readckpt has been built with a library that can do it.
[[nodiscard]] bool can_backtrace();

/// Calls visit for every thread in the order of the image. Throws image_error for damaged data.
void backtrace(image_file& image, program_memory& memory, const std::vector<elf_module>& modules,
               const std::function<void(const thread_trace&)>& visit);

/// Modules whose names can only come from memory, and why; one line each.
[[nodiscard]] std::vector<std::string> files_that_differ(const std::vector<elf_module>& modules);

}  // namespace ckpt::tools
