// SPDX-License-Identifier: MIT
//
// Registers through a frame of our own: captured in the handler of a real signal, put into a frame,
// entered by rt_sigreturn in a child, and looked at there by code that touches nothing before.
#include "ckpt/state/x86_64/signal_frame.hpp"

#include <immintrin.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <vector>

#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/in_child.hpp"

extern "C" {
// What the landing place found. Plain memory, because nothing may be called before it is stored.
alignas(64) unsigned char ckpt_test_vectors[64];
unsigned ckpt_test_mxcsr;
unsigned short ckpt_test_x87_control;
unsigned long ckpt_test_registers[4];
unsigned long ckpt_test_stack_pointer;
void ckpt_test_landing();
void ckpt_test_landed();
}

// Stores what it finds, makes the stack what a function expects, and goes on in C++.
asm(R"(
  .pushsection .text
  .globl ckpt_test_landing
ckpt_test_landing:
  vmovdqu %ymm0, ckpt_test_vectors(%rip)
  vmovdqu %ymm15, 32+ckpt_test_vectors(%rip)

  stmxcsr ckpt_test_mxcsr(%rip)
  fnstcw ckpt_test_x87_control(%rip)
  movq %rbx, ckpt_test_registers(%rip)
  movq %r15, 8+ckpt_test_registers(%rip)
  movq %rax, 16+ckpt_test_registers(%rip)
  movq %r8, 24+ckpt_test_registers(%rip)
  movq %rsp, ckpt_test_stack_pointer(%rip)
  andq $-16, %rsp
  call ckpt_test_landed
  .popsection
)");

