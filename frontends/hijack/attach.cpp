// SPDX-License-Identifier: MIT
#include "attach.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <array>
#include <climits>
#include <cstddef>
#include <list>
#include <new>
#include <thread>

#include "../agent/config.hpp"
#include "../agent/interrupted_call.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/sys/file.hpp"
#include "first_look.hpp"
#include "other_process.hpp"
#include "outside.hpp"

namespace ckpt::hijack {
namespace {

constexpr auto not_permitted = static_cast<errc>(EPERM), no_such = static_cast<errc>(ESRCH);

// --- all threads -----------------------------------------------------------------------------

/// Every thread of a process. The end of this object lets all of them go.
class all_threads {
 public:
  explicit all_threads(pid_t pid) : pid_(pid) {}
  all_threads(const all_threads&) = delete;
  all_threads& operator=(const all_threads&) = delete;

  /// One that is born meanwhile is seen by the next pass.
  result<void> hold(report& why) {
    for (bool grown = true; grown;) {
      grown = false;
      for (const pid_t tid : numbers_in(proc(pid_, "task"))) {
        if (is_known(tid)) continue;
        const char state = state_of(proc(pid_, "task/" + std::to_string(tid))).letter;
        if (state == 'Z' || state == 'X' || state == '?') continue;
        grown = true;
        CKPT_TRY(meet(tid));
      }
      for (auto t = threads_.begin(); t != threads_.end();)
        t = CKPT_TRY(stands_still(*t, why)) ? std::next(t) : threads_.erase(t);
    }
    return threads_.empty() ? result<void>(errc::gone) : result<void>();
  }

  /// Whether one stands in this memory. `borrowed` are the registers of the one that has been lent.
  result<bool> any_in(range memory, const registers& borrowed) const {
    if (memory.contains(borrowed.rip)) return true;
    for (const held& t : threads_) {
      registers r{};
      iovec room{&r, sizeof r};
      if (ptrace(PTRACE_GETREGSET, t.tid, NT_PRSTATUS, &room) != 0) return static_cast<errc>(errno);
      if (memory.contains(r.rip)) return true;
    }
    return false;
  }

  /// Whether one blocks every signal: it may be on its way back from another who was killed, by the
  /// frame that he has laid.
  [[nodiscard]] bool any_blocks_all() const {
    constexpr u64 never_blocked = u64{1} << (SIGKILL - 1) | u64{1} << (SIGSTOP - 1);
    for (const held& t : threads_) {
      u64 mask = 0;
      if (ptrace(PTRACE_GETSIGMASK, t.tid, sizeof mask, &mask) == 0 && (mask | never_blocked) == ~u64{0})
        return true;
    }
    return false;
  }

  /// Best is one that computes, or sleeps without a time limit of the kernel's; the main thread of
  /// several such.
  result<pid_t> suitable() const {
    pid_t best = 0;
    int best_rank = -1;
    for (const held& t : threads_) {
      registers r{};
      iovec room{&r, sizeof r};
      if (ptrace(PTRACE_GETREGSET, t.tid, NT_PRSTATUS, &room) != 0) return static_cast<errc>(errno);
      if (!runs_native_code(r)) continue;
      const bool has_limit = static_cast<i64>(r.orig_rax) >= 0 &&
                             static_cast<i64>(r.rax) == sys::abi::restart_block;
      const int rank = (has_limit ? 0 : 2) + (t.tid == pid_ ? 1 : 0);
      if (rank > best_rank) best = t.tid, best_rank = rank;
    }
    if (best == 0) return errc::not_found;
    return best;
  }

 private:
  struct held {
    explicit held(pid_t t) : tid(t), thread(t) {}
    pid_t tid;
    held_thread thread;
    bool still = false;
  };

  [[nodiscard]] bool is_known(pid_t tid) const {
    for (const held& t : threads_)
      if (t.tid == tid) return true;
    return false;
  }

  result<void> meet(pid_t tid) {
    held& t = threads_.emplace_back(tid);
    const auto seized = t.thread.seize(PTRACE_O_TRACESYSGOOD);
    if (seized.ok()) return {};
    threads_.pop_back();
    if (seized.error() == no_such) return {};
    // One on its way out lets nobody trace it from a moment before it counts as ended.
    const auto state = state_of(proc(pid_, "task/" + std::to_string(tid)));
    if (seized.error() == not_permitted && (state.flags & proc::task_exiting) != 0) return {};
    return seized;
  }

