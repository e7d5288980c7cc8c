// SPDX-License-Identifier: MIT
//
// A build without libdw.
#include "unwinder.hpp"

namespace ckpt::tools {

bool can_backtrace() {
  return false;
}

void unwind_all(image_file&, program_memory&, const std::vector<elf_module>&, std::size_t,
                const std::function<void(const thread_trace&)>&) {}

}  // namespace ckpt::tools
