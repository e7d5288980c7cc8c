// SPDX-License-Identifier: MIT
//
// The threads of the program, made again in restored memory. The task that the restarter has left
// is the main thread; it makes the others. Each sets what only a thread can set for itself, and
// then waits at the gate (agent_leave in agent.S) without a stack, until all are there and the main
// thread lets everybody go.
//
// The frames from which threads return to the program must outlive them, and nothing tells when the
// kernel has read the last one: their memory stays until the next checkpoint, which finds every
// thread elsewhere, or until the program ends.
#pragma once

#include "ckpt/image/metadata_view.hpp"
#include "ckpt/state/credentials.hpp"
#include "ckpt/state/signals.hpp"
#include "ckpt/state/thread_settings.hpp"
#include "ckpt/state/x86_64/signal_frame.hpp"
#include "interrupted_call.hpp"
#include "symbols.hpp"
#include "timed_call.hpp"

namespace ckpt::agent {

/// glibc keeps a thread's id where the kernel will clear it, musl in the block that the FS base
/// leads to: a new id belongs there.
// Context: agent, in restored memory, no other thread runs code of the program
inline void mend_thread_id(const state::thread& t, int tid) {
  if (t.tid == tid) return;
  constexpr u64 musl_tid = 48;  // struct pthread of musl 1.2: the int behind the canary
  // A container's filter may know no process_vm_readv; the file shows the same memory.
  const auto read = [](u64 at, void* to, u64 size) {
    return copied_memory()(at, to, size) || copied_memory(true)(at, to, size);
  };
  const auto mend = [&](u64 at) {
    i32 cached = 0;
    if (at == 0 || !read(at, &cached, sizeof cached) || cached != t.tid) return;
    const sys::abi::iovec from{reinterpret_cast<u64>(&tid), sizeof tid};
    const sys::abi::iovec to{at, sizeof tid};
    if (sys::process_vm_writev(sys::gettid(), from, to).ok()) return;
    const sys::unique_fd file(sys::openat(sys::abi::at_fdcwd, "/proc/thread-self/mem",
                                          sys::abi::o_wronly | sys::abi::o_cloexec)
                                  .value_or(-1));
    if (file && sys::lseek(file.get(), static_cast<i64>(at), 0 /* SEEK_SET */).ok())
      (void)sys::write(file.get(), &tid, sizeof tid);
  };
  mend(t.clear_child_tid);
  u64 self = 0;
  if (read(t.fs_base, &self, sizeof self) && self == t.fs_base) mend(t.fs_base + musl_tid);
}

class threads_restore {
 public:
  struct agent_calls {
    /// Tells whoever restarts what could not be had again.
    void (*lost)(std::string_view what, errc error);
    /// Ends the process; does not return.
    void (*fail)(const image::handover& h, const report& why);
    u64 trigger_entry;
  };

  threads_restore(const image::handover& h, bytes metadata, const agent_calls& agent)
      : h_(h),
        metadata_(metadata),
        lost_(agent.lost),
        fail_(agent.fail),
        trigger_entry_(agent.trigger_entry) {}

  /// Memory for `count` threads and their frames; with one thread, only for it.
  // Context: agent, in restored memory
  [[gnu::cold]] result<void> prepare(report& why) {
    image::for_each<state::thread>(metadata_, [&](const state::thread&, bytes) { ++count_; });
    layout_ = state::extended_layout::of_this_task();
    const u64 frame_size = state::signal_frame::size_for(layout_);
    const u64 each = align_up(sizeof(restored), state::signal_frame::alignment);
    // One thread alone leaves from the agent's stack, which nobody uses before it has left.
    const u64 size = count_ * (frame_size + each);
    result<void> room;
    if (count_ == 1 && size <= sizeof room_for_one_)
      frames_ = {reinterpret_cast<u64>(room_for_one_), reinterpret_cast<u64>(room_for_one_) + size};
    else
      room = reserve(size, frames_);
    if (room.ok() && count_ > 1) {
      const auto stacks = reserve(u64{count_} * stack_size, stacks_);
      if (!stacks.ok()) room = stacks;
    }
    if (!room.ok()) return why.explain(room.error(), "no memory for ", count_, " threads");
    u32 n = 0;
    const i32 leader = image::first<state::process>(metadata_).pid;
    image::for_each<state::thread>(metadata_, [&](const state::thread& saved, bytes) {
      restored& r = *new (reinterpret_cast<void*>(frames_.begin + n * each)) restored{};
      r.owner = this;
      r.saved = saved;
      r.frame = state::signal_frame(
          mutable_bytes(
              reinterpret_cast<std::byte*>(frames_.begin + count_ * each + n * frame_size),
              frame_size),
          layout_);
      state::begin_frame(r.frame, saved);
      if (saved.tid == leader) leader_ = &r;
      ++n;
    });
    stride_ = each;
    return collect(why);
  }

