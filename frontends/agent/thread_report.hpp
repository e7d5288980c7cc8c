// SPDX-License-Identifier: MIT
//
// What only a thread can say of itself (its alternate stack, where its id is cleared, what it has
// asked of the kernel by prctl(2)): every frozen thread is sent for an instant to report_main, on a
// stack in the arena and with all signals blocked, and put back where it was. Its restartable call,
// if it was in one, is not touched by that: no call of the report leaves anything for
// restart_syscall(2).
//
// The helper may be killed at any moment. Then the kernel lets go of the threads, and each puts
// itself back from its slot.
#pragma once

#include "freezer.hpp"
#include "stopped_call.hpp"
#include "symbols.hpp"
#include "vdso_walk.hpp"

namespace ckpt::agent {

/// What the image says of a thread's registers.
// Context: helper; a thread that puts itself back
inline void registers_of(const thread_slot& slot, state::thread& t) {
  state::registers_from(state::context_of(slot.image), t);
  t.fs_base = slot.image.fs_base;
  t.gs_base = slot.image.gs_base;
  t.signal_mask = slot.mask;
  t.alternate_stack = slot.alternate_stack.ss_sp;
  t.alternate_stack_size = slot.alternate_stack.ss_size;
  // SS_ONSTACK is a report, not a setting.
  t.alternate_stack_flags = static_cast<u32>(slot.alternate_stack.ss_flags & ~sys::abi::ss_onstack);
}

/// Runs in each thread.
// Context: a frozen thread, all signals blocked
[[noreturn]] inline void report_of_thread(thread_slot& slot) {
  const u64 all = ~u64{0};
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, nullptr);
  const session& s = *slot.all;
  slot.settings = state::current_thread_settings(slot.tid, s.default_slice);
  (void)sys::sigaltstack(nullptr, &slot.alternate_stack);
  if (!sys::prctl(sys::abi::pr_get_tid_address, &slot.clear_child_tid).ok())
    slot.clear_child_tid = 0;
  (void)sys::prctl(sys::abi::pr_get_name, &slot.name[0]);
  (void)sys::arch_prctl(sys::abi::arch_shstk_status, &slot.shadow_stack);
  if (slot.probes_rseq) {
    const auto found = probe_rseq(slot.live.fs_base);
    slot.rseq = {found.address, found.size, found.signature, 0, 0};
  }
  __atomic_store_n(&slot.reported, 1u, __ATOMIC_RELEASE);
  for (;;) {
    const int helper = __atomic_load_n(&s.helper, __ATOMIC_ACQUIRE);
    if (helper == 0) break;
    (void)sys::futex_wait(reinterpret_cast<const u32*>(&s.helper), static_cast<u32>(helper),
                          nullptr);
  }
  // The kernel wakes one; the others are woken by it.
  (void)sys::futex_wake(reinterpret_cast<const u32*>(&s.helper), 0x7fffffff);
  state::thread t{};
  registers_of(slot, t);
  state::set_context(slot.frame, t);
  state::enter(slot.frame);
}

class thread_reports {
 public:
  thread_reports(session& s, frozen_threads& threads) : s_(s), threads_(threads) {}

  /// Fills in all slots; afterwards every thread stands where it stood.
  // Context: helper, all threads frozen
  result<void> collect() {
    vdso_ = find_vdso();
    CKPT_TRY(threads_.for_each([&](thread_slot& t) { return look_at(t); }));
    const auto sent = threads_.for_each([&](thread_slot& t) { return send(t); });
    // Whoever has been sent comes back, whatever happened to the others. All at a time: on a busy
    // machine each waits for a processor.
    const auto each_sent = [&](auto&& step) {
      return threads_.for_each(
          [&](thread_slot& t) { return t.all != nullptr ? step(t) : result<void>(); });
    };
    (void)each_sent([&](thread_slot& t) { return await(t); });
    (void)each_sent([&](thread_slot& t) -> result<void> {
      (void)sys::ptrace(sys::abi::ptrace_interrupt, t.tid, 0, 0);
      return {};
    });
    const auto back = each_sent([&](thread_slot& t) { return bring_back(t); });
    CKPT_TRY(sent);
    CKPT_TRY(back);
    return vdso_walk(s_, threads_.layout()).leave(*s_.context, [&](u64 rip) { return in_vdso(rip); });
  }

 private:
  static result<long> get_registers(const thread_slot& t, int set, void* to, u64 size) {
    const sys::abi::iovec room{reinterpret_cast<u64>(to), size};
    return sys::ptrace(sys::abi::ptrace_getregset, t.tid, set, &room);
  }
  static result<long> set_registers(const thread_slot& t, int set, const void* from, u64 size) {
    const sys::abi::iovec room{reinterpret_cast<u64>(from), size};
    return sys::ptrace(sys::abi::ptrace_setregset, t.tid, set, &room);
  }