  /// False for one that has ended.
  result<bool> stands_still(held& t, report& why) {
    if (t.still) return true;
    auto stopped = t.thread.wait();
    // One that waits for a processor on a busy machine will stop as soon as it gets one.
    for (int more = 0; stopped.error() == errc::busy && more < 10; ++more) {
      if (state_of(proc(pid_, "task/" + std::to_string(t.tid))).letter != 'R') break;
      stopped = t.thread.wait();
    }
    if (stopped.error() == errc::gone || stopped.error() == no_such) return false;
    if (stopped.error() == errc::busy)
      return why.refuse("thread ", t.tid, " does not stop (inside vfork, or in a call that nothing "
                        "interrupts); try again when it has come back");
    CKPT_TRY(stopped);
    t.still = true;
    CKPT_TRY(leave_calls_to_kernel(t));
    return true;
  }

  /// Some calls say EINTR at once instead of leaving the choice to the kernel (signal(7)). Left to it,
  /// they are made again unless a signal with a handler has come.
  static result<void> leave_calls_to_kernel(const held& t) {
    sys::abi::user_regs now{};
    u64 size = sizeof now;
    CKPT_TRY(t.thread.get(NT_PRSTATUS, &now, size));
    if (static_cast<i64>(now.rax) != -EINTR || static_cast<i64>(now.orig_rax) < 0 ||
        !agent::can_be_interrupted(now.orig_rax))
      return {};
    now.rax = static_cast<u64>(sys::abi::restart_no_hand);
    return t.thread.set_registers(now);
  }

  pid_t pid_;
  std::list<held> threads_;
};

// --- the way back ----------------------------------------------------------------------------

/// `syscall`, and what follows it up to a return; and a return from a signal. Both are in the code of
/// nearly every program.
struct gadgets {
  u64 call = 0;      // `syscall; …; ret`
  u64 pad = 0;       // what that takes from the stack before it returns
  u64 back = 0;      // `mov $15, %eax; syscall`
  u64 back_call = 0; // the `syscall` of it
  [[nodiscard]] bool complete() const { return call != 0 && back != 0; }
};

/// Whether nothing but the stack pointer and registers changes up to a return.
bool returns_soon(const u8* code, std::size_t size, u64& pad) {
  pad = 0;
  for (std::size_t i = 0; i < size && i < 32;) {
    const u8 c = code[i];
    if (c == 0xc3) return true;
    if (c >= 0x58 && c <= 0x5f && c != 0x5c) {  // pop
      pad += 8, i += 1;
    } else if (c == 0x41 && i + 1 < size && code[i + 1] >= 0x58 && code[i + 1] <= 0x5f) {
      pad += 8, i += 2;
    } else if (c == 0x48 && i + 3 < size && code[i + 1] == 0x83 && code[i + 2] == 0xc4 &&
               code[i + 3] < 0x80) {  // add $n, %rsp
      pad += code[i + 3], i += 4;
    } else {
      return false;
    }
  }
  return false;
}

void find_in(bytes code, u64 address, gadgets& found) {
  const auto* p = reinterpret_cast<const u8*>(code.data());
  for (std::size_t i = 0; i + 2 <= code.size() && !found.complete(); ++i) {
    if (p[i] != system_call_instruction[0] || p[i + 1] != system_call_instruction[1]) continue;
    constexpr std::array<u8, 4> fifteen{15, 0, 0, 0};
    if (found.back == 0 && i >= 7 && std::memcmp(p + i - 4, fifteen.data(), 4) == 0) {
      const bool is_short = p[i - 5] == 0xb8;
      const bool is_long = p[i - 7] == 0x48 && p[i - 6] == 0xc7 && p[i - 5] == 0xc0;
      if (is_short || is_long) found.back = address + i - (is_short ? 5 : 7), found.back_call = address + i;
    }
    u64 pad = 0;
    if (found.call == 0 && returns_soon(p + i + 2, code.size() - i - 2, pad))
      found.call = address + i, found.pad = pad;
  }
}

gadgets find_gadgets(pid_t tid, const std::vector<code_mapping>& code) {
  constexpr u64 piece = 256 * 1024, overlap = 64, enough = u64{64} << 20;
  gadgets found;
  u64 read = 0;
  for (const auto& m : code)
    for (u64 at = m.where.begin; at < m.where.end && !found.complete() && read < enough; at += piece) {
      std::vector<std::byte> text(std::min(piece + overlap, m.where.end - at));
      read += text.size();
      if (copy(false, tid, at, text.data(), text.size()).ok()) find_in(text, at, found);
    }
  return found;
}

/// The lowest pages of the main stack, which the kernel makes larger than most programs need: where
/// the main thread is above them, or nobody has ever written, nothing is lost.
constexpr u64 frame_size = agent::outside_room_size;
constexpr u64 tail_size = 448;  // of state::signal_frame: a word, the return address, what is restored
constexpr u64 return_word = 8, red_zone = 128;

u64 place_for_frame(pid_t pid, pid_t borrowed, u64 back) {
  const std::string maps = text_of_file(proc(pid, "maps"));
  range stack{};
  for (std::size_t from = 0; from < maps.size();) {
    const std::string line = maps.substr(from, maps.find('\n', from) - from);
    from += line.size() + 1;
    unsigned long long begin = 0, end = 0;
    if (line.ends_with("[stack]") && line.find(" rw") != std::string::npos &&
        std::sscanf(line.c_str(), "%llx-%llx", &begin, &end) == 2)
      stack = {begin, end};
  }
  if (stack.length() < 4 * frame_size) return 0;
  registers r{};
  iovec room{&r, sizeof r};
  if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &room) != 0) r.rsp = 0;  // the main thread has ended
  const u64 end = stack.begin + frame_size;
  if (stack.contains(r.rsp)) return r.rsp >= end + red_zone ? stack.begin : 0;
  std::vector<std::byte> there(frame_size);
  if (!copy(false, borrowed, stack.begin, there.data(), there.size()).ok()) return 0;
  // Or the frame that another has left who was killed.
  u64 left = 0;
  std::memcpy(&left, there.data() + frame_size - tail_size + return_word, sizeof left);
  if (left == back) return stack.begin;
  for (const std::byte b : there)
    if (b != std::byte{0}) return 0;
  return stack.begin;
}