  /// The frames' mapping, for when no thread can be in it any more; empty when there is none.
  [[nodiscard]] range frames() const {
    return frames_.begin == reinterpret_cast<u64>(room_for_one_) ? range{} : frames_;
  }

  /// Makes every thread but the main one; they run until they are ready to leave.
  // Context: agent, in restored memory
  result<void> start(report& why) {
    __atomic_store_n(&agent_gate_ready, 0u, __ATOMIC_RELEASE);
    __atomic_store_n(&agent_gate_open, 0u, __ATOMIC_RELEASE);
    u64 stack = stacks_.begin;
    for (u32 i = 0; i < count_; ++i) {
      restored& r = at(i);
      if (&r == leader_) continue;
      if (auto made = start_one(r, stack); !made.ok())
        return why.explain(made.error(), "cannot make thread ", i + 1, " of ", count_,
                           " again (a limit on processes, RLIMIT_NPROC or pids.max?)");
      stack += stack_size;
      ++started_;
    }
    return {};
  }

  /// The present number of a saved thread; the main thread's is the process's.
  [[nodiscard]] int present_tid(i32 saved) const {
    for (u32 i = 0; i < count_; ++i)
      if (at(i).saved.tid == saved) return at(i).tid;
    return saved;
  }
  [[nodiscard]] u32 count() const { return count_; }

  /// What each thread does for itself; the main one by itself, before it leaves.
  // Context: agent, in restored memory
  void set_up_leader() {
    if (leader_ != nullptr) set_up(*leader_);
  }
  void finish_leader() {
    if (leader_ != nullptr) return finish(*leader_);
    // It ends at once, but with privileges that the others have given up nobody could hold it until
    // then, and a checkpoint would be refused.
    for (u32 i = 0; i < count_; ++i)
      if (at(i).has_credentials) return give_up_privileges(at(i));
  }
  /// Until every thread but the main one has set itself up.
  // Context: agent, in restored memory
  void wait_until_set_up() {
    for (;;) {
      const u32 now = __atomic_load_n(&set_up_, __ATOMIC_ACQUIRE);
      if (now == started_) return;
      (void)sys::futex_wait(&set_up_, now, nullptr);
    }
  }
  /// Calls `function` in the thread that had that number, and waits for it.
  // Context: agent, in restored memory, all others held
  void run_in(i32 saved_tid, void (*function)(bytes metadata)) {
    restored* where = with_tid(saved_tid);
    if (where == nullptr) return;
    if (where == leader_) return function(metadata_);
    function_ = function;
    runs_it_ = where;
    take_step(step::function);
    while (__atomic_load_n(&function_done_, __ATOMIC_ACQUIRE) == 0)
      (void)sys::futex_wait(&function_done_, 0, nullptr);
  }
  /// Lets the others do their last steps and waits until they stand at the gate.
  void gather() {
    take_step(step::last);
    for (;;) {
      const u32 ready = __atomic_load_n(&agent_gate_ready, __ATOMIC_ACQUIRE);
      if (ready == started_) break;
      (void)sys::futex_wait(&agent_gate_ready, ready, nullptr);
    }
    if (!stacks_.empty()) (void)sys::munmap(stacks_.begin, stacks_.length());
  }

  // Context: agent, last of all
  [[noreturn]] void leave() {
    if (leader_ == nullptr) agent_leave_last(0, 0);
    const auto& frame = leader_->frame;
    agent_leave_last(frame.stack_pointer(), state::flags_beside_frame(frame));
  }

 private:
  struct restored {
    threads_restore* owner;
    state::thread saved;
    state::signal_frame frame;
    state::thread_settings settings;
    bytes affinity;
    state::credentials credentials;
    bytes groups;
    bool has_settings;
    bool has_credentials;
    bool has_pending;
    int tid;
  };
  static constexpr u64 stack_size = 24 * 1024;

  /// What the threads that wait may do.
  enum class step : u32 { set_up, function, last };
  void take_step(step s) {
    __atomic_store_n(&step_, static_cast<u32>(s), __ATOMIC_RELEASE);
    (void)sys::futex_wake(&step_, 0x7fffffff);
  }