  errc explain(errc error, const thread_slot& t) {
    return s_.why.explain(error, "cannot look at thread ", t.tid);
  }

  result<void> look_at(thread_slot& t) {
    CKPT_TRY(pass_on(t));
    if (!t.held) return {};
    // Still on its way back from a checkpoint whose helper has died.
    if (state_of_agent.reports.contains(t.live.rsp)) {
      s_.stuck = t.tid;
      return s_.why.refuse("thread ", t.tid, " does not stop");
    }
    constexpr u64 code_of_64_bits = 0x33;
    if (t.live.cs != code_of_64_bits)
      return s_.why.refuse("thread ", t.tid, " is running 32-bit code, which cannot be saved");
    // A thread may have a table of descriptors or a directory of its own (unshare(2)).
    for (const int shared : {sys::abi::kcmp_files, sys::abi::kcmp_fs}) {
      const auto order = sys::kcmp(s_.thread, t.tid, shared, 0, 0);
      if (order.ok() && *order != 0)
        return state::refuse_own_table(s_.why, t.tid, shared == sys::abi::kcmp_files);
    }
    if (auto r = sys::ptrace(sys::abi::ptrace_getsigmask, t.tid, sizeof t.mask, &t.mask); !r.ok())
      return explain(r.error(), t);
    t.rseq = {};
    t.probes_rseq =
        !sys::ptrace(sys::abi::ptrace_get_rseq_configuration, t.tid, sizeof t.rseq, &t.rseq).ok();
    make_stopped_call_again(read_, t);
    abort_restartable_sequence(read_, t);
    t.frame = state::signal_frame(
        CKPT_TRY(s_.arena.take_aligned(state::signal_frame::size_for(threads_.layout()),
                                       state::signal_frame::alignment)),
        threads_.layout());
    if (auto r = get_registers(t, sys::abi::nt_x86_xstate, t.frame.extended(),
                               threads_.layout().full_size);
        !r.ok())
      return explain(r.error(), t);
    return {};
  }

  result<void> send(thread_slot& t) {
    const auto stack = CKPT_TRY(s_.arena.take(stack_size));
    auto registers = t.live;
    registers.rip = reinterpret_cast<u64>(&agent_report);
    registers.rsp = reinterpret_cast<u64>(stack.data()) + stack_size - sizeof(u64);
    registers.rdi = reinterpret_cast<u64>(&t);
    registers.orig_rax = ~u64{0};
    registers.eflags = 0x202;  // interrupts, nothing else
    t.all = &s_;
    if (auto r = set_registers(t, sys::abi::nt_prstatus, &registers, sizeof registers); !r.ok()) {
      t.all = nullptr;
      return explain(r.error(), t);
    }
    const u64 every = ~u64{0};
    (void)sys::ptrace(sys::abi::ptrace_setsigmask, t.tid, sizeof every, &every);
    (void)sys::ptrace(sys::abi::ptrace_cont, t.tid, 0, 0);
    return {};
  }

  /// Until it has reported; one that was killed will not, and its process is dead to its parent only
  /// when it has been waited for.
  result<void> await(const thread_slot& t) {
    for (int looks = 0; looks < patience && !has_been_killed(t); ++looks) {
      if (__atomic_load_n(&t.reported, __ATOMIC_ACQUIRE) != 0) break;
      (void)sys::nanosleep({0, looks < 10 ? 10'000 : 50'000});
    }
    return {};
  }
  static bool has_been_killed(const thread_slot& t) {
    using namespace sys::abi;
    siginfo end{};
    return sys::waitid(p_pid, t.tid, end, w_exited | w_nohang | w_nowait | w_all).ok() &&
           end.si_signo != 0;
  }

  /// A thread that cannot be put back puts itself back when we end.
  result<void> bring_back(thread_slot& t) {
    const auto stopped = wait_stopped(t.tid, patience);
    if (stopped.error() == errc::gone) {
      t.held = false;
      return s_.why.refuse("thread ", t.tid, " has ended during the checkpoint");
    }
    if (t.reported == 0 || !stopped.ok()) sys::exit_group(1);
    if (!set_registers(t, sys::abi::nt_x86_xstate, t.frame.extended(), threads_.layout().full_size)
             .ok() ||
        !sys::ptrace(sys::abi::ptrace_setsigmask, t.tid, sizeof t.mask, &t.mask).ok() ||
        !set_registers(t, sys::abi::nt_prstatus, &t.live, sizeof t.live).ok())
      sys::exit_group(1);
    return {};
  }

