// SPDX-License-Identifier: MIT
//
// What a process as a whole has asked of the kernel by prctl(2), membarrier(2), mlockall(2) and
// files in /proc. A setting this kernel does not have is absent and stays as it is.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

/// The value of a setting that the kernel could not tell.
inline constexpr i32 absent = -1;

struct process_settings {
  static constexpr auto record = format::record_type::process_settings;
  wire::le<i32> dumpable;
  wire::le<i32> child_subreaper;
  wire::le<i32> thp_disable;
  wire::le<i32> mdwe;
  wire::le<i32> memory_merge;
  wire::le<i32> coredump_filter;
  wire::le<i32> io_flusher;
  wire::le<u32> membarrier;
  wire::le<u32> lock_future;
  wire::le<i32> oom_score_adj;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::process_settings, dumpable, child_subreaper, thp_disable, mdwe,
                        memory_merge, coredump_filter, io_flusher, membarrier, lock_future,
                        oom_score_adj);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::process_settings> = description<10>{
    "process_settings",
    "What the process has asked of the kernel for itself as a whole. -1 stands for a setting that "
    "the kernel could not tell.",
    {"PR_GET_DUMPABLE of prctl(2)", "PR_GET_CHILD_SUBREAPER", "PR_GET_THP_DISABLE", "PR_GET_MDWE",
     "PR_GET_MEMORY_MERGE", "/proc/PID/coredump_filter (core(5))", "PR_GET_IO_FLUSHER",
     "registrations of membarrier(2), as MEMBARRIER_CMD_GET_REGISTRATIONS gives them",
     "MCL_FUTURE 2 and MCL_ONFAULT 4 of mlockall(2)",
     "/proc/PID/oom_score_adj (proc(5)); -1001 stands for one that could not be read"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<process_settings, 40>());

inline constexpr i32 no_oom_score = -1001;  // one below the least

/// A setting that prctl(2) returns.
[[nodiscard]] inline i32 current_setting(int option) {
  const auto now = sys::prctl(option, 0, 0, 0, 0);
  return now.ok() ? static_cast<i32>(*now) : absent;
}

namespace settings_detail {

/// Before 6.3 a private registration shows by the command that needs it; the global one does not.
inline u32 membarrier_registrations() {
  if (const auto now = sys::membarrier(sys::abi::membarrier_get_registrations); now.ok())
    return *now & sys::abi::membarrier_registrations;
  u32 found = 0;
  const u32 known = sys::membarrier(sys::abi::membarrier_query).value_or(0);
  for (const u32 command :
       {sys::abi::membarrier_private_expedited, sys::abi::membarrier_private_expedited_sync_core,
        sys::abi::membarrier_private_expedited_rseq})
    if ((known & command) != 0 && sys::membarrier(command).ok()) found |= command << 1;
  return found;
}

inline result<void> write_file(const char* path, std::string_view text) {
  const sys::unique_fd fd(
      CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path, sys::abi::o_wronly | sys::abi::o_cloexec)));
  sys::linux_files kernel;
  return sys::write_all(kernel, fd.get(), bytes_of_text(text));
}
inline result<std::string_view> read_file(const char* path, std::span<char> room) {
  const sys::unique_fd fd(
      CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path, sys::abi::o_rdonly | sys::abi::o_cloexec)));
  sys::linux_files kernel;
  const u64 n = CKPT_TRY(sys::read_up_to(kernel, fd.get(), std::as_writable_bytes(room)));
  return std::string_view(room.data(), n > 0 && room[n - 1] == '\n' ? n - 1 : n);
}
/// Reads NUMBER or -NUMBER.
inline result<i32> read_number(const char* path, unsigned base) {
  char room[64];
  std::string_view text = CKPT_TRY(read_file(path, room));
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const i32 value = static_cast<i32>(CKPT_TRY(parse_number(text, base)));
  return negative ? -value : value;
}

}  // namespace settings_detail

/// The mapped memory that a core dump takes: core(5). A process whose main thread has ended does not
/// show it; whoever shares its memory does.
// Context: helper
inline result<i32> current_coredump_filter() {
  const auto filter = settings_detail::read_number("/proc/self/coredump_filter", 16);
  // A file that is not there is a kernel without the setting; any other error would lose it.
  if (!filter.ok() && filter.error() != errc::no_entry) return filter.error();
  return filter.value_or(absent);
}