  [[nodiscard]] restored& at(u32 i) const {
    return *reinterpret_cast<restored*>(frames_.begin + i * stride_);
  }
  static result<void> reserve(u64 size, range& to) {
    const u64 at = CKPT_TRY(sys::mmap(
        0, page_up(size), sys::abi::prot_read | sys::abi::prot_write,
        sys::abi::map_private | sys::abi::map_anonymous | sys::abi::map_noreserve, -1, 0));
    to = {at, at + page_up(size)};
    return {};
  }

  restored* with_tid(i32 tid) {
    if (recent_ < count_ && at(recent_).saved.tid == tid) return &at(recent_);
    for (recent_ = 0; recent_ < count_; ++recent_)
      if (at(recent_).saved.tid == tid) return &at(recent_);
    return nullptr;
  }

  /// What the image says of each, in one pass over it.
  result<void> collect(report& why) {
    result<void> outcome;
    image::for_each<state::extended_state>(metadata_, [&](const state::extended_state& x,
                                                          bytes raw) {
      restored* r = with_tid(x.tid);
      if (r == nullptr || !outcome.ok()) return;
      if (!state::add_component(r->frame, x.component, raw).ok())
        outcome = why.refuse("state component ", x.component.get(), " does not fit this processor");
    });
    image::for_each<state::thread_settings>(metadata_,
                                            [&](const state::thread_settings& s, bytes affinity) {
                                              if (restored* r = with_tid(s.tid); r != nullptr) {
                                                r->settings = s;
                                                r->affinity = affinity;
                                                r->has_settings = true;
                                              }
                                            });
    image::for_each<state::credentials>(metadata_, [&](const state::credentials& c, bytes groups) {
      if (restored* r = with_tid(c.tid); r != nullptr) {
        r->credentials = c;
        r->groups = groups;
        r->has_credentials = true;
      }
    });
    image::for_each<state::pending_signal>(metadata_, [&](const state::pending_signal& p, bytes) {
      if (restored* r = p.thread != 0 ? with_tid(p.thread) : nullptr; r != nullptr)
        r->has_pending = true;
    });
    return outcome;
  }

  result<void> start_one(restored& r, u64 stack) {
    using namespace sys::abi;
    const i32 wanted_tid = r.saved.tid;
    clone_args args{};
    args.flags = clone_vm | clone_fs | clone_files | clone_sighand | clone_thread | clone_sysvsem |
                 clone_parent_settid;
    args.parent_tid = reinterpret_cast<u64>(&r.tid);
    args.stack = stack;
    args.stack_size = stack_size;
    const bool keeps_number = h_.tids_kept != 0;
    if (keeps_number) {
      args.set_tid = reinterpret_cast<u64>(&wanted_tid);
      args.set_tid_size = 1;
    }
    long made = start_thread(&args, sizeof args, &main_of, &r);
    // The numbers were free when the restart began. A process that has taken one since may be gone
    // in an instant.
    for (; made == -static_cast<long>(errc::exists) && keeps_number && waits_ < 200; ++waits_) {
      (void)sys::nanosleep({0, 1'000'000});
      made = start_thread(&args, sizeof args, &main_of, &r);
    }
    if (made < 0 && keeps_number) {
      lost_("the number of a thread", static_cast<errc>(-made));
      args.set_tid = args.set_tid_size = 0;
      made = start_thread(&args, sizeof args, &main_of, &r);
    }
    if (made == -static_cast<long>(errc::no_system_call))  // a filter of a container
      made = start_task(args.flags, reinterpret_cast<void*>(stack + stack_size), &r.tid, nullptr,
                        &main_of, &r);
    if (made < 0) return static_cast<errc>(-made);
    return {};
  }

  static void main_of(void* argument) {
    auto& r = *static_cast<restored*>(argument);
    threads_restore& all = *r.owner;
    all.set_up(r);
    (void)__atomic_add_fetch(&all.set_up_, 1u, __ATOMIC_RELEASE);
    (void)sys::futex_wake(&all.set_up_, 1);
    bool ran = false;
    for (;;) {
      const u32 now = __atomic_load_n(&all.step_, __ATOMIC_ACQUIRE);
      if (now == static_cast<u32>(step::last)) break;
      if (now == static_cast<u32>(step::function) && all.runs_it_ == &r && !ran) {
        ran = true;
        all.function_(all.metadata_);
        __atomic_store_n(&all.function_done_, 1u, __ATOMIC_RELEASE);
        (void)sys::futex_wake(&all.function_done_, 1);
      }
      (void)sys::futex_wait(&all.step_, now, nullptr);
    }
    all.finish(r);
    agent_leave(r.frame.stack_pointer(), state::flags_beside_frame(r.frame));
  }

