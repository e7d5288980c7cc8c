// SPDX-License-Identifier: MIT
//
// What this machine gives this user for checkpoints and restarts, and what is missing costs.
#include <sys/utsname.h>
#include <unistd.h>

#include <bit>
#include <cstdio>
#include <cstring>

#include "ckpt/proc/status.hpp"
#include "ckpt/state/caller.hpp"
#include "ckpt/state/cpu.hpp"
#include "ckpt/state/x86_64/signal_frame.hpp"
#include "looks.hpp"
#include "probes.hpp"

namespace ckpt::doctor {
namespace {

class facilities {
 public:
  explicit facilities(examination& e) : e_(e) {}

  /// Something that a probe has found. What is essential makes the answer no where it is missing.
  void probed(const char* name, errc outcome, const char* value, const char* costs, const char* cure,
              bool essential = false) {
    facility f;
    f.name = name;
    f.is = outcome == errc::none ? facility::state::yes : facility::state::no;
    f.value = outcome == errc::none ? value : line_of(outcome);
    f.costs = costs, f.cure = cure;
    if (essential && outcome != errc::none)
      e_.stop("machine", line_of(name, ": ", outcome), cure);
    e_.facilities.push_back(std::move(f));
  }
  void is(const char* name, bool here, std::string value, const char* costs, const char* cure) {
    e_.facilities.push_back({name, here ? facility::state::yes : facility::state::no, std::move(value),
                             costs, cure});
  }
  /// A setting that nothing is wrong with.
  void shown(const char* name, std::string value) { is(name, true, std::move(value), "", ""); }