namespace ckpt::state {
namespace {

constexpr u32 unusual_mxcsr = 0x1f80 | 0x6000;  // round toward zero
constexpr u16 unusual_x87 = 0x0f7f;             // round toward zero, 64 bits of precision

alignas(64) u8 expected_vectors[64];
u64 expected_stack;
u64 expected_mask;

/// A frame with memory of its own.
struct frame_room {
  extended_layout layout = extended_layout::of_this_task();
  std::vector<std::byte> memory{signal_frame::size_for(layout) + signal_frame::alignment};
  signal_frame frame{mutable_bytes(reinterpret_cast<std::byte*>(align_up(
                                       reinterpret_cast<u64>(memory.data()), signal_frame::alignment)),
                                   signal_frame::size_for(layout)),
                     layout};
};

struct captured_state {
  test::vector_memory memory;
  format::metadata_builder records{memory.source()};
  bool good = false;
};
captured_state* capture_into;

void on_signal(int, siginfo_t*, void* raw) {
  sys::abi::sigcontext context{};
  std::memcpy(&context, &static_cast<ucontext_t*>(raw)->uc_mcontext, sizeof context);
  capture_into->good = capture_extended_state(capture_into->records, 7, context,
                                              extended_layout::of_this_task())
                           .ok();
}

__attribute__((target("avx"))) void raise_with_known_vectors() {
  const auto pid = ::getpid();
  asm volatile(
      "vmovdqu %[low], %%ymm0\n\t"
      "vmovdqu %[high], %%ymm15\n\t"
      "ldmxcsr %[mxcsr]\n\t"
      "fldcw %[x87]\n\t"
      "movl %[call], %%eax\n\t"
      "movl %[pid], %%edi\n\t"
      "movl %[signal], %%esi\n\t"
      "syscall\n\t"
      "vzeroupper"
      :
      : [low] "m"(expected_vectors[0]), [high] "m"(expected_vectors[32]),
        [mxcsr] "m"(unusual_mxcsr), [x87] "m"(unusual_x87), [call] "i"(SYS_kill), [pid] "r"(pid),
        [signal] "i"(SIGUSR1)
      : "rax", "rcx", "r11", "rdi", "rsi", "xmm0", "xmm15", "memory");
  const u32 usual_mxcsr = 0x1f80;
  const u16 usual_x87 = 0x037f;
  asm volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(usual_mxcsr), "m"(usual_x87));
}

/// Statuses of the child; 0 is success.
enum status { capture_failed = 10, component_refused, no_avx_component };

int through_a_frame() {
  for (u8 i = 0; i < 64; ++i) expected_vectors[i] = static_cast<u8>(3 * i + 1);
  captured_state saved;
  capture_into = &saved;
  struct ::sigaction action {};
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO;
  ::sigaction(SIGUSR1, &action, nullptr);
  raise_with_known_vectors();
  if (!saved.good) return capture_failed;

  // A frame and a stack of its own, as in the restorer.
  frame_room room;
  signal_frame& frame = room.frame;
  alignas(16) static u8 stack[64 * 1024];
  thread t{};
  t.rip = reinterpret_cast<u64>(&ckpt_test_landing);
  t.rsp = reinterpret_cast<u64>(stack + sizeof stack - 512);
  t.rflags = 0x202u;
  t.rbx = 0xb0b0b0b0b0b0b0b0u;
  t.r15 = 0x1515151515151515u;
  t.rax = 0xaaaaaaaaaaaaaaaau;
  t.r8 = 0x0808080808080808u;
  t.signal_mask = u64{1} << (SIGUSR2 - 1);
  t.alternate_stack_flags = u32{SS_DISABLE};
  expected_stack = t.rsp;
  expected_mask = t.signal_mask;
  begin_frame(frame, t);

  bool avx = false;
  for (format::record_cursor cursor(saved.records.view()); !cursor.done();) {
    const auto view = cursor.next();
    if (!view.ok()) return component_refused;
    const auto s = *wire::decode<extended_state>(view->fixed);
    if (s.tid != 7) return component_refused;
    avx = avx || s.component == 2;
    if (!add_component(frame, s.component, view->tail).ok()) return component_refused;
  }
  if (!avx) return no_avx_component;
  enter(frame);
}

TEST_CASE("vector, x87 and general registers survive a frame of our own") {
  if (!__builtin_cpu_supports("avx")) {
    WARN("this processor has no AVX");
    return;
  }
  CHECK(test::in_child(through_a_frame) == 0);
}

TEST_CASE("vector and x87 registers without a component are in their initial state") {
  CHECK(test::in_child([] {
          if (!__builtin_cpu_supports("avx")) return 0;
          std::memset(expected_vectors, 0, sizeof expected_vectors);
          frame_room room;
          signal_frame& frame = room.frame;
          alignas(16) static u8 stack[64 * 1024];
          thread t{};
          t.rip = reinterpret_cast<u64>(&ckpt_test_landing);
          t.rsp = reinterpret_cast<u64>(stack + sizeof stack - 512);
          t.rbx = 1u;
          t.alternate_stack_flags = u32{SS_DISABLE};
          expected_stack = t.rsp;
          begin_frame(frame, t);
          enter(frame);
          return 1;
        }) == 0);
}

TEST_CASE("the frame is laid out as the kernel checks it") {
  frame_room room;
  signal_frame& frame = room.frame;
  begin_frame(frame, thread{});
  sys::abi::fpx_sw_bytes sw{};
  std::memcpy(&sw, &frame.extended()[sys::abi::fpx_sw_offset], sizeof sw);
  CHECK(sw.magic1 == sys::abi::fp_xstate_magic1);
  CHECK(sw.extended_size == sw.xstate_size + 4);
  CHECK(sw.extended_size <= signal_frame::size_for(room.layout));
  u32 magic2 = 0;
  std::memcpy(&magic2, &frame.extended()[sw.xstate_size], sizeof magic2);
  CHECK(magic2 == sys::abi::fp_xstate_magic2);
  CHECK(frame.context().uc_mcontext.fpstate % 64 == 0);
  CHECK(frame.stack_pointer() == reinterpret_cast<u64>(&frame.context()));
  CHECK((sw.xfeatures & ~sys::arch::enabled_components()) == 0);
  CHECK((sw.xfeatures & 3) == 3);
  u32 mxcsr = 0;  // all exceptions masked, as a process begins
  std::memcpy(&mxcsr, &frame.extended()[24], sizeof mxcsr);
  CHECK(mxcsr == 0x1f80);
}

TEST_CASE("components of another size or without a place are refused") {
  frame_room room;
  signal_frame& frame = room.frame;
  begin_frame(frame, thread{});
  const std::vector<std::byte> raw(room.memory.size());
  const auto add = [&](u32 component, u64 size) {
    return add_component(frame, component, bytes(raw).first(size)).error();
  };
  CHECK(add(0, 512) == errc::none);
  CHECK(add(0, 511) == errc::malformed);
  CHECK(add(0, 0) == errc::malformed);
  CHECK(add(1, 512) == errc::malformed);
  CHECK(add(63, 64) == errc::malformed);
  CHECK(add(1000, 64) == errc::malformed);
  CHECK(add(~0u, 64) == errc::malformed);
  const auto avx = sys::arch::place_of_component(2);
  if (avx.size == 0) return;
  CHECK(add(2, avx.size) == errc::none);
  CHECK(add(2, avx.size - 1) == errc::malformed);
  CHECK(add(2, avx.size + 1) == errc::malformed);
}

TEST_CASE("a frame without extended state has no records of it") {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  CHECK(capture_extended_state(out, 1, sys::abi::sigcontext{}, extended_layout::of_this_task()).ok());
  CHECK(out.size() == 0);
}

}  // namespace

/// Runs in the child with the registers of the frame.
[[noreturn]] void judge() {
  const auto check = [](bool good, int status) {
    if (!good) ::_exit(status);
  };
  check(std::memcmp(ckpt_test_vectors, expected_vectors, 64) == 0, 20);
  check(ckpt_test_stack_pointer == expected_stack, 21);
  if (expected_mask != 0) {
    check(ckpt_test_mxcsr == unusual_mxcsr, 22);
    check(ckpt_test_x87_control == unusual_x87, 23);
    check(ckpt_test_registers[0] == 0xb0b0b0b0b0b0b0b0, 24);
    check(ckpt_test_registers[1] == 0x1515151515151515, 25);
    check(ckpt_test_registers[2] == 0xaaaaaaaaaaaaaaaa, 26);
    check(ckpt_test_registers[3] == 0x0808080808080808, 27);
    u64 mask = 0;
    check(sys::rt_sigprocmask(SIG_BLOCK, nullptr, &mask).ok(), 28);
    check(mask == expected_mask, 29);
  } else {
    check(ckpt_test_x87_control == 0x037f, 30);
  }
  ::_exit(0);
}

}  // namespace ckpt::state

extern "C" void ckpt_test_landed() {
  ckpt::state::judge();
}