  /// Before timers and signals of the process are back.
  // Context: the thread in question, in restored memory
  void set_up(restored& r) {
    const auto& t = r.saved;
    r.tid = sys::gettid();
    fixed_text<17> name;
    name.append(t.name.view());
    (void)sys::prctl(sys::abi::pr_set_name, name.c_str());
    (void)sys::arch_prctl(sys::abi::arch_set_fs, t.fs_base.get());
    (void)sys::arch_prctl(sys::abi::arch_set_gs, t.gs_base.get());
    (void)sys::set_tid_address(t.clear_child_tid);
    mend_thread_id(t, r.tid);
    if (t.robust_list != 0) (void)sys::set_robust_list(t.robust_list, t.robust_list_size);
    if (t.rseq_size != 0) (void)sys::rseq(t.rseq_address, t.rseq_size, 0, t.rseq_signature);
    if (r.has_settings) state::restore_thread_settings(r.settings, r.affinity, lost_);
  }

  /// To itself a thread may queue any signal, to another not.
  // Context: the thread in question, all signals blocked
  void queue_own(const restored& r) {
    image::for_each<state::pending_signal>(metadata_, [&](const state::pending_signal& p, bytes) {
      sys::abi::siginfo info{};
      std::memcpy(&info, &p.info, sizeof info);
      // Those of timers come from the timers.
      if (p.thread != r.saved.tid || info.si_code == sys::abi::si_timer) return;
      if (auto q = state::restore_pending(p, sys::getpid(), r.tid); !q.ok())
        lost_("a pending signal of a thread (RLIMIT_SIGPENDING?)", q.error());
    });
  }

  /// What would hinder the restore, and what comes last.
  // Context: the thread in question, all signals blocked
  void finish(restored& r) {
    if (r.has_pending && &r != leader_) queue_own(r);
    if (r.has_settings) state::finish_thread_settings(r.settings, lost_);
    if (r.has_credentials) give_up_privileges(r);
    auto& context = r.frame.context();
    restart_timed_call(context.uc_mcontext);
    end_call_for_own_signal(context, r.saved.flags.has(state::thread_flag::call_made_again),
                            trigger_entry_, &r == leader_ ? 0 : the_leaders(r));
  }

  /// A signal to the process is the main thread's where that does not block it (signal(7)).
  [[nodiscard]] u64 the_leaders(const restored& r) const {
    if (leader_ == nullptr) return 0;
    u64 own = 0;
    image::for_each<state::pending_signal>(metadata_, [&](const state::pending_signal& p, bytes) {
      if (p.thread == r.saved.tid) own |= u64{1} << (p.signal - 1);
    });
    return ~leader_->saved.signal_mask & ~own;
  }

  /// The thread gets its users, groups and capabilities back. An image without them comes from a
  /// version that left them as they are.
  // Context: the thread in question, all signals blocked
  [[gnu::cold]] void give_up_privileges(const restored& r) {
    const state::credentials_bound bound{h_.capabilities, h_.own_user_namespace != 0};
    const auto outcome = state::restore_credentials(r.credentials, r.groups, bound,
                                                    [&](std::string_view what, errc error) {
                                                      if (h_.verbose != 0) lost_(what, error);
                                                    });
    if (outcome.ok()) return;
    report why;
    (void)why.explain(outcome.error(), "cannot become user ", r.credentials.effective_uid.get(),
                      ", group ", r.credentials.effective_gid.get(),
                      " again, and as it is the program would have more rights than it had");
    fail_(h_, why);
  }

  const image::handover& h_;
  bytes metadata_;
  void (*lost_)(std::string_view what, errc error);
  void (*fail_)(const image::handover& h, const report& why);
  u64 trigger_entry_;
  state::extended_layout layout_;
  range frames_;
  range stacks_;
  restored* leader_ = nullptr;
  u64 stride_ = 0;
  u32 count_ = 0;
  u32 recent_ = 0;
  u32 started_ = 0;
  u32 set_up_ = 0;
  u32 step_ = 0;
  u32 function_done_ = 0;
  void (*function_)(bytes) = nullptr;
  restored* runs_it_ = nullptr;
  u32 waits_ = 0;
  alignas(state::signal_frame::alignment) std::byte room_for_one_[20 * 1024];
};

}  // namespace ckpt::agent
