// SPDX-License-Identifier: MIT
//
// A process as it is seen from outside: what /proc says of it, copies of its memory, the agent's mark
// in it, and a thread of it that ptrace holds.
#pragma once

#include <dirent.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../agent/outside_request.hpp"
#include "ckpt/base/range.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/state/x86_64/signal_frame.hpp"
#include "text_of_file.hpp"
#include "x86_64/machine.hpp"

namespace ckpt::hijack {

using clock = std::chrono::steady_clock;

/// What ptrace and process_vm_readv say, beside much else.
inline constexpr auto not_permitted = static_cast<errc>(EPERM), no_such = static_cast<errc>(ESRCH);

inline std::string proc(pid_t pid, std::string_view name) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(name);
}
inline std::string name_of(pid_t pid) {
  std::string name = text_of_file(proc(pid, "comm"));
  while (!name.empty() && name.back() == '\n') name.pop_back();
  return name;
}
/// Whether a tracer is one of ours at its work, which a busy machine may make long, and which ends.
inline bool passes_soon(pid_t tracer) {
  return name_of(tracer) == "ckpt";
}
/// '?' when it is gone.
struct process_state {
  char letter = '?';
  u32 flags = 0;
};
inline process_state state_of(const std::string& directory) {
  const std::string text = text_of_file(directory + "/stat");
  const auto stat = proc::parse_stat(text);
  return stat.ok() ? process_state{stat->state, stat->flags} : process_state{};
}

inline std::vector<pid_t> numbers_in(const std::string& directory) {
  std::vector<pid_t> found;
  DIR* open = opendir(directory.c_str());
  if (open == nullptr) return found;
  while (const dirent* entry = readdir(open))
    if (const auto number = parse_number(entry->d_name); number.ok())
      found.push_back(static_cast<pid_t>(*number));
  closedir(open);
  return found;
}
inline std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> found;
  for (const pid_t thread : numbers_in(proc(pid, "task"))) {
    const std::string text = text_of_file(proc(pid, "task/" + std::to_string(thread) + "/children"));
    char* at = nullptr;
    for (const char* from = text.c_str(); const long child = std::strtol(from, &at, 10); from = at)
      found.push_back(static_cast<pid_t>(child));
  }
  return found;
}

inline result<void> copy(bool out, pid_t tid, u64 address, void* here, u64 size) {
  iovec local{here, size}, remote{reinterpret_cast<void*>(address), size};
  const ssize_t done = out ? process_vm_writev(tid, &local, 1, &remote, 1, 0)
                           : process_vm_readv(tid, &local, 1, &remote, 1, 0);
  if (done < 0) return static_cast<errc>(errno);
  return done == static_cast<ssize_t>(size) ? result<void>{} : errc::fault;
}
template <class T>
result<T> peek(pid_t tid, u64 address) {
  T value{};
  CKPT_TRY(copy(false, tid, address, &value, sizeof value));
  return value;
}
template <class T>
inline result<void> put(pid_t tid, u64 address, const T& value) {
  T kept = value;
  return copy(true, tid, address, &kept, sizeof kept);
}

struct code_mapping {
  range where;
  bool ours = false;
  bool of_file = false;
};
/// Executable mappings, the likely and the small ones first.
inline std::vector<code_mapping> code_of(pid_t tid, bool& readable) {
  std::vector<code_mapping> found;
  const std::string maps = text_of_file(proc(tid, "maps"));
  readable = !maps.empty();
  for (std::size_t from = 0; from < maps.size();) {
    const std::string line = maps.substr(from, maps.find('\n', from) - from);
    from += line.size() + 1;
    unsigned long long begin = 0, end = 0;
    char protection[5] = {};
    if (std::sscanf(line.c_str(), "%llx-%llx %4s", &begin, &end, protection) != 3) continue;
    if (protection[0] != 'r' || protection[2] != 'x' || begin >= u64{1} << 47) continue;
    found.push_back({{begin, end}, line.find("/libckpt") != std::string::npos,
                     line.find('/') != std::string::npos});
  }
  std::ranges::sort(found, [](const code_mapping& a, const code_mapping& b) {
    return a.ours != b.ours ? a.ours : a.where.length() < b.where.length();
  });
  return found;
}

/// visit(mapping, address, mark) for each page that begins as the mark does, until it returns true.
template <class Visit>
result<bool> find_marks(pid_t tid, const std::vector<code_mapping>& code, Visit&& visit) {
  constexpr std::size_t at_once = 512;
  for (const auto& mapping : code) {
    u64 at = mapping.where.begin;
    while (at < mapping.where.end) {
      agent::outside_mark marks[at_once];
      iovec remote[at_once];
      std::size_t count = 0;
      for (u64 page = at; page < mapping.where.end && count < at_once; page += page_size)
        remote[count++] = {reinterpret_cast<void*>(page), sizeof(agent::outside_mark)};
      const iovec local{marks, count * sizeof marks[0]};
      const ssize_t got = process_vm_readv(tid, &local, 1, remote, count, 0);
      if (got < 0 && errno != EFAULT) return static_cast<errc>(errno);
      const std::size_t whole = got < 0 ? 0 : static_cast<std::size_t>(got) / sizeof marks[0];
      for (std::size_t i = 0; i < whole; ++i)
        if (std::memcmp(marks[i].text, agent::outside_mark_text, sizeof marks[i].text) == 0 &&
            CKPT_TRY(visit(mapping, at + i * page_size, marks[i])))
          return true;
      at += (whole == count ? count : whole + 1) * page_size;
    }
  }
  return false;
}