  /// Two places a thread must have left: the vDSO, which reads the kernel's pages beside it, and
  /// the gate through which it came back from a restart, whose memory goes now. It goes by single
  /// steps: let run, it might start another thread, and interrupted at once it would not move.
  result<void> pass_on(thread_slot& t) {
    // A call of the vDSO has a hundred instructions. On a busy machine it may begin again and
    // again, because the clock it reads ticks between two steps; then it is saved as it stands.
    constexpr int most_steps = 600;
    for (int steps = 0;; ++steps) {
      if (auto r = get_registers(t, sys::abi::nt_prstatus, &t.live, sizeof t.live); !r.ok())
        return explain(r.error(), t);
      const bool at_gate = gate_.contains(t.live.rip);
      if (!in_vdso(t.live.rip) && !at_gate) return {};
      if (steps == most_steps && !at_gate) return {};
      const auto stepped = steps < most_steps ? step_with_trap(t) : result<void>(errc::busy);
      if (stepped.ok()) continue;
      if (stepped.error() == errc::gone) {
        threads_.forget(t);
        return {};
      }
      t.held = false;
      s_.stuck = t.tid;
      return s_.why.refuse("thread ", t.tid, " does not stop");
    }
  }

  /// The kernel lets a step end with a SIGTRAP that it forces on the thread: where that is blocked,
  /// it would be unblocked and its handler forgotten, so it is unblocked for the step, and blocked
  /// again unless the step has set another mask (rt_sigreturn at the gate). Where it is ignored, that
  /// is lost; the triggering thread puts it back (note_freeze).
  result<void> step_with_trap(thread_slot& t) {
    constexpr u64 trap = u64{1} << (sys::abi::sig_trap - 1);
    u64 before = 0;
    if (auto r = sys::ptrace(sys::abi::ptrace_getsigmask, t.tid, sizeof before, &before); !r.ok())
      return r.error();
    if ((before & trap) == 0) return step(t);
    const u64 lent = before & ~trap;
    (void)sys::ptrace(sys::abi::ptrace_setsigmask, t.tid, sizeof lent, &lent);
    CKPT_TRY(step(t));
    u64 after = 0;
    if (auto r = sys::ptrace(sys::abi::ptrace_getsigmask, t.tid, sizeof after, &after); !r.ok())
      return r.error();
    if (after == lent) (void)sys::ptrace(sys::abi::ptrace_setsigmask, t.tid, sizeof before, &before);
    return {};
  }

  static result<void> step(thread_slot& t) { return step_task(t.tid); }

  [[nodiscard]] bool in_vdso(u64 rip) const {
    return vdso_.contains(rip) || state_of_agent.kernel_vdso.contains(rip);
  }

  /// The mapping that AT_SYSINFO_EHDR leads to, as long as its program headers say.
  range find_vdso() const {
    u64 entries[128] = {};
    const sys::unique_fd auxv(
        sys::openat(sys::abi::at_fdcwd, "/proc/self/auxv", sys::abi::o_rdonly | sys::abi::o_cloexec)
            .value_or(-1));
    sys::linux_files kernel;
    if (!auxv) return {};
    (void)sys::read_up_to(kernel, auxv.get(), std::as_writable_bytes(std::span(entries, 126)));
    u64 base = 0;
    for (const u64* e = entries; e[0] != sys::abi::at_null; e += 2)
      if (e[0] == sys::abi::at_sysinfo_ehdr) base = e[1];
    struct {
      u8 ident[32];
      u64 headers;
      u8 rest[14];
      u16 header_size, count;
    } elf{};
    static_assert(sizeof elf >= 58);
    if (base == 0 || !read_(base, &elf, 58)) return {};
    u64 length = 0;
    for (u16 i = 0; i < elf.count && i < 16; ++i) {
      struct {
        u32 type, flags;
        u64 offset, address, physical, file_size, memory_size;
      } header{};
      if (!read_(base + elf.headers + u64{i} * elf.header_size, &header, sizeof header)) return {};
      if (header.type == 1 /* PT_LOAD */ && header.address + header.memory_size > length)
        length = header.address + header.memory_size;
    }
    return {base, base + page_up(length)};
  }

  static constexpr u64 stack_size = 2 * page_size;
  static constexpr int patience = 40'000;  // looks of 50 µs: a busy machine lets threads wait

  session& s_;
  frozen_threads& threads_;
  copied_memory read_;
  range vdso_;
  range gate_{reinterpret_cast<u64>(&agent_leave), reinterpret_cast<u64>(&agent_gate_end)};
};

}  // namespace ckpt::agent
