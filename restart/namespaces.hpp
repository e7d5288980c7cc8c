// SPDX-License-Identifier: MIT
//
// A user, PID and time namespace for one program, from the inside: the mapping of the one user,
// the clocks that go on where they were, a /proc with the program's own numbers.
// Source: user_namespaces(7), time_namespaces(7), proc(5).
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/state/host.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::restart {

inline result<void> write_small(const char* path, std::string_view text) {
  const sys::unique_fd fd(
      CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path, sys::abi::o_wronly | sys::abi::o_cloexec)));
  // These files take the whole in one write, or nothing.
  const u64 written = CKPT_TRY(sys::write(fd.get(), text.data(), text.size()));
  if (written != text.size()) return errc::io;
  return {};
}

/// The user and the group stay what they are; others have no name in here.
inline result<void> map_user(u32 uid, u32 gid) {
  fixed_text<64> line;
  // A kernel before 3.19 has no such file and asks for nothing.
  if (auto r = write_small("/proc/self/setgroups", "deny"); !r.ok() && r.error() != errc::no_entry)
    return r;
  line.append(uid).append(' ').append(uid).append(" 1\n");
  CKPT_TRY(write_small("/proc/self/uid_map", line.view()));
  line.clear();
  line.append(gid).append(' ').append(gid).append(" 1\n");
  return write_small("/proc/self/gid_map", line.view());
}

namespace clock_detail {

constexpr i64 second = 1'000'000'000;

/// How far this process's clock is from the machine's: it may be in a namespace already. The file
/// has lines "monotonic SECONDS NANOSECONDS"; the numbers may be negative.
inline i64 offset_now(std::string_view text, std::string_view clock) {
  const auto at = text.find(clock);
  if (at == std::string_view::npos) return 0;
  text.remove_prefix(at + clock.size());
  i64 value[2] = {0, 0};
  for (i64& v : value) {
    while (!text.empty() && text[0] == ' ') text.remove_prefix(1);
    const bool negative = text.starts_with('-');
    if (negative) text.remove_prefix(1);
    while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
      v = v * 10 + (text[0] - '0');
      text.remove_prefix(1);
    }
    if (negative) v = -v;
  }
  return value[0] * second + value[1];
}

inline void append_offset(auto& out, std::string_view clock, i64 ns) {
  const i64 whole = ns >= 0 ? ns / second : -((-ns + second - 1) / second);
  out.append(clock).append(' ').append(whole).append(' ').append(ns - whole * second).append('\n');
}

}  // namespace clock_detail

/// Children of the caller see both clocks where they were at the freeze.
inline result<void> let_clocks_go_on(i64 monotonic_ns, i64 boottime_ns) {
  using namespace clock_detail;
  CKPT_TRY(sys::unshare(sys::abi::clone_newtime));
  char room[256];
  std::string_view now;
  {
    const sys::unique_fd fd(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, "/proc/self/timens_offsets",
                                                 sys::abi::o_rdonly | sys::abi::o_cloexec)));
    sys::linux_files kernel;
    const u64 n =
        CKPT_TRY(sys::read_up_to(kernel, fd.get(), std::as_writable_bytes(std::span(room))));
    now = {room, n};
  }
  fixed_text<160> lines;
  append_offset(lines, "monotonic",
                monotonic_ns - state::nanoseconds_of(sys::abi::clock_monotonic) +
                    offset_now(now, "monotonic"));
  append_offset(
      lines, "boottime",
      boottime_ns - state::nanoseconds_of(sys::abi::clock_boottime) + offset_now(now, "boottime"));
  return write_small("/proc/self/timens_offsets", lines.view());
}

/// Where the caller has a PID namespace of its own. What is mounted or unmounted outside is seen
/// in here as well. A container that hides parts of /proc does not let it be mounted afresh.
inline result<void> mount_own_proc() {
  using namespace sys::abi;
  CKPT_TRY(sys::unshare(clone_newns));
  CKPT_TRY(sys::mount("none", "/", nullptr, ms_rec | ms_slave));
  return sys::mount("proc", "/proc", "proc", ms_nosuid | ms_nodev | ms_noexec);
}

}  // namespace ckpt::restart
