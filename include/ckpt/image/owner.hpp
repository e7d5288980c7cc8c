// SPDX-License-Identifier: MIT
//
// Whose an image is. Each says in its header which process has written it, so that nobody overwrites
// the image of another process that lives: docs/decisions/0010.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/header.hpp"
#include "ckpt/proc/cursor.hpp"
#include "ckpt/proc/text_file.hpp"
#include "ckpt/state/host.hpp"

namespace ckpt::image {

/// A process as others know it. One behind a stand-in is known as that, which lives as long.
struct process_identity {
  bool operator==(const process_identity&) const = default;
  u32 boot = 0;
  u32 host = 0;
  u32 view = 0;
  i32 pid = 0;
  u64 start = 0;
};

constexpr i64 ticks_per_second = 100;  // USER_HZ, which x86-64 has fixed

/// Clock ticks by which /proc shows this process, in its time namespace, all starts too late.
/// Source: time_namespaces(7), proc_pid_stat(5), fs/proc/array.c.
// Context: any, no libc
[[gnu::noinline]] inline i64 start_offset() {
  char text[128];
  const auto offsets = proc::read_text("/proc/self/timens_offsets", text);
  if (!offsets.ok()) return 0;  // a kernel without
  const auto at = offsets->find("boottime");
  if (at == std::string_view::npos) return 0;
  proc::cursor c(offsets->substr(at + 8));
  const i64 seconds = c.number<i64>();
  const i64 nanoseconds = c.number<i64>();
  return c.failed() ? 0 : seconds * ticks_per_second + nanoseconds / (1'000'000'000 / ticks_per_second);
}

struct seen_process {
  bool lives = false;
  u64 start = 0;
};

// Context: any, no libc
[[gnu::noinline]] inline result<seen_process> look_at_process(i32 pid) {
  fixed_text<64> path;
  path.append("/proc/").append(pid).append("/stat");
  char text[1024];
  const auto stat = CKPT_TRY(proc::read_text(path.c_str(), text));
  // Three fields of many, and the restarter is small: behind the name, which may hold anything.
  const auto name_end = stat.rfind(')');
  if (name_end == std::string_view::npos) return errc::malformed;
  proc::cursor c(std::string_view(stat.data() + name_end + 1, stat.size() - name_end - 1));
  const auto state = c.word();
  c.skip_words(16);
  const i64 threads = c.number<i64>();
  c.skip_words(1);
  const i64 start = c.number<i64>();
  if (c.failed()) return errc::malformed;
  // A main thread that has ended is a zombie while others live on.
  const bool dead = (state[0] == 'Z' || state[0] == 'X') && threads <= 1;
  return seen_process{!dead, static_cast<u64>(start - start_offset())};
}

// Context: any, no libc
inline u32 mark_of(std::string_view text) {
  return static_cast<u32>(format::checksum(bytes_of_text(text)));
}

/// Of the process that /proc calls `pid`; with 0, of where we are only. Whoever cannot read this is
/// not to guess: what it signs would seem to be another's.
// Context: any, no libc
inline result<process_identity> identity_of(i32 pid) {
  process_identity who;
  char text[64];
  const auto boot = proc::read_text("/proc/sys/kernel/random/boot_id", text);
  if (!boot.ok() && boot.error() != errc::no_entry && boot.error() != errc::access)
    return boot.error();
  who.boot = mark_of(boot.value_or(""));
  sys::abi::utsname names{};
  CKPT_TRY(sys::uname(names));
  who.host = mark_of(names.nodename);
  // Whoever looks at the same /proc knows a process by the same number.
  sys::abi::stat view{};
  CKPT_TRY(sys::newfstatat(sys::abi::at_fdcwd, "/proc", view, 0));
  who.view = static_cast<u32>(view.st_dev);
  if (pid == 0) return who;
  const auto seen = CKPT_TRY(look_at_process(pid));
  who.pid = pid;
  who.start = seen.start;
  return who;
}

/// Of the caller, by the number that /proc has for it.
// Context: any, no libc
inline result<process_identity> own_identity() {
  char link[32];
  const auto size = CKPT_TRY(sys::readlinkat(sys::abi::at_fdcwd, "/proc/self", link, sizeof link));
  return identity_of(static_cast<i32>(CKPT_TRY(parse_number({link, size}))));
}

/// Whether the process that wrote an image may live. One that cannot be seen from where `here` looks,
/// on another machine or in another container, may.
// Context: any, no libc
inline result<bool> may_live(const process_identity& writer, const process_identity& here) {
  if (writer.pid == 0) return false;
  if (writer.boot != here.boot) return writer.host != here.host;  // this machine has been started anew
  if (writer.view != here.view) return true;
  const auto seen = look_at_process(writer.pid);
  if (!seen.ok()) {
    if (seen.error() == errc::no_entry || seen.error() == errc::no_process) return false;
    if (seen.error() == errc::access || seen.error() == errc::perm) return true;
    return seen.error();
  }
  // Rounded twice, in two namespaces.
  return seen->lives && seen->start + 2 >= writer.start && writer.start + 2 >= seen->start;
}

inline void sign(format::file_header& h, const process_identity& who) {
  h.writer_boot = who.boot;
  h.writer_host = who.host;
  h.writer_view = who.view;
  h.writer_pid = who.pid;
  h.writer_start = who.start;
}
inline process_identity writer_of(const format::file_header& h) {
  return {h.writer_boot, h.writer_host, h.writer_view, h.writer_pid, h.writer_start};
}

/// Whether what stands under the name belongs to a process that may live. `known` is the image that
/// the program has written last, or comes from; `me` is who it is itself, and `number` what /proc calls
/// it, which is not `me`'s behind a stand-in; `gone` is known to be dead.
// Context: any, no libc
inline result<bool> belongs_to_another(const char* name, const wire::blob<16>& known,
                               const process_identity& me, i32 number,
                               const process_identity& gone = {}) {
  const auto opened = sys::openat(sys::abi::at_fdcwd, name,
                                  sys::abi::o_rdonly | sys::abi::o_nonblock | sys::abi::o_noctty |
                                      sys::abi::o_cloexec);
  // Images are private: what another user's is, nobody can say.
  if (!opened.ok()) {
    constexpr errc ours_to_see[] = {errc::interrupted, errc::no_memory, errc::too_many_files_here,
                                      errc::too_many_files, errc::io};
    for (const auto each : ours_to_see)
      if (opened.error() == each) return each;
    return opened.error() == errc::access;
  }
  const sys::unique_fd file(*opened);
  format::file_header h{};
  sys::linux_files kernel;
  const auto got = sys::pread_up_to(
      kernel, file.get(), {reinterpret_cast<std::byte*>(&h), sizeof h}, format::header_offset);
  if (!got.ok() || *got != sizeof h || h.signature != format::image_magic) return false;
  const auto writer = writer_of(h);
  if (h.id == known || writer == me || writer == gone) return false;
  const auto here = CKPT_TRY(identity_of(0));
  // Restarted at once and with its number, the program looks like whoever had that before it.
  if (writer.pid == number && writer.view == here.view && writer.boot == here.boot) return false;
  return may_live(writer, here);
}

}  // namespace ckpt::image
