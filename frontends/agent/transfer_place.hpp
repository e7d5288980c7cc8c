// SPDX-License-Identifier: MIT
//
// Where ckpt-transfer may be: where somebody has said, beside the library as it was installed, in PATH,
// where this build is installed to. A program that was restarted on another machine finds the one there.
#pragma once

#include "agent_state.hpp"

namespace ckpt::agent {

inline constexpr std::string_view transfer_name = "/ckpt-transfer";

/// The program that was installed with the library, from the line of /proc/self/maps in which the
/// agent's own code lies; nothing for an agent that came by hand or is part of the program.
// Context: library load
inline void find_transfer() {
  auto& place = transfer_of_agent.beside;
  if (!place.empty()) return;
  const auto opened =
      sys::openat(sys::abi::at_fdcwd, "/proc/self/maps", sys::abi::o_rdonly | sys::abi::o_cloexec);
  if (!opened.ok()) return;
  const sys::unique_fd maps(*opened);
  const u64 here = reinterpret_cast<u64>(&find_transfer);
  char text[name_capacity + 1024];
  for (u64 size = 0;;) {
    const auto got = sys::read(maps.get(), text + size, sizeof text - size);
    if (!got.ok() || *got == 0) return;
    size += *got;
    // BEGIN-END rwxp OFFSET DEVICE INODE PATH
    u64 line = 0;
    u64 bounds[2] = {};
    int which = 0;
    u64 slash = 0;
    for (u64 i = 0; i < size; ++i) {
      const char c = text[i];
      const int digit = c >= 'a' && c <= 'f' ? c - 'a' + 10 : c - '0';
      if (c == '/') slash = i;
      if (which < 2) {
        if (c == '-' || c == ' ') ++which;
        else bounds[which] = bounds[which] << 4 | static_cast<u64>(digit);
      }
      if (c != '\n') continue;
      const std::string_view file(text + slash, i - slash);
      if (here - bounds[0] < bounds[1] - bounds[0]) {
        std::string_view directory(text + line, slash - line);
        directory.remove_prefix(directory.find('/') < directory.size() ? directory.find('/') : directory.size());
        if (file == "/libckpt.so" && !directory.empty())
          place.append(directory).append("/" CKPT_BIN_FROM_LIBRARY).append(transfer_name);
        return;
      }
      line = i + 1;
      bounds[0] = bounds[1] = slash = 0;
      which = 0;
    }
    size -= line;
    std::memmove(text, text + line, size);
  }
}

/// Runs the first that is there; why none could be run.
// Context: a process that shares the program's memory until it is ckpt-transfer
inline errc run_transfer(const char* const* arguments, const char* const* environment) {
  auto failure = errc::no_entry;
  fixed_text<name_capacity> path;
  const auto run = [&] {
    const auto done = sys::execve(path.c_str(), arguments, environment);
    if (failure == errc::no_entry) failure = done.error();
  };
  auto& places = transfer_of_agent;
  path = places.given.empty() ? places.beside : places.given;
  run();
  if (!places.given.empty()) return failure;
  std::string_view rest;
  for (auto* variable = environment; *variable != nullptr; ++variable)
    if (std::string_view(*variable).starts_with("PATH=")) rest = *variable + 5;
  for (bool last = false; !last;) {
    last = rest.empty();
    const auto directory = last ? CKPT_INSTALLED : rest.substr(0, rest.find(':'));
    path.clear();
    path.append(directory).append(transfer_name);
    if (directory.starts_with('/')) run();
    if (!last) rest.remove_prefix(directory.size() < rest.size() ? directory.size() + 1 : directory.size());
  }
  return failure;
}

}  // namespace ckpt::agent
