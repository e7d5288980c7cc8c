// SPDX-License-Identifier: MIT
//
// The program's arguments and environment as the kernel laid them on its stack, found through
// /proc/self/stat because not every loader passes them to a library (musl passes nothing).
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/text_file.hpp"
#include "ckpt/state/memory_layout.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::agent {

using proc::read_text;

class initial_stack {
 public:
  static result<initial_stack> find() {
    char text[1024];
    const auto stat = CKPT_TRY(proc::parse_stat(CKPT_TRY(read_text("/proc/self/stat", text))));
    if (stat.start_stack == 0 || stat.env_start == 0) return errc::not_found;
    initial_stack s;
    auto* words = reinterpret_cast<u64*>(stat.start_stack);
    s.argc_ = words[0];
    s.argv_ = reinterpret_cast<char**>(words + 1);
    s.envp_ = s.argv_ + s.argc_ + 1;
    char** end = s.envp_;
    while (*end != nullptr) ++end;
    s.auxv_ = reinterpret_cast<const u64*>(end + 1);
    return s;
  }

  [[nodiscard]] char** envp() const { return envp_; }
  [[nodiscard]] std::string_view argument(u64 i) const {
    return i < argc_ ? std::string_view(argv_[i]) : std::string_view();
  }
  /// The auxiliary vector's entry, 0 when it is not there.
  [[nodiscard]] u64 auxiliary(u64 type) const {
    for (const u64* a = auxv_; a[0] != sys::abi::at_null; a += 2)
      if (a[0] == type) return a[1];
    return 0;
  }

  [[nodiscard]] char* variable(std::string_view name) const {
    for (char** p = envp_; *p != nullptr; ++p) {
      const std::string_view entry(*p);
      if (entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=')
        return *p + name.size() + 1;
    }
    return nullptr;
  }

  /// Takes the variable out of the array that libc's environ points to.
  void remove(std::string_view name) const {
    char** to = envp_;
    for (char** from = envp_; *from != nullptr; ++from) {
      const std::string_view entry(*from);
      const bool match =
          entry.starts_with(name) && entry.size() > name.size() && entry[name.size()] == '=';
      if (!match) *to++ = *from;
    }
    // The auxiliary vector lies behind the last null; what became free is null too.
    for (; *to != nullptr; ++to) *to = nullptr;
  }

 private:
  u64 argc_ = 0;
  char** argv_ = nullptr;
  char** envp_ = nullptr;
  const u64* auxv_ = nullptr;
};

/// Moves the end of what /proc/self/environ shows before strings that have been taken away, when they
/// are its last. Not every kernel lets it be moved; then zeroes are shown.
inline void cut_environment(range first, range second) {
  char text[1024];
  const auto content = read_text("/proc/self/stat", text);
  if (!content.ok()) return;
  const auto stat = proc::parse_stat(*content);
  if (!stat.ok() || stat->start_code == 0) return;
  u64 end = stat->env_end;
  for (int i = 0; i < 2; ++i)
    for (const range r : {first, second})
      if (!r.empty() && r.end == end && r.begin >= stat->env_start) end = r.begin;
  if (end == stat->env_end) return;
  state::memory_layout m{};
  m.start_code = stat->start_code, m.end_code = stat->end_code;
  m.start_data = stat->start_data, m.end_data = stat->end_data;
  m.start_brk = stat->start_brk, m.brk = sys::brk(0);
  m.start_stack = stat->start_stack;
  m.arg_start = stat->arg_start, m.arg_end = stat->arg_end;
  m.env_start = stat->env_start, m.env_end = end;
  (void)state::restore_memory_layout(m, {});
}

}  // namespace ckpt::agent
