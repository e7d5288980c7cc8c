// SPDX-License-Identifier: MIT
//
// Whether a restart by this user, here, would have the program's number, clock and name of its file
// again: in the order in which a restart tries (restart/identity.hpp).
#include <csignal>
#include <cerrno>

#include "ckpt/state/caller.hpp"
#include "looks.hpp"
#include "probes.hpp"

namespace ckpt::doctor {
namespace {

struct outcome {
  const char* way;  // as --identity= calls it
  std::string reason;
};

std::string why_taken(const identity_wish& w) {
  if (w.is_running) return {};
  const auto taken = [](int number) { return kill(number, 0) == 0 || errno != ESRCH; };
  if (taken(w.number)) return "another process or process group has it";
  for (const int tid : w.threads)
    if (taken(tid)) return line_of("another process has ", tid, ", the number of a thread");
  return {};
}

outcome choose(const identity_wish& w) {
  const auto caller = state::caller::now();
  const u64 highest = number_in("/proc/sys/kernel/pid_max", 1 << 22);
  if (static_cast<u64>(w.number) >= highest)
    return {"new", "it is above the highest number here (kernel.pid_max)"};
  const bool admin = caller.can(sys::abi::cap_sys_admin);
  if (admin || caller.can(sys::abi::cap_checkpoint_restore)) {
    const std::string taken = why_taken(w);
    const errc kept = probe::set_tid();
    if (taken.empty() && kept == errc::none) return {"keep", {}};
    std::string reason = taken;
    if (taken.empty()) reason = line_of("the kernel does not give a number away: ", kept);
    if (admin && probe::set_tid_in_namespace() == errc::none) return {"namespace", reason};
    return {"new", reason};
  }
  if (const auto reason = caller.why_no_namespace(); !reason.empty())
    return {"new", std::string(reason)};
  if (const errc made = probe::user_namespace(); made != errc::none)
    return {"new", line_of("no namespace may be made here (user.max_user_namespaces, "
                           "kernel.unprivileged_userns_clone, a container's filter): ", made)};
  if (const errc given = probe::set_tid_in_namespace(); given != errc::none)
    return {"new", line_of("the kernel does not give a number away: ", given)};
  return {"namespace", {}};
}

}  // namespace

void look_at_identity(const identity_wish& wish, examination& e) {
  const auto chosen = choose(wish);
  const std::string_view way = chosen.way;
  const bool in_namespace = way == "namespace";
  e.tell("identity", std::string(way),
         line_of(way == "new" ? "a restart has a new process number" : "a restart has process number ",
                 way == "new" ? std::string() : std::to_string(wish.number),
                 way == "new" ? "" : " again", in_namespace ? ", in a namespace" : "",
                 chosen.reason.empty() ? "" : ": ", chosen.reason));
  if (way == "new") {
    e.lose("pid", line_of("process number ", wish.number, " and the numbers of threads: ", chosen.reason),
           "--identity=keep as root, or what stands in the way of a namespace; a program that does not "
           "keep its number in memory or files needs neither");
    if (state::caller::now().can(sys::abi::cap_checkpoint_restore) == false)
      e.lose("exe", "/proc/self/exe, which leads to the image then");
  }
  if (in_namespace)
    e.lose("job-control", "getpgrp() and getsid() are 0 in a namespace", "--identity=new for a program "
                                                                         "that does job control itself");
  if (!in_namespace)
    e.lose("clock", "its monotonic clock: it is this machine's, and begins anew when that is started anew",
           way == "keep" ? "--identity=namespace" : "");
  else if (const errc time = probe::time_namespace(); time != errc::none)
    e.lose("clock", line_of("its monotonic clock is this machine's: no time namespace: ", time),
           "a kernel with CONFIG_TIME_NS, 5.6 or later");
  const auto caller = state::caller::now();
  if (wish.uid != caller.uid || wish.gid != caller.gid) {
    if (caller.uid == 0)
      e.mention("user", line_of("a restart by root is user ", wish.uid, ", group ", wish.gid, " again"));
    else
      e.lose("user", line_of("user ", wish.uid, ", group ", wish.gid, ": a restart here is user ",
                             caller.uid, ", group ", caller.gid), "restart it as that user, or as root");
  }
}

}  // namespace ckpt::doctor