 private:
  examination& e_;
};

std::string first_line(std::string text) { return text.substr(0, text.find('\n')); }

void look_at_processor(facilities& f, examination& e) {
  const auto cpu = state::this_cpu();
  e.tell("processor", std::string(cpu.vendor.view()),
         line_of(cpu.vendor.view(), ", ", std::popcount(cpu.extensions.get()),
                 " extensions that images are bound to, state components ", hex{cpu.components.get()}));
  const auto layout = state::extended_layout::of_this_task();
  f.is("xsave", layout.frame_size > sys::abi::fxsave_size, line_of(layout.frame_size, " bytes a thread"),
       "vector registers beyond SSE do not exist", "none: the processor or the hypervisor decides");
}

void look_at_kernel(facilities& f, examination& e) {
  utsname names{};
  (void)uname(&names);
  unsigned major = 0, minor = 0;
  (void)std::sscanf(names.release, "%u.%u", &major, &minor);
  e.tell("kernel", std::string(names.release), line_of("Linux ", names.release, " ", names.machine));
  f.is("kernel 5.6", major > 5 || (major == 5 && minor >= 6), names.release,
       "a restarted program cannot have its process number (5.5) nor its clock (5.6)", "a newer kernel");
  const bool proc = access("/proc/self/stat", R_OK) == 0;
  f.is("/proc", proc, proc ? "mounted" : "not mounted", "nothing works", "mount -t proc proc /proc");
  if (!proc) e.stop("machine", "/proc is not mounted", "mount -t proc proc /proc");
}

void look_at_freezing(facilities& f) {
  f.probed("ptrace", probe::ptrace(), "permitted",
           "no checkpoint: threads cannot be stopped, and the agent comes into no program that runs",
           "in a container the capability SYS_PTRACE or a seccomp profile that lets ptrace through", true);
  const std::string yama = first_line(text_of("/proc/sys/kernel/yama/ptrace_scope"));
  f.is("ptrace of others (Yama)", yama.empty() || yama == "0",
       yama.empty() ? "not in this kernel" : "kernel.yama.ptrace_scope is " + yama,
       "1: ckpt -p works for its own children and for root only; 2: for programs of root only; 3: no "
       "checkpoint but of programs with one thread",
       "kernel.yama.ptrace_scope=0");
  f.probed("process_vm_readv", probe::process_vm_readv(), "permitted", "ckpt -p cannot see the agent",
           "a kernel with CONFIG_CROSS_MEMORY_ATTACH, a container's seccomp profile");
  f.probed("kcmp", probe::kcmp(), "permitted",
           "no checkpoint of a program that has an open file twice, as standard output and error are",
           "a kernel with CONFIG_KCMP, a container's seccomp profile", true);
  f.probed("sock_diag", probe::socket_list(), "lists sockets",
           "programs with pairs of sockets (socketpair) cannot be saved", "a kernel with CONFIG_UNIX_DIAG");
  const u32 filter = proc::status_seccomp(text_of("/proc/self/status")).value_or(0);
  f.is("no seccomp filter here", filter == 0, filter == 0 ? "none" : "this shell is under one",
       "programs that are started here have the same filter, and no checkpoint is made under one",
       "CKPT_SECCOMP=try, when the filter only returns errors; docker run --security-opt "
       "seccomp=unconfined");
}

void look_at_memory(facilities& f) {
  f.probed("PAGEMAP_SCAN", probe::pagemap_scan(), "here",
           "which pages hold something is read page by page: slower", "Linux 6.7");
  f.probed("write tracking", probe::write_tracking(), "userfaultfd with WP_ASYNC",
           "pages written meanwhile cannot be told: programs stand still while images are written",
           "Linux 6.7");
  const std::string huge = first_line(text_of("/sys/kernel/mm/transparent_hugepage/enabled"));
  f.is("transparent huge pages", !huge.empty() && huge.find("[never]") == std::string::npos, huge,
       "a restart fills memory by small pages: up to four times slower",
       "/sys/kernel/mm/transparent_hugepage/enabled: madvise or always");
  const u64 lowest = number_in("/proc/sys/vm/mmap_min_addr", 0);
  f.is("vm.mmap_min_addr", lowest <= u64{1} << 20, std::to_string(lowest),
       "programs that have something mapped below it cannot be restarted", "65536 or less");
  const u64 policy = number_in("/proc/sys/vm/overcommit_memory", 0);
  f.is("vm.overcommit_memory", policy != 2, std::to_string(policy),
       "2: a restart needs all that the program has ever reserved at once", "0 or 1");
  f.shown("vm.max_map_count", std::to_string(number_in("/proc/sys/vm/max_map_count", 65530)));
  f.probed("vDSO", probe::move_vdso(), "can be moved", "programs whose vDSO lies elsewhere cannot be "
           "restarted here", "a kernel that does not seal it");
}

void look_at_identities(facilities& f) {
  f.shown("kernel.pid_max", std::to_string(number_in("/proc/sys/kernel/pid_max", 32768)));
  f.probed("set_tid", probe::set_tid(), "permitted",
           "a restart does not get its number without a namespace (--identity=keep)",
           "root, or CAP_CHECKPOINT_RESTORE (Linux 5.9)");
  const bool root = state::caller::now().can(sys::abi::cap_sys_admin);
  f.probed("user namespace", probe::user_namespace(), "permitted",
           root ? "none for root" : "a restarted program has a new process number",
           "user.max_user_namespaces above 0, kernel.unprivileged_userns_clone=1, "
           "kernel.apparmor_restrict_unprivileged_userns=0, a container's seccomp profile");
  f.probed("PID namespace", probe::pid_namespace(), "permitted",
           "two programs of one number cannot run side by side", "the same, and CONFIG_PID_NS");
  f.probed("set_tid in a namespace", probe::set_tid_in_namespace(), "permitted",
           "a restarted program has a new process number", "Linux 5.5");
  f.probed("time namespace", probe::time_namespace(), "permitted",
           "CLOCK_MONOTONIC of a restarted program is this machine's", "Linux 5.6 with CONFIG_TIME_NS");
  const auto reason = state::caller::now().why_no_namespace();
  if (!root)
    f.is("namespaces take nothing away", reason.empty(), reason.empty() ? "nothing" : std::string(reason),
         "a restarted program has a new process number unless --identity=namespace says otherwise",
         "a user without supplementary groups or capabilities");
}

}  // namespace

void look_at_machine(examination& e) {
  e.of = subject::machine;
  utsname names{};
  (void)uname(&names);
  e.title = names.nodename;
  e.tell("user", u64{geteuid()}, line_of("uid ", geteuid(), ", gid ", getegid()));
  facilities f(e);
  look_at_kernel(f, e);
  look_at_processor(f, e);
  look_at_freezing(f);
  look_at_memory(f);
  look_at_identities(f);
}

}  // namespace ckpt::doctor