// --- the borrowed thread ---------------------------------------------------------------------

/// A thread that stands still at a signal's place in the kernel, and again at the end: there an
/// interrupted call is made again, or ended by a handler, as the kernel would have done it.
class visit {
 public:
  visit(tracee& t, const gadgets& g, u64 frame_at) : t_(t), gadgets_(g), frame_at_(frame_at) {}
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;
  ~visit() { (void)end(); }

  result<void> begin() {
    const pid_t tid = t_.tid();
    stood_ = CKPT_TRY(t_.get_registers());
    if (static_cast<i64>(stood_.orig_rax) < 0) {
      sys::abi::user_regs r{};
      static_assert(sizeof r == sizeof stood_);
      std::memcpy(&r, &stood_, sizeof r);
      abort_restartable_sequence(tid, r);
      stood_.rip = r.rip;
    }
    if (ptrace(PTRACE_GETSIGMASK, tid, sizeof mask_, &mask_) != 0) return static_cast<errc>(errno);
    iovec room{vectors_.data(), vectors_.size()};
    if (ptrace(PTRACE_GETREGSET, tid, vector_state_note, &room) != 0) return static_cast<errc>(errno);
    vectors_length_ = room.iov_len;
    base_ = stood_;
    base_.orig_rax = ~u64{0};
    if (frame_at_ != 0) CKPT_TRY(lay_frame());
    u64 all = ~u64{0};
    begun_ = true;
    if (frame_at_ != 0) CKPT_TRY(t_.set_registers(base_));
    if (ptrace(PTRACE_SETSIGMASK, tid, sizeof all, &all) != 0) return static_cast<errc>(errno);
    return {};
  }

  [[nodiscard]] const registers& base() const { return base_; }
  [[nodiscard]] const registers& stood() const { return stood_; }
  [[nodiscard]] bool safe() const { return frame_at_ != 0; }
  /// What is restored, to be laid at the end of another stack.
  [[nodiscard]] const std::array<std::byte, tail_size>& tail() const { return tail_; }

