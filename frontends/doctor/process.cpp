// SPDX-License-Identifier: MIT
//
// The process as a whole: whether it can be had at all, and whether the agent is in it.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "../hijack/first_look.hpp"
#include "../hijack/permission.hpp"
#include "../hijack/other_process.hpp"
#include "../hijack/outside.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/state/refusals.hpp"
#include "looks.hpp"

namespace ckpt::doctor {
namespace {

/// What ptrace would be permitted: the kernel asks the same before it opens this file, and that has no
/// effect on the process.
bool may_be_traced(const proc_view& p) {
  return sys::unique_fd(open(p.path("mem").c_str(), O_RDONLY | O_CLOEXEC)).get() >= 0;
}

void look_at_agent(const proc_view& p, process_facts& known, examination& e) {
  report why;
  const char* seen = "none";
  switch (hijack::look_for_agent(p.pid(), why)) {
    case hijack::seen_agent::none:
      e.tell("agent", std::string("none"),
             line_of("not in it; ckpt -p ", p.pid(), " brings it, and --now brings it as well"));
      return;
    case hijack::seen_agent::there:
      known.agent = true;
      seen = "there";
      e.tell("agent", std::string(seen), "in it");
      return;
    case hijack::seen_agent::of_other_version:
      e.stop("agent", why.line(), "use the ckpt that started it");
      seen = "other";
      break;
    case hijack::seen_agent::unseen:
      e.miss("agent", "whether the agent is in it");
      seen = "unseen";
      break;
  }
  e.tell("agent", std::string(seen), seen);
}

std::string first_child(const proc_view& p) {
  for (const pid_t child : hijack::children_of(p.pid()))
    if (hijack::name_of(child) != "ckpt-helper") return std::to_string(child);
  return {};
}

}  // namespace

bool look_at_process(const proc_view& p, const wishes& w, process_facts& known, examination& e) {
  report why;
  const auto thread = hijack::living_thread(p.pid(), why);
  if (!thread.ok()) {
    e.stop("process", why.line(), "give the number of a program that runs (ps)");
    return false;
  }
  known.threads = p.threads();
  const std::string status = p.text("status");
  e.tell("program", link_of(p.path("exe")), link_of(p.path("exe")));
  e.tell("user", u64{p.uid}, "uid " + std::to_string(p.uid) + ", gid " + std::to_string(p.gid));

  if (!hijack::look_at_status(status, why).ok())
    e.stop("process", why.line(), "start it without");
  if (hijack::is_32_bit(p.pid())) {
    (void)hijack::refuse_32_bit(why);
    e.stop("process", why.line(), "start its 64-bit form");
    return false;
  }
  if (const int tracer = proc::status_tracer(status).value_or(0); tracer != 0) {
    (void)hijack::refuse_traced(tracer, why);
    e.stop("traced", why.line(),
           line_of("let process ", tracer, " let go of it",
                   known.threads.size() == 1 ? "; with the agent in it, a program of one thread takes "
                                               "its trigger signal even so" : ""));
  }
  if (hijack::is_stopped(p.pid(), *thread)) {
    (void)hijack::refuse_stopped(p.pid(), why);
    e.stop("stopped", why.line(), line_of("kill -CONT ", p.pid()));
  }
  const bool readable = access(p.path("maps").c_str(), R_OK) == 0 && !text_of(p.path("maps")).empty();
  if (!readable || !may_be_traced(p)) {
    (void)hijack::refuse_permission(p.pid(), why);
    const std::string line(why.line());  // its cure is behind the semicolon
    const auto cure = line.find("; ");
    e.stop("permission", line.substr(0, cure), cure == line.npos ? "" : line.substr(cure + 2));
  }
  if (!readable) {
    e.miss("permission", "its descriptors, memory and threads", "the same as its user or as root");
    return false;
  }
  look_at_agent(p, known, e);
  if (hijack::is_about_to_begin(p.pid()) && !known.agent) {
    (void)hijack::refuse_beginning(why);
    e.stop("process", why.line(), "try again in a moment");
    return false;
  }
  if (proc::status_seccomp(status).value_or(0) == 2 && !w.try_seccomp) {
    if (known.agent)
      (void)state::refuse_filtered_program(why);
    else
      (void)hijack::refuse_filtered(why);
    e.stop("seccomp", why.line(), "CKPT_SECCOMP=try, when the filter lets clone, ptrace, prctl and "
                                  "process_vm_readv through or only returns errors");
  }
  if (const std::string child = first_child(p); !child.empty()) {
    (void)state::refuse_child(why, child);
    e.stop("child", why.line(), line_of("wait until process ", child, " has ended and the program has "
                                        "waited for it"));
  }
  if (const std::string cwd = link_of(p.path("cwd")); cwd.ends_with(" (deleted)")) {
    (void)state::refuse_lost_directory(why, cwd);
    e.stop("directory", why.line(), "let it change its directory (chdir)");
  }
  // Yama's rule 2 and 3 are for the helper, too, which has the program's rights.
  const u64 yama = number_in("/proc/sys/kernel/yama/ptrace_scope", 0);
  const u64 capabilities = proc::number_of<u64>(status, "CapEff", 16).value_or(0);
  constexpr u64 cap_sys_ptrace = u64{1} << 19;
  if (yama >= 3 || (yama == 2 && (capabilities & cap_sys_ptrace) == 0)) {
    (void)state::refuse_unstoppable_thread(why, *thread, static_cast<errc>(EPERM));
    e.stop("permission", why.line(), "kernel.yama.ptrace_scope below 2");
  }
  return true;
}

}  // namespace ckpt::doctor