/// All but what the caller knows better: the filter of core dumps; dumpable and child_subreaper,
/// which a checkpoint changes for its own purposes; lock_future.
// Context: triggering thread, all others frozen
inline result<process_settings> current_process_settings() {
  using namespace settings_detail;
  process_settings s{};
  s.thp_disable = current_setting(sys::abi::pr_get_thp_disable);
  s.mdwe = current_setting(sys::abi::pr_get_mdwe);
  s.memory_merge = current_setting(sys::abi::pr_get_memory_merge);
  s.io_flusher = current_setting(sys::abi::pr_get_io_flusher);
  const auto score = read_number("/proc/thread-self/oom_score_adj", 10);
  if (!score.ok() && score.error() != errc::no_entry) return score.error();
  s.oom_score_adj = score.value_or(no_oom_score);
  s.membarrier = membarrier_registrations();
  return s;
}

/// Sets what differs. lost(what, errc) hears of each that this process may not or cannot have.
/// Dumpable, MDWE and MCL_FUTURE would hinder the restore: see finish_process_settings().
// Context: agent, in restored memory
template <class Lost>
void restore_process_settings(const process_settings& s, Lost&& lost) {
  using namespace settings_detail;
  const auto set = [&](std::string_view what, i32 wanted, int get_option, int set_option,
                       u64 flags = 0) {
    const i32 now = current_setting(get_option);
    // A kernel that does not know a setting has it off.
    if (wanted == absent || now == wanted || (now == absent && wanted == 0)) return;
    if (auto r = sys::prctl(set_option, flags != 0 ? 1 : wanted, flags, 0, 0); !r.ok())
      lost(what, r.error());
  };
  (void)sys::prctl(sys::abi::pr_set_child_subreaper, s.child_subreaper.get(), 0, 0, 0);
  // Since 6.18 the answer carries the flags that PR_SET_THP_DISABLE takes in its next argument.
  set("PR_SET_THP_DISABLE", s.thp_disable, sys::abi::pr_get_thp_disable,
      sys::abi::pr_set_thp_disable,
      s.thp_disable > 1 ? static_cast<u64>(s.thp_disable.get() & ~1) : 0);
  set("PR_SET_MEMORY_MERGE", s.memory_merge, sys::abi::pr_get_memory_merge,
      sys::abi::pr_set_memory_merge);
  set("PR_SET_IO_FLUSHER", s.io_flusher, sys::abi::pr_get_io_flusher, sys::abi::pr_set_io_flusher);
  const auto put = [&](const char* path, i32 wanted, i32 none, unsigned base) {
    const auto now = read_number(path, base);
    if (wanted == none || (now.ok() && *now == wanted)) return;
    fixed_text<32> text;
    if (base == 16)
      text.append("0x").append(hex{static_cast<u32>(wanted)});
    else
      text.append(wanted);
    if (auto r = write_file(path, text.view()); !r.ok()) lost(path, r.error());
  };
  put("/proc/self/coredump_filter", s.coredump_filter, absent, 16);
  put("/proc/self/oom_score_adj", s.oom_score_adj, no_oom_score, 10);
  for (u32 command = 1; command <= sys::abi::membarrier_registrations; command <<= 1)
    if ((s.membarrier & sys::abi::membarrier_registrations & command) != 0)
      if (auto r = sys::membarrier(command); !r.ok()) lost("a membarrier registration", r.error());
}

/// The last of all settings: after them /proc/self may be closed, memory may not become executable
/// and new memory is locked.
// Context: agent, in restored memory
template <class Lost>
void finish_process_settings(const process_settings& s, Lost&& lost) {
  using namespace settings_detail;
  // 2 is a system's policy for set-user-ID programs, which no process can ask for.
  if (s.dumpable == 0 || s.dumpable == 2) (void)sys::prctl(sys::abi::pr_set_dumpable, 0, 0, 0, 0);
  if (s.mdwe > 0 && current_setting(sys::abi::pr_get_mdwe) != s.mdwe)
    if (auto r = sys::prctl(sys::abi::pr_set_mdwe, s.mdwe.get(), 0, 0, 0); !r.ok())
      lost("PR_SET_MDWE", r.error());
  if (s.lock_future != 0)
    if (auto r = sys::mlockall(static_cast<int>(s.lock_future.get())); !r.ok())
      lost("mlockall(MCL_FUTURE)", r.error());
}

}  // namespace ckpt::state