  /// The mask first, the registers last: each state between goes on by itself.
  result<void> end() {
    if (!begun_) return {};
    begun_ = false;
    const pid_t tid = t_.tid();
    if (tid == 0) return errc::gone;
    CKPT_TRY(to_signals_place());
    if (ptrace(PTRACE_SETSIGMASK, tid, sizeof mask_, &mask_) != 0) return static_cast<errc>(errno);
    iovec room{vectors_.data(), vectors_length_};
    if (ptrace(PTRACE_SETREGSET, tid, vector_state_note, &room) != 0) return static_cast<errc>(errno);
    CKPT_TRY(t_.set_registers(stood_));
    if (frame_at_ != 0) (void)copy(true, tid, frame_at_, before_.data(), before_.size());
    return {};
  }

 private:
  /// A frame by which the thread goes back to what it was doing, should nobody else see to it.
  result<void> lay_frame() {
    alignas(64) std::byte room[frame_size] = {};
    if (vectors_length_ > sizeof room - 2 * tail_size) {
      frame_at_ = 0;
      return {};
    }
    std::memcpy(room, vectors_.data(), vectors_length_);
    const auto layout = layout_for(room);
    if (state::signal_frame::size_for(layout) > sizeof room) {
      frame_at_ = 0;
      return {};
    }
    state::signal_frame frame(room, layout);
    registers r = stood_;
    // What is left of its time the kernel forgets by a signal's return: it begins anew.
    if (static_cast<i64>(r.orig_rax) >= 0 && static_cast<i64>(r.rax) == sys::abi::restart_block)
      r.rax = static_cast<u64>(sys::abi::restart_no_hand);
    make_interrupted_call_again(r);
    state::thread t{};
    sys::abi::sigcontext c{};
    c.r8 = r.r8, c.r9 = r.r9, c.r10 = r.r10, c.r11 = r.r11, c.r12 = r.r12, c.r13 = r.r13;
    c.r14 = r.r14, c.r15 = r.r15, c.rdi = r.rdi, c.rsi = r.rsi, c.rbp = r.rbp, c.rbx = r.rbx;
    c.rdx = r.rdx, c.rax = r.rax, c.rcx = r.rcx, c.rsp = r.rsp, c.rip = r.rip, c.eflags = r.eflags;
    state::registers_from(c, t);
    t.signal_mask = mask_;
    state::set_context(frame, t);
    frame.context().uc_mcontext.fpstate = frame_at_;
    std::byte* tail = room + sizeof room - tail_size;
    std::memcpy(tail + return_word, &gadgets_.back, sizeof gadgets_.back);
    std::memcpy(tail_.data(), tail, tail_size);
    before_.resize(sizeof room);
    CKPT_TRY(copy(false, t_.tid(), frame_at_, before_.data(), before_.size()));
    CKPT_TRY(copy(true, t_.tid(), frame_at_, room, sizeof room));
    // As after a call: what follows it returns to the frame's return address.
    base_.rip = gadgets_.call + system_call_instruction.size();
    base_.rsp = frame_at_ + frame_size - tail_size + return_word - gadgets_.pad;
    base_.rax = 0;
    base_.eflags = 0x202;  // interrupts, nothing else
    return {};
  }

  /// From the exit of a call to where signals are delivered. None of its instructions runs.
  result<void> to_signals_place() {
    if (frame_at_ != 0) CKPT_TRY(t_.set_registers(base_));
    CKPT_TRY(t_.interrupt());
    for (int signal = 0;;) {
      CKPT_TRY(t_.go_on(signal));
      const stop s = CKPT_TRY(t_.wait());
      if (s.kind == stop_kind::ended) return errc::gone;
      if (s.kind == stop_kind::group) return {};
      signal = s.kind == stop_kind::signal ? s.number : 0;
    }
  }

  tracee& t_;
  gadgets gadgets_;
  u64 frame_at_;
  registers stood_{}, base_{};
  u64 mask_ = 0;
  bool begun_ = false;
  std::size_t vectors_length_ = 0;
  std::vector<std::byte> vectors_ = std::vector<std::byte>(64 * 1024);
  std::vector<std::byte> before_;
  std::array<std::byte, tail_size> tail_{};
};

// --- the agent -------------------------------------------------------------------------------

