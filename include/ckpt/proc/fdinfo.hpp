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

struct eventfd_info {
  u64 count = 0;
  i32 semaphore = -1;  // -1: this kernel does not tell (before 6.5)
};
/// Context: any, no libc.
[[nodiscard]] constexpr result<eventfd_info> parse_eventfd(std::string_view text) {
  eventfd_info info;
  info.count = CKPT_TRY(number_of<u64>(text, "eventfd-count", 16));
  const auto semaphore = number_of<u32>(text, "eventfd-semaphore");
  if (!semaphore.ok() && semaphore.error() != errc::not_found) return semaphore.error();
  if (semaphore.ok()) info.semaphore = *semaphore != 0 ? 1 : 0;
  return info;
}

struct timerfd_info {
  i32 clock = 0;
  u64 ticks = 0;  // expirations that have not been read
  u32 settime_flags = 0;
  i64 value_ns = 0;  // until the next one; 0 when stopped, or when it is not counted yet
  i64 interval_ns = 0;
};
/// Context: any, no libc.
[[nodiscard]] constexpr result<timerfd_info> parse_timerfd(std::string_view text) {
  timerfd_info info;
  info.clock = CKPT_TRY(number_of<i32>(text, "clockid"));
  info.ticks = CKPT_TRY(number_of<u64>(text, "ticks"));
  info.settime_flags = CKPT_TRY(number_of<u32>(text, "settime flags", 8));
  const auto time = [&](std::string_view key) -> result<i64> {
    cursor at(CKPT_TRY(line_of(text, key)));
    at.expect("(");
    const i64 seconds = at.number<i64>();
    at.expect(",");
    const i64 rest = at.number<i64>();
    at.expect(")");
    i64 ns = 0;
    if (at.failed() || seconds < 0 || rest < 0 || rest > 999'999'999 ||
        __builtin_mul_overflow(seconds, i64{1'000'000'000}, &ns) ||
        __builtin_add_overflow(ns, rest, &ns))
      return errc::malformed;
    return ns;
  };
  info.value_ns = CKPT_TRY(time("it_value"));
  info.interval_ns = CKPT_TRY(time("it_interval"));
  return info;
}

/// The mask of a signalfd. Context: any, no libc.
[[nodiscard]] constexpr result<u64> parse_signalfd(std::string_view text) {
  return number_of<u64>(text, "sigmask", 16);
}

struct epoll_target {
  i32 descriptor = 0;  // the number it was registered under
  u32 events = 0;
  u64 data = 0;
  u64 device = 0;  // as st_dev
  u64 inode = 0;
  constexpr bool operator==(const epoll_target&) const = default;
};
/// One line, from after "tfd:". Before Linux 4.13 it ends with the data and tells no file.
[[nodiscard]] constexpr result<epoll_target> parse_epoll_target(std::string_view line) {
  epoll_target t;
  cursor at(line);
  const auto field = [&](std::string_view key) {
    at.skip_blanks();
    at.expect(key);
  };
  t.descriptor = at.number<i32>();
  field("events:");
  t.events = at.number<u32>(16);
  field("data:");
  t.data = at.number<u64>(16);
  field("pos:");
  (void)at.number<i64>();
  field("ino:");
  t.inode = at.number<u64>(16);
  field("sdev:");
  const u64 device = at.number<u64>(16);  // the kernel's own: 12 bits of major, 20 of minor
  if (at.failed() || !at.at_word_end() || t.descriptor < 0) return errc::malformed;
  t.device = maps::device_number(device >> 20, device & 0xfffff);
  return t;
}
/// Calls each(target) for every tfd: line, in order; an error it returns ends the walk.
/// Context: any, no libc.
template <class F>
constexpr result<void> for_each_epoll_target(std::string_view text, F each) {
  while (!text.empty()) {
    cursor at(CKPT_TRY(take_line(text)));
    if (!at.accept("tfd:")) continue;
    const epoll_target target = CKPT_TRY(parse_epoll_target(at.rest()));
    if (const result<void> outcome = each(target); !outcome.ok()) return outcome;
  }
  return {};
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
