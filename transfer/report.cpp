// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <unistd.h>

#include "ckpt/base/text.hpp"

namespace ckpt::transfer {

std::string shown(std::string_view name) {
  fixed_text<1400> text;
  text.append(quoted{name});
  return std::string(text.view());
}

void say(const std::string& line) {
  const std::string whole = "ckpt: " + line + "\n";
  (void)!write(2, whole.data(), whole.size());
}

bool tell_agent(int status_fd, char letter, const std::string& text) {
  if (status_fd < 0) return false;
  const std::string whole = letter + text;
  return write(status_fd, whole.data(), whole.size()) == static_cast<ssize_t>(whole.size());
}

}  // namespace ckpt::transfer
