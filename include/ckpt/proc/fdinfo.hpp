// SPDX-License-Identifier: MIT
//
// /proc/PID/fdinfo/FD: the state of an open file, and the locks that are held through it.
#pragma once

#include <concepts>

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "ckpt/maps/device.hpp"
#include "ckpt/proc/cursor.hpp"

namespace ckpt::proc {

struct fdinfo {
  i64 position = 0;
  u32 flags = 0;  // O_*, with O_CLOEXEC of this descriptor
  u64 mount = 0;  // mnt_id of /proc/PID/mountinfo
  u64 inode = 0;  // 0 before Linux 5.14
};

/// Lines of special descriptors (epoll, inotify, timerfd, ...) are passed over.
/// Context: any, no libc.
[[nodiscard]] constexpr result<fdinfo> parse_fdinfo(std::string_view text) {
  fdinfo info;
  const auto position = number_of<i64>(text, "pos");
  const auto flags = number_of<u32>(text, "flags", 8);
  const auto mount = number_of<u64>(text, "mnt_id");
  const auto inode = number_of<u64>(text, "ino");
  if (!position.ok()) return position.error();
  if (!flags.ok()) return flags.error();
  if (!mount.ok()) return mount.error();
  if (!inode.ok() && inode.error() != errc::not_found) return inode.error();
  info.position = *position;
  info.flags = *flags;
  info.mount = *mount;
  info.inode = inode.value_or(0);
  return info;
}

enum class lock_kind : u8 { posix, ofd, flock, lease };

struct file_lock {
  lock_kind kind = lock_kind::posix;
  bool write = false;
  bool breaking = false;  // a lease that somebody waits for
  int pid = 0;            // -1 for a lock that belongs to the open file
  u64 device = 0;         // as st_dev
  u64 inode = 0;
  u64 start = 0;
  u64 end = 0;  // the last byte locked; of no meaning when to_eof
  bool to_eof = false;
  constexpr bool operator==(const file_lock&) const = default;
};

/// One line, from after "lock:", e.g. "1: POSIX  ADVISORY  WRITE 1234 fe:00:1234 0 EOF".
/// errc::not_found for a kind that is none of ours.
[[nodiscard]] constexpr result<file_lock> parse_lock(std::string_view line) {
  file_lock lock;
  cursor c(line);
  (void)c.number<u64>();
  c.expect(":");
  const std::string_view kind = c.word();
  const std::string_view manner = c.word();
  const std::string_view access = c.word();
  if (c.failed()) return errc::malformed;
  if (kind == "POSIX")
    lock.kind = lock_kind::posix;
  else if (kind == "OFDLCK")
    lock.kind = lock_kind::ofd;
  else if (kind == "FLOCK")
    lock.kind = lock_kind::flock;
  else if (kind == "LEASE" || kind == "DELEG")
    lock.kind = lock_kind::lease;
  else
    return errc::not_found;
  lock.breaking = manner == "BREAKING";
  if (access == "WRITE")
    lock.write = true;
  else if (access != "READ" && access != "UNLCK")
    return errc::malformed;

  lock.pid = c.number<int>();
  const u32 major = c.number<u32>(16);
  c.expect(":");
  const u32 minor = c.number<u32>(16);
  c.expect(":");
  lock.device = maps::device_number(major, minor);
  lock.inode = c.number<u64>();
  lock.start = c.number<u64>();
  c.skip_blanks();
  lock.to_eof = c.accept("EOF");
  if (!lock.to_eof) lock.end = c.number<u64>();
  c.skip_blanks();
  if (c.failed() || !c.at_end() || (!lock.to_eof && lock.end < lock.start)) return errc::malformed;
  return lock;
}

/// Calls each(lock) for every lock: line; an error it returns ends the walk. Lines of a kind that
/// is none of ours end it with errc::not_found: a lock that cannot be named cannot be restored.
/// Context: any, no libc.
template <class F>
requires std::same_as<std::invoke_result_t<F&, const file_lock&>, result<void>>
constexpr result<void> for_each_lock(std::string_view text, F each) {
  while (!text.empty()) {
    const result<std::string_view> line = take_line(text);
    if (!line.ok()) return line.error();
    cursor at(*line);
    if (!at.accept("lock:")) continue;
    const result<file_lock> lock = parse_lock(at.rest());
    if (!lock.ok()) return lock.error();
    if (const result<void> outcome = each(*lock); !outcome.ok()) return outcome;
  }
  return {};
}

}  // namespace ckpt::proc
