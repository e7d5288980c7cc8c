// SPDX-License-Identifier: MIT
#include "permission.hpp"

#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdio>
#include <string>

#include "other_process.hpp"

namespace ckpt::hijack {
namespace {

/// Real, effective, saved and the file system's.
using ids = std::array<unsigned, 4>;
ids ids_in(const std::string& status, const char* name) {
  ids found{};
  const auto line = proc::status_field(status, name);
  if (line.ok())
    (void)std::sscanf(std::string(*line).c_str(), "%u %u %u %u", &found[0], &found[1], &found[2], &found[3]);
  return found;
}

u64 capabilities_in(const std::string& status, const char* name) {
  const auto line = proc::status_field(status, name);
  return line.ok() ? parse_number(*line, 16).value_or(0) : 0;
}

/// The first of real, effective and saved that is not ours; ours when all are.
unsigned differing(const ids& theirs, unsigned ours) {
  for (int i = 0; i < 3; ++i)
    if (theirs[static_cast<std::size_t>(i)] != ours) return theirs[static_cast<std::size_t>(i)];
  return ours;
}

std::string user_namespace(std::string_view pid) {
  char link[PATH_MAX];
  const ssize_t size = readlink(("/proc/" + std::string(pid) + "/ns/user").c_str(), link, sizeof link);
  return size > 0 ? std::string(link, static_cast<std::size_t>(size)) : std::string();
}

/// What /proc has of a process that is not dumpable belongs to root.
bool is_dumpable(pid_t pid, unsigned user) {
  struct stat st {};
  return stat(proc(pid, "status").c_str(), &st) != 0 || st.st_uid == user;
}

/// Whose namespace cannot be seen: not ours, when ours is not the machine's.
bool is_elsewhere(pid_t pid) {
  const std::string there = user_namespace(std::to_string(pid));
  if (!there.empty()) return there != user_namespace("self");
  unsigned first = 0, outside = 0, count = 0;
  (void)std::sscanf(text_of_file("/proc/self/uid_map").c_str(), "%u %u %u", &first, &outside, &count);
  return count != ~0u;
}

}  // namespace

errc refuse_permission(pid_t pid, report& why) {
  constexpr std::string_view so = "ptrace of it is not permitted: ";
  const std::string theirs = text_of_file(proc(pid, "status")), ours = text_of_file("/proc/self/status");
  const bool may_all = (capabilities_in(ours, "CapEff") >> CAP_SYS_PTRACE & 1) != 0;
  const bool elsewhere = is_elsewhere(pid);
  if (!may_all) {
    const ids users = ids_in(theirs, "Uid"), groups = ids_in(theirs, "Gid");
    if (const unsigned other = differing(users, getuid()); other != getuid())
      return why.refuse(so, "it runs as user ", other, "; do it as that user or as root");
    if (const unsigned other = differing(groups, getgid()); other != getgid())
      return why.refuse(so, "it runs as group ", other, "; do it as that group (sg, newgrp) or as root");
    if (!is_dumpable(pid, users[1]))
      return why.refuse(so, "it is not dumpable (PR_SET_DUMPABLE, or a file that may be run and not "
                        "read); do it as root");
    if (!elsewhere && (capabilities_in(theirs, "CapPrm") & ~capabilities_in(ours, "CapPrm")) != 0)
      return why.refuse(so, "it has capabilities that this user has not; do it as root");
  }
  if (elsewhere)
    return why.refuse(so, "it lives in another user namespace than this shell; do it from there, or as "
                      "root of the machine");
  const auto rule = text_of_file("/proc/sys/kernel/yama/ptrace_scope");
  if (rule.starts_with('1') && !may_all)
    return why.refuse(so, "Yama's rule 1 (kernel.yama.ptrace_scope) leaves it to root and to ancestors; do "
                      "it as root, or type exec ckpt -p ", pid,
                      " in the shell that has started it; what ckpt has started takes its signal");
  if (rule.starts_with('2') && !may_all)
    return why.refuse(so, "Yama's rule 2 (kernel.yama.ptrace_scope) leaves it to root; do it as root");
  if (rule.starts_with('3'))
    return why.refuse(so, "Yama's rule 3 (kernel.yama.ptrace_scope) forbids it to everybody until the next "
                      "boot; start the program by ckpt, and use its signal");
  if (proc::status_seccomp(ours).value_or(0) != 0)
    return why.refuse(so, "this shell is under seccomp (a container's profile); allow ptrace there, or "
                      "do it from outside as root");
  return why.refuse(so, "a rule of this machine forbids it (a container's, or a security module's); do it "
                    "from outside, or as root");
}

}  // namespace ckpt::hijack