/// A thread that is held from take() on. It must be let go by the thread of ours that took it.
class held_thread {
 public:
  explicit held_thread(pid_t tid) : tid_(tid) {}
  held_thread(const held_thread&) = delete;
  held_thread& operator=(const held_thread&) = delete;
  /// One that is not stopped is let go by the end of the thread that runs this.
  ~held_thread() {
    if (stopped_) (void)ptrace(PTRACE_DETACH, tid_, 0, 0);
  }

  /// 0 when it stands still; the signal when job control has stopped it; errc::busy when it does not
  /// stop.
  result<int> take() {
    CKPT_TRY(seize(0));
    return wait();
  }
  /// The same in two steps, so that many threads stop at once.
  result<void> seize(long options) {
    if (ptrace(PTRACE_SEIZE, tid_, 0, options) != 0 || ptrace(PTRACE_INTERRUPT, tid_, 0, 0) != 0)
      return static_cast<errc>(errno);
    return {};
  }
  result<int> wait(int patience_ms = 1000) {
    const auto end = clock::now() + std::chrono::milliseconds(patience_ms);
    for (int looks = 0;; ++looks) {
      // There is a look after the end of the time: on a busy machine it may have passed without us.
      const bool last = clock::now() >= end;
      // Not its end: that is for whoever has started it.
      siginfo_t info{};
      if (waitid(P_PID, static_cast<id_t>(tid_), &info, WSTOPPED | WNOHANG | __WALL) != 0)
        return errno == ECHILD ? errc::gone : static_cast<errc>(errno);
      if (info.si_pid == 0) {
        if (last) return errc::busy;
        constexpr int soon = 8, later = 100;  // most stop within microseconds
        if (looks % soon == soon - 1) {
          const char state = state_of(proc(tid_, "task/" + std::to_string(tid_))).letter;
          if (state == 'Z' || state == 'X' || state == '?') return errc::gone;
        }
        if (looks >= soon) usleep(looks < later ? 20 : 200);
        continue;
      }
      const int signal = info.si_status & 0x7f, event = info.si_status >> 8;
      if (event == 0) {  // a signal that is on its way to it: left out, it would be lost
        (void)ptrace(PTRACE_CONT, tid_, 0, static_cast<long>(signal));
        continue;
      }
      stopped_ = true;
      return signal == SIGTRAP ? 0 : signal;
    }
  }

  result<void> get(int set, void* to, u64& size) const {
    iovec room{to, size};
    if (ptrace(PTRACE_GETREGSET, tid_, set, &room) != 0) return static_cast<errc>(errno);
    size = room.iov_len;
    return {};
  }
  result<void> set_registers(const sys::abi::user_regs& r) const {
    sys::abi::user_regs copy = r;
    iovec room{&copy, sizeof copy};
    if (ptrace(PTRACE_SETREGSET, tid_, NT_PRSTATUS, &room) != 0) return static_cast<errc>(errno);
    return {};
  }

 private:
  pid_t tid_;
  bool stopped_ = false;
};

/// As the kernel does it where it delivers a signal: a thread inside a restartable sequence goes on
/// at its abort handler. Source: rseq(2), struct rseq_cs.
inline void abort_restartable_sequence(pid_t tid, sys::abi::user_regs& r) {
  sys::abi::rseq_configuration rseq{};
  struct {
    u32 version, flags;
    u64 start, length, abort;
  } sequence{};
  constexpr auto get_configuration = static_cast<__ptrace_request>(0x420f);
  if (ptrace(get_configuration, tid, sizeof rseq, &rseq) < 0 || rseq.rseq_abi_pointer == 0) return;
  const auto at = peek<u64>(tid, rseq.rseq_abi_pointer + 8);
  if (!at.ok() || *at == 0 || !copy(false, tid, *at, &sequence, sizeof sequence).ok()) return;
  if (r.rip - sequence.start < sequence.length) r.rip = sequence.abort;
}

/// What the frame of a signal could hold of this thread. AMX is there only for who has asked for it.
inline state::extended_layout layout_for(const std::byte* area) {
  auto l = state::extended_layout::of_this_task();
  constexpr u64 amx = u64{1} << 18;
  u64 in_use = 0;
  std::memcpy(&in_use, area + sys::abi::fxsave_size, sizeof in_use);
  l.permitted &= ~amx;
  if ((in_use & amx) != 0) l.permitted |= amx;
  l.frame_size = sys::abi::fxsave_size + sys::abi::xsave_header_size;
  for (u32 c = 2; c < 63; ++c)
    if ((l.permitted >> c & 1) != 0 && l.places[c].offset + l.places[c].size > l.frame_size)
      l.frame_size = l.places[c].offset + l.places[c].size;
  return l;
}

}  // namespace ckpt::hijack
