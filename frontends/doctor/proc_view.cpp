// SPDX-License-Identifier: MIT
#include "proc_view.hpp"

#include <fcntl.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdio>

#include "../hijack/other_process.hpp"
#include "printable.hpp"

namespace ckpt::doctor {

std::string text_of(const std::string& path) { return hijack::text_of_file(path); }

std::string link_of(const std::string& path) {
  char room[PATH_MAX + 16];
  const ssize_t size = readlink(path.c_str(), room, sizeof room);
  return size > 0 ? std::string(room, static_cast<std::size_t>(size)) : std::string();
}

u64 number_in(const std::string& path, u64 otherwise) {
  std::string text = text_of(path);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return parse_number(text).value_or(otherwise);
}

std::string size_text(u64 bytes) { return tools::size_text(bytes); }

rights_of::rights_of(u32 uid, u32 gid) {
  if (geteuid() != 0 || uid == 0) return;
  taken_ = true;
  groups_.resize(65536);
  const int count = getgroups(static_cast<int>(groups_.size()), groups_.data());
  groups_.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
  // The system calls, which are for one thread; libc's are for all.
  (void)syscall(SYS_setgroups, 0, nullptr);
  (void)syscall(SYS_setfsgid, gid);
  (void)syscall(SYS_setfsuid, uid);
}
rights_of::~rights_of() {
  if (!taken_) return;
  (void)syscall(SYS_setfsuid, 0);
  (void)syscall(SYS_setfsgid, getegid());
  (void)syscall(SYS_setgroups, groups_.size(), groups_.data());
}

proc_view::proc_view(pid_t pid) : pid_(pid), thread_(pid) {
  if (const auto living = threads(); !living.empty() && std::ranges::find(living, pid) == living.end())
    thread_ = living.front();
  own_mounts_ = same_namespace("mnt");
  const std::string status = text("status");
  unsigned real = 0, effective = 0, saved = 0, files = 0;
  if (const auto at = status.find("\nUid:"); at != std::string::npos &&
      std::sscanf(status.c_str() + at, "\nUid: %u %u %u %u", &real, &effective, &saved, &files) == 4)
    uid = files;
  if (const auto at = status.find("\nGid:"); at != std::string::npos &&
      std::sscanf(status.c_str() + at, "\nGid: %u %u %u %u", &real, &effective, &saved, &files) == 4)
    gid = files;
}

std::string proc_view::path(std::string_view name) const { return hijack::proc(thread_, name); }
std::string proc_view::task_path(pid_t tid, std::string_view name) const {
  return path("task/" + std::to_string(tid) + "/" + std::string(name));
}

std::vector<pid_t> proc_view::threads() const {
  std::vector<pid_t> living;
  for (const pid_t tid : hijack::numbers_in(path("task"))) {
    const char state = hijack::state_of(path("task/" + std::to_string(tid))).letter;
    if (state != 'Z' && state != 'X' && state != '?') living.push_back(tid);
  }
  return living;
}

std::string proc_view::seen(std::string_view name) const {
  return own_mounts_ ? std::string(name) : path("root") + std::string(name);
}

bool proc_view::same_namespace(const char* kind) const {
  const std::string theirs = link_of(path("ns/" + std::string(kind)));
  return theirs.empty() || theirs == link_of("/proc/self/ns/" + std::string(kind));
}

}  // namespace ckpt::doctor
