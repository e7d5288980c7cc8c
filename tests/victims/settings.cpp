// SPDX-License-Identifier: MIT
// What a process and its thread have asked of the kernel, each set to something unusual.
//
// Fidelity: settings | nice, scheduling policy, flags and parameters | kept as far as the user may; a line otherwise
// Fidelity: settings | affinity | kept where the machine has a processor of it; a line otherwise
// Fidelity: settings | I/O priority, oom_score_adj, coredump_filter | kept as far as the user may; a line otherwise
// Fidelity: settings | timer slack, parent-death signal, child subreaper, no_new_privs, dumpable | kept
// Fidelity: settings | keepcaps, securebits | kept where allowed; a line otherwise
// Fidelity: settings | transparent huge pages off, MDWE, memory merge, machine check policy, TSC and CPUID access, speculation control | kept
// Fidelity: settings | membarrier registrations | kept; before Linux 6.3 without the global one
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <map>

#include "victim.hpp"

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65
#define PR_GET_MDWE 66
#endif
#ifndef PR_SET_MEMORY_MERGE
#define PR_SET_MEMORY_MERGE 67
#define PR_GET_MEMORY_MERGE 68
#endif

namespace {

long subreaper() {
  int value = -1;
  prctl(PR_GET_CHILD_SUBREAPER, &value, 0, 0, 0);
  return value;
}
long death_signal() {
  int value = -1;
  prctl(PR_GET_PDEATHSIG, &value, 0, 0, 0);
  return value;
}
long timestamp_counter() {
  int value = -1;
  prctl(PR_GET_TSC, &value, 0, 0, 0);
  return value;
}
long number_in(const char* path, int base) {
  const std::string text = victim::slurp(path);
  return strtol(text.c_str(), nullptr, base);
}
std::string line_of_status(const char* key) {
  const std::string text = victim::slurp("/proc/self/status");
  const size_t at = text.find(key);
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}

std::map<std::string, long> state() {
  cpu_set_t processors;
  CPU_ZERO(&processors);
  sched_getaffinity(0, sizeof processors, &processors);
  sched_param parameters{};
  sched_getparam(0, &parameters);
  return {
      {"nice", getpriority(PRIO_PROCESS, 0)},
      {"policy", sched_getscheduler(0)},
      {"priority", parameters.sched_priority},
      {"processors", CPU_COUNT(&processors)},
      {"first processor", CPU_ISSET(0, &processors)},
      {"I/O priority", syscall(SYS_ioprio_get, 1, 0)},
      {"oom_score_adj", number_in("/proc/self/oom_score_adj", 10)},
      {"coredump_filter", number_in("/proc/self/coredump_filter", 16)},
      {"timer slack", prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)},
      {"parent death signal", death_signal()},
      {"child subreaper", subreaper()},
      {"no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)},
      {"securebits", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0)},
      {"keepcaps", prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0)},
      {"transparent huge pages off", prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0)},
      {"MDWE", prctl(PR_GET_MDWE, 0, 0, 0, 0)},
      {"memory merge", prctl(PR_GET_MEMORY_MERGE, 0, 0, 0, 0)},
      {"machine check policy", prctl(PR_MCE_KILL_GET, 0, 0, 0, 0)},
      {"speculation: store bypass", prctl(PR_GET_SPECULATION_CTRL, 0, 0, 0, 0)},
      {"timestamp counter", timestamp_counter()},
      {"membarrier registrations", syscall(SYS_membarrier, 1 << 9, 0, 0)},
      {"membarrier PRIVATE_EXPEDITED", syscall(SYS_membarrier, 1 << 3, 0, 0)},
      {"dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)},
  };
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  // A reset on fork, batch scheduling and a nice that any user may have.
  sched_param parameters{};
  sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &parameters);
  setpriority(PRIO_PROCESS, 0, 7);
  syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 6);  // best effort, 6
  const int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, "321", 3) != 3) victim::broken("oom_score_adj");
  close(fd);
  const int filter = open("/proc/self/coredump_filter", O_WRONLY | O_CLOEXEC);
  if (filter < 0 || write(filter, "0x7b", 4) != 4) victim::broken("coredump_filter");
  close(filter);
  prctl(PR_SET_TIMERSLACK, 123456, 0, 0, 0);
  prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0);
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
  prctl(PR_SET_SECUREBITS, prctl(PR_GET_SECUREBITS, 0, 0, 0, 0) | 1 << 2, 0, 0, 0);
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  prctl(PR_SET_MEMORY_MERGE, 1, 0, 0, 0);
  prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
  prctl(PR_SET_SPECULATION_CTRL, 0, PR_SPEC_DISABLE, 0, 0);
  syscall(SYS_membarrier, 1 << 4, 0, 0);  // REGISTER_PRIVATE_EXPEDITED
  syscall(SYS_membarrier, 1 << 2, 0, 0);  // REGISTER_GLOBAL_EXPEDITED
  prctl(PR_SET_MDWE, 1, 0, 0, 0);
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

  const auto before = state();
  const std::string allowed = line_of_status("Cpus_allowed:");
  victim::work_until_stop();
  for (const auto& [name, value] : state())
    if (before.at(name) != value)
      victim::lost("%s: %ld instead of %ld", name.c_str(), value, before.at(name));
  if (line_of_status("Cpus_allowed:") != allowed)
    victim::lost("%s instead of %s", line_of_status("Cpus_allowed:").c_str(), allowed.c_str());
  return victim::finish();
}
