// SPDX-License-Identifier: MIT
//
// A file of /proc as a string. No stream: those of the C++ library are a megabyte of a program that is
// linked statically, and ckpt starts with every program.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <string>

#include "ckpt/sys/file.hpp"

namespace ckpt::hijack {

/// Empty for a file that is not there, or not for us.
inline std::string text_of_file(const std::string& path) {
  const sys::unique_fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string text;
  char piece[4096];
  for (ssize_t got; file && (got = read(file.get(), piece, sizeof piece)) > 0;)
    text.append(piece, static_cast<std::size_t>(got));
  return text;
}

}  // namespace ckpt::hijack
