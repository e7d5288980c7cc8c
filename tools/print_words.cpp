// SPDX-License-Identifier: MIT
//
// The command line as one can paste it, the environment as env(1) prints it.
#include "commands.hpp"
#include "printable.hpp"

namespace ckpt::tools {

void print_command_line(const image_file& image, std::ostream& out) {
  out << shell_line(image.words(state::text_kind::command_line)) << '\n';
}

void print_environment(const image_file& image, std::ostream& out) {
  for (const auto& word : image.words(state::text_kind::environment))
    out << printable(word) << '\n';
}

}  // namespace ckpt::tools
