// SPDX-License-Identifier: MIT
#include "stopped_call.hpp"

#include <sys/mman.h>

#include <vector>

#include "support/catch.hpp"

// What agent.S has: a call of the agent's own, and the place behind it.
asm(R"(
    .globl agent_timed_call, agent_timed_call_done
    .hidden agent_timed_call, agent_timed_call_done
agent_timed_call:
    syscall
agent_timed_call_done:
    hlt
)");

namespace ckpt::agent {
namespace {

constexpr u64 interrupted = static_cast<u64>(-4);
constexpr u64 code = 0x400100;  // behind a system call

/// A thread that was stopped in a call, with a stack of its own.
struct stopped {
  std::vector<std::byte> stack{8192};
  thread_slot slot;

  stopped(u64 number, u64 answer) {
    slot.live = {};
    slot.live.rip = code;
    slot.live.orig_rax = number;
    slot.live.rax = answer;
    slot.live.rsp = reinterpret_cast<u64>(stack.data() + 4096) & ~u64{15};
    slot.rseq = {};
  }
  thread_slot& mend() {
    make_stopped_call_again(copied_memory(), slot);
    return slot;
  }
};

constexpr u64 as_answer(i64 value) { return static_cast<u64>(value); }

TEST_CASE("a thread that was in no call goes on as it is") {
  stopped t(~u64{0}, 7);
  t.mend();
  CHECK(t.slot.live.rip == code);
  CHECK(t.slot.image.rip == code);
  CHECK(t.slot.image.rax == 7);
  CHECK_FALSE(t.slot.made_again);
  // A call that has come back is no call to be made again, whatever it said.
  stopped done(__NR_read, 5);
  done.mend();
  CHECK(done.slot.image.rax == 5);
  CHECK(done.slot.image.rip == code);
}

TEST_CASE("EINTR of epoll_wait becomes the kernel's choice here, and the call itself in the image") {
  stopped t(__NR_epoll_wait, interrupted);
  t.slot.live.r10 = static_cast<u64>(-1);  // for ever
  t.mend();
  CHECK(t.slot.live.rax == as_answer(sys::abi::restart_no_hand));
  CHECK(t.slot.live.orig_rax == __NR_epoll_wait);
  CHECK(t.slot.live.rip == code);
  CHECK(t.slot.image.rip == code - 2);
  CHECK(t.slot.image.rax == __NR_epoll_wait);
  CHECK(t.slot.made_again);
}

TEST_CASE("EINTR of a call that nobody may make twice is the program's") {
  stopped t(__NR_close, interrupted);
  t.mend();
  CHECK(t.slot.live.rax == interrupted);
  CHECK(t.slot.image.rax == interrupted);
  CHECK(t.slot.image.rip == code);
}

TEST_CASE("a time limit goes on in a call of the agent's, below the red zone") {
  stopped t(__NR_epoll_wait, interrupted);
  t.slot.live.r10 = 250;
  const u64 top = t.slot.live.rsp;
  t.mend();
  const u64 call = reinterpret_cast<u64>(&agent_timed_call);
  CHECK(t.slot.live.rip == call + 2);
  CHECK(t.slot.live.rax == as_answer(sys::abi::restart_no_hand));
  CHECK(t.slot.live.rsp <= top - 128 - sizeof(timed_frame));
  CHECK(t.slot.image.rip == call);
  CHECK(t.slot.image.rax == __NR_epoll_wait);
  CHECK(static_cast<i64>(t.slot.image.r10) > 0);
  CHECK(t.slot.image.r10 <= 250);
}

TEST_CASE("what the kernel would restart is made again in the image only") {
  for (const i64 how : {sys::abi::restart_sys, sys::abi::restart_no_intr,
                        sys::abi::restart_no_hand}) {
    stopped t(__NR_read, as_answer(how));
    t.mend();
    CHECK(t.slot.live.rip == code);
    CHECK(t.slot.live.rax == as_answer(how));
    CHECK(t.slot.image.rip == code - 2);
    CHECK(t.slot.image.rax == __NR_read);
    CHECK(t.slot.made_again == (how == sys::abi::restart_no_hand));
  }
}

TEST_CASE("the rest of a sleep is the kernel's here; the image sleeps what the kernel has written") {
  const sys::abi::timespec whole{5, 0};
  const sys::abi::timespec rest{2, 0};
  stopped t(__NR_nanosleep, as_answer(sys::abi::restart_block));
  t.slot.live.rdi = reinterpret_cast<u64>(&whole);
  t.slot.live.rsi = reinterpret_cast<u64>(&rest);
  t.mend();
  CHECK(t.slot.live.rip == code);
  CHECK(t.slot.live.rdi == reinterpret_cast<u64>(&whole));
  CHECK(t.slot.image.rip == reinterpret_cast<u64>(&agent_timed_call));
  const auto& limit = *reinterpret_cast<const sys::abi::timespec*>(t.slot.image.rdi);
  CHECK(limit.tv_sec == 2);
}

TEST_CASE("a sleep that goes on by restart_syscall and whose number is lost ends with EINTR") {
  stopped t(__NR_restart_syscall, as_answer(sys::abi::restart_block));
  t.mend();
  CHECK(t.slot.live.rax == as_answer(sys::abi::restart_block));
  CHECK(t.slot.image.rip == code);
  CHECK(t.slot.image.rax == interrupted);
}

TEST_CASE("a restartable sequence goes on at its abort handler, in the image") {
  struct {
    u32 version = 0, flags = 0;
    u64 start = code - 0x10, length = 0x20, abort = 0x400200;
  } sequence;
  struct {
    u32 cpu_start = 0, cpu = 0;
    u64 current = 0;
  } area;
  area.current = reinterpret_cast<u64>(&sequence);
  stopped t(~u64{0}, 0);
  t.slot.rseq.rseq_abi_pointer = reinterpret_cast<u64>(&area);
  t.mend();
  abort_restartable_sequence(copied_memory(), t.slot);
  CHECK(t.slot.image.rip == 0x400200);
  CHECK(t.slot.live.rip == code);
  // Behind its end it is over.
  t.slot.live.rip = code + 0x10;
  t.mend();
  abort_restartable_sequence(copied_memory(), t.slot);
  CHECK(t.slot.image.rip == code + 0x10);
}

}  // namespace
}  // namespace ckpt::agent