/// Code, too, which the thread itself cannot write.
result<void> write_anywhere(const tracee& t, u64 to, bytes from) {
  const sys::unique_fd memory(open(proc(t.tid(), "mem").c_str(), O_RDWR | O_CLOEXEC));
  if (memory && pwrite(memory.get(), from.data(), from.size(), static_cast<off_t>(to)) ==
                    static_cast<ssize_t>(from.size()))
    return {};
  for (u64 i = 0; i < from.size(); i += sizeof(u64)) {
    u64 word = 0;
    std::memcpy(&word, from.data() + i, sizeof word);
    CKPT_TRY(t.poke(remote_ptr<u64>(to + i), word));
  }
  return {};
}

/// Into anonymous memory: a file may be out of the process's sight (another mount namespace, chroot),
/// and no descriptor is needed.
result<u64> map_by_copy(const shared_object& object, tracee& t, remote_caller& caller) {
  const u64 base = CKPT_TRY(caller.system_call(SYS_mmap, 0, object.length(), PROT_NONE,
                                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  const auto filled = [&]() -> result<void> {
    for (const auto& s : object.segments()) {
      CKPT_TRY(caller.system_call(SYS_mmap, base + s.memory.begin, s.memory.length(), s.protection,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
      const u64 of_file = page_up(s.file_end);
      if (of_file <= s.memory.begin) continue;
      std::vector<std::byte> text(of_file - s.memory.begin);
      object.relocated(s, base, s.memory.begin, text);
      CKPT_TRY(write_anywhere(t, base + s.memory.begin, text));
    }
    if (const range relro = object.read_only_after_relocation(); !relro.empty())
      CKPT_TRY(caller.system_call(SYS_mprotect, base + relro.begin, relro.length(), PROT_READ));
    return {};
  }();
  if (filled.ok()) return base;
  (void)caller.system_call(SYS_munmap, base, object.length());
  return filled.error();
}

struct call_of_agent {
  u64 what = agent::injected_options;
  std::string_view options;
  range memory;  // where it lies, for one that begins
};

/// function(injected_mark, given, …) on borrowed memory.
result<agent::injected> call_agent(tracee& t, remote_caller& caller, const visit& v,
                                   const gadgets& g, u64 function, const call_of_agent& call,
                                   report& why) {
  const std::string_view options = call.options;
  constexpr u64 stack = 128 * 1024;
  borrowed_memory memory(caller);
  CKPT_TRY(memory.take(page_up(sizeof(agent::injected) + options.size()) + stack));
  const auto given_at = memory.begin().as<agent::injected>();
  const auto options_at = (given_at + 1).as<void>();
  agent::injected given{};
  given.options = options_at.address(), given.options_length = options.size();
  given.running = call.what;
  given.base = call.memory.begin, given.length = call.memory.length();
  CKPT_TRY(t.write(given_at, given));
  CKPT_TRY(t.write(options_at, bytes_of_text(options)));
  const std::array<u64, 3> arguments{agent::injected_mark, given_at.address(), options.size()};
  result<void> called = errc::none;
  if (v.safe()) {
    const remote_address tail(memory.end().address() - tail_size);
    CKPT_TRY(t.write(tail, v.tail()));
    called = caller.function_call_through(remote_address(function), arguments, tail + return_word,
                                          remote_address(g.back_call));
  } else {
    called = caller.function_call(remote_address(function), arguments, memory.end());
  }
  if (!called.ok() && caller.fatal_signal() != 0)
    return why.refuse("the agent died in it of signal ", caller.fatal_signal(), "; report this");
  CKPT_TRY(called);
  CKPT_TRY(t.read(given_at.as<void>(), std::as_writable_bytes(std::span(&given, 1))));
  return given;
}

}  // namespace

class attachment {
 public:
  attachment(const attach_plan& plan, attached& done) : plan_(plan), done_(done) {}

  /// errc::again when another moment may do.
  result<void> make(pid_t pid, int tries, report& why) {
    last_try_ = tries > 200;
    early_ = tries < 40;
    look_.pid_ = program_behind(pid);
    const pid_t there = look_.pid_;
    CKPT_TRY(look_.look_before(why));
    if (is_32_bit(there)) return refuse_32_bit(why);
    const std::string status = text_of_file(proc(there, "status"));
    if (proc::status_seccomp(status).value_or(0) != 0 && !plan_.try_seccomp)
      return refuse_filtered(why);
    if (const int tracer = proc::status_tracer(status).value_or(0); tracer != 0 && ++traced_ > 40)
      return refuse_traced(tracer, why);
    else if (tracer != 0)
      return errc::again;
    auto agent_there = look_for_agent(why);
    if (!agent_there.ok()) return agent_there.error();
    const bool about_to_begin = !*agent_there && is_about_to_begin(there);
    // What was about to begin at the first look may have begun by the second.
    if (!*agent_there && !about_to_begin) agent_there = look_for_agent(why);
    if (!agent_there.ok()) return agent_there.error();
    done_.was_there = *agent_there;
    if (about_to_begin) {
      if (++beginning_ > 2000)
        return refuse_beginning(why);
      return errc::again;
    }
    if (plan_.remove && !*agent_there) return why.refuse("there is no agent in it");
    if (*agent_there && !plan_.remove && (plan_.only_new || plan_.options.empty())) return {};
    return beside(why);
  }

 private:
  struct told {
    result<void> outcome = errc::gone;
    report why;
    attached done;
  };

  result<bool> look_for_agent(report& why) {
    report unsaid;
    const auto found = look_.find_agent(unsaid);
    if (found.ok()) return true;
    if (look_.no_agent_) return false;
    return why.refuse(unsaid.line());
  }

  /// In a process of its own, which no signal to this one and not its death disturbs. Where only
  /// ancestors may look (Yama), in a thread of ours.
  result<void> beside(report& why) {
    void* room =
        mmap(nullptr, sizeof(told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) return static_cast<errc>(errno);
    auto* shared = new (room) told;
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    const pid_t tracer = fork();
    if (tracer == 0) {
      (void)setsid();
      shared->outcome = work(shared->why);
      shared->done = done_;
      _exit(0);
    }
    while (tracer > 0 && waitpid(tracer, nullptr, 0) < 0 && errno == EINTR) {
    }
    sigprocmask(SIG_SETMASK, &before, nullptr);
    auto outcome = tracer < 0 ? result<void>(static_cast<errc>(errno)) : shared->outcome;
    if (outcome.error() == errc::refused) (void)why.refuse(shared->why.line());
    if (outcome.ok()) done_ = shared->done;
    munmap(room, sizeof(told));
    if (outcome.error() != not_permitted) return outcome;
    std::thread ours([&] { outcome = work(why); });
    ours.join();
    return outcome;
  }

  result<void> work(report& why) {
    const pid_t pid = look_.pid_;
    bool readable = false;
    const gadgets found = find_gadgets(look_.thread_, code_of(look_.thread_, readable));
    const std::string maps = text_of_file(proc(pid, "maps"));
    all_threads threads(pid);
    threads_ = &threads;
    CKPT_TRY(threads.hold(why));
    if (early_ && threads.any_blocks_all()) return errc::again;
    const auto chosen = threads.suitable();
    if (chosen.error() == errc::not_found) return why.refuse("it is running 32-bit code");
    CKPT_TRY(chosen);
    look_.thread_ = *chosen;
    // Somebody may have been here meanwhile.
    if (!done_.was_there && text_of_file(proc(pid, "maps")) != maps &&
        (CKPT_TRY(look_for_agent(why)) || is_about_to_begin(pid)))
      return errc::again;
    gadgets now = found;
    if (!still_there(now)) now = {};
    if (done_.was_there) {
      const auto busy = CKPT_TRY(look_.busy());
      if (busy != 0) return errc::again;
    }
    tracee t;
    t.adopt(*chosen);
    auto outcome = enter(t, now, now.complete() ? place_for_frame(pid, *chosen, now.back) : 0, why);
    if (t.tid() == 0) return why.refuse("it has ended");
    t.forget();  // `threads` lets it go
    return outcome;
  }

  [[nodiscard]] bool still_there(const gadgets& g) const {
    const auto is = [&](u64 at) {
      const auto code = peek<std::array<u8, 2>>(look_.thread_, at);
      return code.ok() && *code == system_call_instruction;
    };
    return g.complete() && is(g.call) && is(g.back_call);
  }

  result<void> enter(tracee& t, const gadgets& g, u64 frame_at, report& why) {
    visit v(t, g, frame_at);
    CKPT_TRY(v.begin());
    call_site site(t);
    if (v.safe())
      site.use(remote_address(g.call));
    else
      CKPT_TRY(find_site(site, v.base()));
    remote_caller caller(t, v.base(), site.address());
    const auto in_place = done_.was_there ? configure(t, caller, v, g, why)
                                          : put_in(t, caller, v, g, why);
    if (auto r = v.end(); !r.ok()) return r;
    return in_place;
  }

  result<void> find_site(call_site& site, const registers& r) {
    bool readable = false;
    for (const auto& m : code_of(look_.thread_, readable))
      for (u64 page = m.where.begin; page < m.where.end; page += page_size)
        if (site.find(remote_address(page)).ok()) return {};
    return site.borrow(remote_ptr<u64>(page_down(program_counter(r))));
  }

  result<void> put_in(tracee& t, remote_caller& caller, const visit& v, const gadgets& g,
                      report& why) {
    const auto base = map_by_copy(plan_.agent, t, caller);
    if (!base.ok()) return why.explain(base.error(), "it cannot map the agent");
    std::string options = plan_.options;
    if (!options.empty()) options += agent::launch_separator;
    options.append(agent::launch_default_name).append("=").append(plan_.default_name);
    for (const u64 constructor : plan_.agent.constructors()) {
      const auto given = call_agent(t, caller, v, g, *base + constructor,
                                    {agent::injected_options, options,
                                     {*base, *base + plan_.agent.length()}},
                                    why);
      if (!given.ok()) {
        if (given.error() != errc::gone)
          (void)caller.system_call(SYS_munmap, *base, plan_.agent.length());
        return given.error();
      }
      if (given->kept_signal != 0) done_.kept_signal = static_cast<int>(given->kept_signal);
    }
    return {};
  }

  result<void> configure(tracee& t, remote_caller& caller, const visit& v, const gadgets& g,
                         report& why) {
    if (plan_.remove) return remove(t, caller, v, g, why);
    const auto given = call_agent(t, caller, v, g, look_.agent_.configure,
                                  {agent::injected_options, plan_.options, {}}, why);
    if (!given.ok()) return given.error();
    if (given->done == 0) return why.refuse("its agent cannot handle that signal");
    return {};
  }

  /// Nobody may come back into it: no thread is there, and no signal leads there any more.
  result<void> remove(tracee& t, remote_caller& caller, const visit& v, const gadgets& g,
                      report& why) {
    const u64 agent = look_.agent_.configure;
    const auto where = CKPT_TRY(call_agent(t, caller, v, g, agent, {agent::injected_where, {}, {}}, why));
    const range memory{where.base, where.base + where.length};
    if (memory.empty())
      return why.refuse("its agent did not come by ckpt -p: it was started by ckpt, or is linked "
                        "with it; -a 0 -z 0 makes it leave signals and clock alone");
    if (CKPT_TRY(threads_->any_in(memory, v.stood()))) {
      if (last_try_) return why.refuse("a thread of it sleeps in the agent since its restart; try again when that "
                        "call has ended");
      return errc::again;
    }
    (void)CKPT_TRY(call_agent(t, caller, v, g, agent, {agent::injected_remove, {}, {}}, why));
    CKPT_TRY(caller.system_call(SYS_munmap, memory.begin, memory.length()));
    return {};
  }

  const attach_plan& plan_;
  attached& done_;
  all_threads* threads_ = nullptr;
  outside_checkpoint look_;
  int traced_ = 0;
  int beginning_ = 0;
  bool last_try_ = false;
  bool early_ = true;  // a program may block every signal for good
};

result<void> put_into_running_program(pid_t pid, const attach_plan& plan, attached& done,
                                      report& why) {
  constexpr int patience_ms = 60'000;
  const auto end = clock::now() + std::chrono::milliseconds(patience_ms);
  attachment a(plan, done);
  for (int tries = 0;; ++tries) {
    const auto made = a.make(pid, tries, why);
    if (made.ok() || made.error() == errc::refused) return made;
    if (made.error() == not_permitted && tries > 20)
      return refuse_stop(why);
    const bool passes = made.error() == not_permitted || made.error() == errc::again ||
                        made.error() == no_such || made.error() == errc::gone;
    if (!passes || clock::now() >= end)
      return why.explain(made.error(), "the agent cannot be put into it");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace ckpt::hijack
