// SPDX-License-Identifier: MIT
#include "help.hpp"

#include "ckpt/options/help.hpp"

namespace ckpt::command {

void print_help(std::FILE* to) {
  fixed_text<4096> text;
  text.append(
      "usage: ckpt [OPTION]... PROGRAM [ARGUMENT]...\n"
      "       ckpt [-n NAME] -p PID --now; ckpt --doctor [PID|IMAGE]\n"
      "Runs PROGRAM so that a signal freezes it into one executable file; running that\n"
      "file lets it go on. Options end at the first word that is not one; see ckpt(1).\n\n");
  options::append_help<options::command>(text);
  std::fwrite(text.c_str(), 1, text.view().size(), to);
}

}  // namespace ckpt::command
