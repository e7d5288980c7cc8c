// SPDX-License-Identifier: MIT
#include "first_look.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <climits>
#include <cstring>
#include <string>

#include "ckpt/format/header.hpp"
#include "other_process.hpp"

namespace ckpt::hijack {

result<pid_t> living_thread(pid_t pid, report& why) {
  if (access(proc(pid, "stat").c_str(), F_OK) != 0)
    return why.refuse(access("/proc/self/stat", F_OK) == 0 ? "there is no such process"
                                                           : "/proc is not mounted");
  const auto process = state_of("/proc/" + std::to_string(pid));
  constexpr u32 kernel_thread = 0x0020'0000;  // PF_KTHREAD
  if ((process.flags & kernel_thread) != 0) return why.refuse("it is a thread of the kernel");
  pid_t thread = 0;
  for (const pid_t tid : numbers_in(proc(pid, "task"))) {
    const char state = state_of(proc(pid, "task/" + std::to_string(tid))).letter;
    if (state == 'Z' || state == 'X' || state == '?') continue;
    if (thread == 0 || tid < thread || tid == pid) thread = tid;
    if (tid == pid) break;
  }
  if (thread == 0)
    return why.refuse("it has ended already, and nobody has waited for it yet (a zombie)");
  return thread;
}

result<void> look_at_status(std::string_view status, report& why) {
  if (proc::status_seccomp(status).value_or(0) == 1)
    return why.refuse("it is under strict seccomp, which would kill it during a checkpoint");
  if (status.find("\nx86_Thread_features:\tshstk") != std::string::npos)
    return why.refuse("it runs with a shadow stack, which this version does not save");
  return {};
}

bool is_stopped(pid_t pid, pid_t thread) {
  return state_of(proc(pid, "task/" + std::to_string(thread))).letter == 'T';
}
errc refuse_stopped(pid_t pid, report& why) {
  return why.refuse("it is stopped; let it go on first (kill -CONT ", pid, ", or fg)");
}

bool is_32_bit(pid_t pid) {
  const sys::unique_fd file(open(proc(pid, "exe").c_str(), O_RDONLY | O_CLOEXEC));
  char head[EI_NIDENT] = {};
  return file && read(file.get(), head, sizeof head) == sizeof head &&
         std::memcmp(head, ELFMAG, SELFMAG) == 0 && head[EI_CLASS] == ELFCLASS32;
}

errc refuse_32_bit(report& why) {
  return why.refuse("it is a 32-bit program, and ckpt is for 64-bit ones; use that one's 64-bit form");
}
errc refuse_filtered(report& why) {
  return why.refuse("it is under seccomp, and its filter may kill it for what the agent does "
                    "(CKPT_SECCOMP=try tries all the same)");
}
errc refuse_traced(pid_t tracer, report& why) {
  return why.refuse("it is traced by process ", tracer, " (", name_of(tracer),
                    "); let that let go of it first");
}

bool is_about_to_begin(pid_t pid) {
  const sys::unique_fd file(open(proc(pid, "exe").c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return false;
  format::file_header h{};
  if (pread(file.get(), &h, sizeof h, format::header_offset) == static_cast<ssize_t>(sizeof h) &&
      h.signature == format::image_magic)
    return true;
  struct stat exe {}, own {};
  if (fstat(file.get(), &exe) != 0) return false;
  const auto is = [&](const std::string& path) {
    return stat(path.c_str(), &own) == 0 && own.st_dev == exe.st_dev && own.st_ino == exe.st_ino;
  };
  char link[PATH_MAX] = {};
  if (readlink("/proc/self/exe", link, sizeof link - 1) <= 0) return false;
  return is("/proc/self/exe") || is(std::string(link) + "-restart") || is(std::string(link) + "-transfer");
}

errc refuse_beginning(report& why) {
  return why.refuse("it is being started or restarted by ckpt; try again when it runs");
}

}  // namespace ckpt::hijack
