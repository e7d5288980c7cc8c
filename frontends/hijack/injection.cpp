// SPDX-License-Identifier: MIT
#include "injection.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>

#include "../agent/config.hpp"

namespace ckpt::hijack {
namespace {

/// The entry of the auxiliary vector that the kernel laid on the program's stack; 0 when there is
/// none. Not from /proc/PID/auxv: /proc may be of another PID namespace.
result<u64> initial_auxiliary(const tracee& t, remote_ptr<u64> stack, u64 type) {
  // A huge environment is read piece by piece; the stack ends somewhere behind it.
  u64 index = 0, filled = 0, first = 0;
  std::array<u64, page_size / sizeof(u64)> words{};
  const auto word = [&](u64 i) -> result<u64> {
    if (i < first || i >= first + filled) {
      first = i;
      const u64 at = (stack + i).address();
      filled = (page_size - at % page_size) / sizeof(u64);
      CKPT_TRY(t.read(remote_address(at), std::as_writable_bytes(std::span(words.data(), filled))));
    }
    return words[i - first];
  };
  index = 1 + CKPT_TRY(word(0)) + 1;  // argc, the arguments, their end
  while (CKPT_TRY(word(index)) != 0) ++index;
  for (++index;; index += 2) {
    const u64 key = CKPT_TRY(word(index));
    if (key == type) return word(index + 1);
    if (key == AT_NULL) return 0;
  }
}

result<void> find_call_site(const tracee& t, const registers& at_entry, call_site& site) {
  const auto vdso = initial_auxiliary(t, remote_ptr<u64>(stack_pointer(at_entry)), AT_SYSINFO_EHDR);
  if (vdso.ok() && *vdso != 0)
    for (u64 page = 0; page < 4; ++page)
      if (site.find(remote_address(*vdso + page * page_size)).ok()) return {};
  return site.borrow(remote_ptr<u64>(page_down(program_counter(at_entry))));
}

/// From the event of execve(2) to where the call returns: only there may registers be changed.
result<void> to_first_instruction(tracee& t) {
  CKPT_TRY(t.go_on_to_system_call());
  const stop s = CKPT_TRY(t.wait());
  if (s.kind == stop_kind::ended) return errc::gone;
  return s.kind == stop_kind::system_call ? result<void>{} : errc::invalid;
}

/// On memory of its own: the program's stack may be as small as its limit allows.
constexpr u64 stack_for_constructors = 128 * 1024;

result<agent::injected> run_constructors(tracee& t, remote_caller& caller,
                                         const shared_object& object, u64 base,
                                         std::string_view options, const borrowed_memory& memory,
                                         report& why) {
  const auto given_at = memory.begin().as<agent::injected>();
  const auto options_at = (given_at + 1).as<void>();
  agent::injected given{options_at.address(), options.size(), 0};
  CKPT_TRY(t.write(given_at, given));
  CKPT_TRY(t.write(options_at, bytes_of_text(options)));
  for (const u64 constructor : object.constructors()) {
    const auto called = caller.function_call(
        remote_address(base + constructor),
        {agent::injected_mark, given_at.address(), options.size()}, memory.end());
    if (!called.ok() && caller.fatal_signal() != 0)
      return why.refuse(quoted{object.path()}, " died in it of signal ", caller.fatal_signal(),
                        "; report this");
    CKPT_TRY(called);
  }
  CKPT_TRY(t.read(given_at.as<void>(), std::as_writable_bytes(std::span(&given, 1))));
  return given;
}

/// Whether a SIGCHLD waits for the program already, so that it must stay.
result<bool> child_signal_pending(tracee& t, remote_caller& caller, const borrowed_memory& memory) {
  CKPT_TRY(caller.system_call(SYS_rt_sigpending, memory.begin().address(), 8));
  u64 set = 0;
  CKPT_TRY(t.read(memory.begin(), std::as_writable_bytes(std::span(&set, 1))));
  return (set & (u64{1} << (SIGCHLD - 1))) != 0;
}

}  // namespace

result<void> put_into_new_program(tracee& t, const shared_object& agent, std::string_view options,
                                  pid_t adopted, report& why) {
  CKPT_TRY(to_first_instruction(t));
  borrowed_thread thread(t);
  CKPT_TRY(thread.take());
  if (!runs_native_code(thread.saved())) return why.refuse("it is not a program of this machine");
  agent::injected given;
  bool had_child_signal = false;
  {
    call_site site(t);
    CKPT_TRY(find_call_site(t, thread.saved(), site));
    remote_caller caller(t, thread.saved(), site.address());
    borrowed_memory memory(caller);
    CKPT_TRY(memory.take(page_up(sizeof given + options.size() + agent.path().size() + 1) +
                         stack_for_constructors));
    const u64 base = CKPT_TRY(map(agent, t, caller, memory.begin(), why));
    given = CKPT_TRY(run_constructors(t, caller, agent, base, options, memory, why));
    if (adopted != 0) had_child_signal = CKPT_TRY(child_signal_pending(t, caller, memory));
  }
  if (adopted == 0) return thread.give_back();
  return thread.give_back_through(given.begin_alone,
                                  {static_cast<u64>(adopted), had_child_signal ? u64{0} : u64{1}});
}

void end_new_program(tracee& t, int status) {
  borrowed_thread thread(t);
  call_site site(t);
  if (thread.take().ok() && find_call_site(t, thread.saved(), site).ok()) {
    remote_caller caller(t, thread.saved(), site.address());
    if (caller.system_call(SYS_exit_group, status).error() == errc::gone) return;
  }
  if (t.tid() != 0) (void)kill(t.tid(), SIGKILL);
}

}  // namespace ckpt::hijack
