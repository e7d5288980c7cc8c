// SPDX-License-Identifier: MIT
//
// What kind of program a command line starts: found as a shell finds it, its interpreter followed,
// its ELF header read, so that the agent takes the right road into it, and what cannot have it is
// refused.
#pragma once

#include <string>

namespace ckpt::command {

enum class program_kind {
  dynamic,
  must_be_first,  // dynamic, with a library that ends the program when another comes before it
  other_loader,   // dynamic, by a loader of which it is not known that it heeds LD_PRELOAD
  statically_linked,
  other_architecture,
  privileged,
  unreadable,  // executable only: nobody can say how the agent gets in
  not_elf
};

struct program_file {
  std::string path;         // of the file that was named
  std::string interpreter;  // what #! leads to, empty for an ELF file
  std::string env_program;  // for #!/usr/bin/env NAME: NAME
  program_kind kind = program_kind::not_elf;
  bool has_agent = false;  // linked with libckpt.a
  int error = 0;  // errno when it cannot be executed: ENOENT, EACCES, …
};

/// Looks in PATH when the name has no slash, as execvp(3) does.
program_file find_program(const std::string& name);

}  // namespace ckpt::command
