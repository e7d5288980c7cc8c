// SPDX-License-Identifier: MIT
//
// The program and libraries that lie in the memory of an image: where, under which name, of which
// build. Names come from the mappings, and where those have none any more (a program that was
// restarted before) from the loader's own list.
#pragma once

#include <elf.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "program_memory.hpp"

namespace ckpt::tools {

struct elf_module {
  std::string path;  // empty when nothing tells
  u64 bias = 0;      // what its own addresses are to be raised by
  u64 header = 0;    // where its ELF header is
  u64 entry = 0;     // as the header has it, without the bias
  range where;       // from its first page to its last
  std::vector<Elf64_Phdr> program_headers;
  std::string build_id;  // hexadecimal digits, empty for none
  bool program = false;
  bool kernels = false;  // the vDSO
};

/// By address. Memory that only looks like ELF is left out, damaged data throws image_error.
[[nodiscard]] std::vector<elf_module> find_modules(const image_file& image,
                                                   program_memory& memory);

/// The auxiliary vector's value of that type (getauxval(3)), 0 when it has none.
[[nodiscard]] u64 auxiliary_value(const image_file& image, u64 type);

/// What the file of that name is now.
enum class file_state { same, other, gone, unreadable };

struct file_on_disk {
  file_state state = file_state::gone;
  std::string path;      // without what the kernel adds to names of deleted files
  std::string build_id;  // of the file that is there
  u64 text = 0;          // address of .text in the file's own numbers, 0 when it has none
  bool has_symbols = false;
};
[[nodiscard]] file_on_disk look_at_file(const elf_module& module);

/// As `gdb` and `threads` have it in JSON.
[[nodiscard]] nlohmann::ordered_json module_json(const elf_module& module);

/// "same", "changed", "gone", "unreadable".
[[nodiscard]] std::string_view word_of(file_state state);

}  // namespace ckpt::tools
