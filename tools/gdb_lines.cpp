// SPDX-License-Identifier: MIT
//
// What gdb has to be told about a restarted program. Its code came back as memory without a file,
// so `gdb -p` finds no symbols by itself; the files they were in, and where, the image knows.
#include <iostream>

#include "commands.hpp"
#include "elf_modules.hpp"
#include "json_stream.hpp"
#include "printable.hpp"
#include "program_memory.hpp"

namespace ckpt::tools {

namespace {

/// gdb splits a line as a shell would (gdb_buildargv).
std::string gdb_word(const std::string& name) {
  std::string word;
  for (const char c : name) {
    if (std::string_view(" \t'\"\\").find(c) != std::string_view::npos) word += '\\';
    word += c;
  }
  return word;
}

std::string command_for(const elf_module& m, const file_on_disk& f) {
  return "add-symbol-file " + gdb_word(f.path) + " -o " + hex_number(m.bias);
}

std::string name_of_module(const elf_module& m) {
  return m.path.empty() ? "ELF at " + address_text(m.header) : printable(m.path);
}

std::string reason_against(const elf_module& m, const file_on_disk& f) {
  if (m.path.empty()) return "no name is known";
  if (printable(f.path) != f.path) return "gdb cannot take such a name";
  switch (f.state) {
    case file_state::gone: return "the file is gone";
    case file_state::unreadable: return "the file cannot be read";
    case file_state::other:
      return "the file has changed since" +
             (m.build_id.empty() ? ""
                                 : ": build id " + (f.build_id.empty() ? "none" : f.build_id) +
                                       ", the image has " + m.build_id);
    case file_state::same: break;
  }
  return {};
}

}  // namespace

json module_json(const elf_module& m) {
  const auto f = look_at_file(m);
  json module = {{"path", m.path.empty() ? json() : text_json(m.path)},
                 {"begin", hex_number(m.where.begin)},
                 {"end", hex_number(m.where.end)},
                 {"offset", hex_number(m.bias)},
                 {"text", f.text == 0 ? json() : json(hex_number(f.text + m.bias))},
                 {"program", m.program},
                 {"build_id", m.build_id.empty() ? json() : json(m.build_id)},
                 {"file", m.kernels ? "kernel" : word_of(f.state)},
                 {"file_build_id", f.build_id.empty() ? json() : json(f.build_id)}};
  const bool usable = !m.kernels && reason_against(m, f).empty();
  module["command"] = usable ? json(command_for(m, f)) : json();
  return module;
}

void print_gdb(image_file& image, const request& asked, std::ostream& out) {
  program_memory memory(image);
  const auto modules = find_modules(image, memory);
  if (asked.json) {
    json_stream to(out);
    begin_document(to, asked);
    to.begin_array("modules");
    for (const auto& m : modules) to.value(module_json(m));
    to.end_array();
    to.end_object();
    return;
  }
  out << "# Where the program and its libraries are once " << printable(asked.image())
      << " is restarted.\n# Save these lines as FILE, then: gdb -p PID -x FILE\n";
  for (const auto& m : modules) {
    if (m.kernels) continue;  // gdb reads the vDSO from memory
    const auto f = look_at_file(m);
    if (const auto why = reason_against(m, f); !why.empty())
      out << "# left out: " << name_of_module(m) << " at " << hex_number(m.where.begin) << ": "
          << why << '\n';
    else
      out << command_for(m, f) << '\n';
  }
}

}  // namespace ckpt::tools
