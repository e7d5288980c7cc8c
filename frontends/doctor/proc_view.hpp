// SPDX-License-Identifier: MIT
//
// A process that runs on while it is looked at: /proc only, nothing is stopped, traced or opened that
// could be noticed. What goes meanwhile (a thread, a descriptor) is no error.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <string>
#include <vector>

#include "ckpt/base/text.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::doctor {

[[nodiscard]] std::string text_of(const std::string& path);
[[nodiscard]] std::string link_of(const std::string& path);
/// The number that a small file holds, or `otherwise`.
[[nodiscard]] u64 number_in(const std::string& path, u64 otherwise);
/// "12.3 MiB".
[[nodiscard]] std::string size_text(u64 bytes);

/// Takes on, in this thread and for as long as it lives, the rights of another user to files: what root
/// may open, the program may not. Nothing where this is not root.
class rights_of {
 public:
  rights_of(u32 uid, u32 gid);
  ~rights_of();
  rights_of(const rights_of&) = delete;
  rights_of& operator=(const rights_of&) = delete;

 private:
  bool taken_ = false;
  std::vector<gid_t> groups_;
};

class proc_view {
 public:
  explicit proc_view(pid_t pid);

  [[nodiscard]] pid_t pid() const { return pid_; }
  /// One that lives: the files of a main thread that has ended are empty.
  [[nodiscard]] pid_t thread() const { return thread_; }
  [[nodiscard]] std::string path(std::string_view name) const;
  [[nodiscard]] std::string task_path(pid_t tid, std::string_view name) const;
  [[nodiscard]] std::string text(std::string_view name) const { return text_of(path(name)); }
  [[nodiscard]] std::vector<pid_t> threads() const;

  /// The process's path, as this process reaches it: another mount namespace has another tree.
  [[nodiscard]] std::string seen(std::string_view name) const;
  [[nodiscard]] bool same_namespace(const char* kind) const;

  /// Of the program for files.
  u32 uid = 0, gid = 0;

 private:
  pid_t pid_, thread_;
  bool own_mounts_ = true;
};

}  // namespace ckpt::doctor
