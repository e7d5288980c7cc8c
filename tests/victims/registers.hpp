// SPDX-License-Identifier: MIT
// Holds every register of a set in an assembly loop that does nothing but look for the stop file,
// so that each checkpoint finds the values in registers and nowhere else.
#pragma once

#include <cstddef>

#include "victim.hpp"

struct held {
  alignas(64) unsigned char vector_in[32 * 64];   // 0
  alignas(64) unsigned char vector_out[32 * 64];  // 2048
  unsigned char x87_in[8 * 16];                   // 4096
  unsigned char x87_out[8 * 16];                  // 4224
  uint64_t mask_in[8];                            // 4352
  uint64_t mask_out[8];                           // 4416
  uint64_t general_in[9];                         // 4480
  uint64_t general_out[9];                        // 4552
  uint32_t mxcsr_in, mxcsr_out;                   // 4624, 4628
  uint16_t control_in, control_out;               // 4632, 4634
  uint32_t spins;                                 // 4636
  const char* stop;                               // 4640
};
static_assert(offsetof(held, x87_in) == 4096 && offsetof(held, mask_in) == 4352);
static_assert(offsetof(held, general_in) == 4480 && offsetof(held, general_out) == 4552);
static_assert(offsetof(held, mxcsr_in) == 4624 && offsetof(held, stop) == 4640);

// The loop: access(stop, F_OK) clobbers rax, rcx and r11 only; all else stays in its register.
#define CKPT_HOLD(NAME, LOAD, STORE)                                                               \
  extern "C" void NAME(held*);                                                                     \
  asm(".text\n.globl " #NAME "\n.type " #NAME ",@function\n" #NAME                                 \
      ":\n"                                                                                        \
      "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\n"              \
      "fldcw 4632(%rdi)\nldmxcsr 4624(%rdi)\n"                                                     \
      ".irp i,0,1,2,3,4,5,6,7\n fldt 4096+16*\\i(%rdi)\n.endr\n" LOAD                              \
      "mov 4480(%rdi),%rbx\nmov 4488(%rdi),%rbp\nmov 4496(%rdi),%rdx\nmov 4504(%rdi),%r8\n"        \
      "mov 4512(%rdi),%r9\nmov 4520(%rdi),%r10\nmov 4528(%rdi),%r12\nmov 4536(%rdi),%r13\n"        \
      "mov 4544(%rdi),%r14\nmov 4636(%rdi),%r15d\n"                                                \
      "mov 4640(%rdi),%rdi\nxor %esi,%esi\n"                                                       \
      "1: mov $21,%eax\nsyscall\ntest %eax,%eax\njz 3f\n"                                          \
      "mov %r15d,%ecx\n2: dec %ecx\njnz 2b\njmp 1b\n"                                              \
      "3: pop %rdi\n"                                                                              \
      "mov %rbx,4552(%rdi)\nmov %rbp,4560(%rdi)\nmov %rdx,4568(%rdi)\nmov %r8,4576(%rdi)\n"        \
      "mov %r9,4584(%rdi)\nmov %r10,4592(%rdi)\nmov %r12,4600(%rdi)\nmov %r13,4608(%rdi)\n"        \
      "mov %r14,4616(%rdi)\n"                                                                      \
      "stmxcsr 4628(%rdi)\nfnstcw 4634(%rdi)\n" STORE                                              \
      ".irp i,7,6,5,4,3,2,1,0\n fstpt 4224+16*\\i(%rdi)\n.endr\n"                                  \
      "fninit\npushq $0x1f80\nldmxcsr (%rsp)\npop %rax\n"                                          \
      "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n.size " #NAME ", .-" #NAME \
      "\n")

// `seed` makes the values of one thread different from those of another.
inline void prepare(held& state, size_t vectors, unsigned seed = 0) {
  memset(&state, 0, sizeof state);
  victim::fill(state.vector_in, vectors, 1 + 1000u * seed);
  for (int i = 0; i < 8; ++i) {
    // Eight valid, different extended numbers with all of their 64 significant bits in use.
    victim::fill(state.x87_in + 16 * i, 8, 100u + 1000u * seed + static_cast<unsigned>(i));
    state.x87_in[16 * i + 7] |= 0x80;
    state.x87_in[16 * i + 8] = static_cast<unsigned char>(i);
    state.x87_in[16 * i + 9] = i % 2 ? 0xc0 : 0x40;
  }
  for (unsigned i = 0; i < 8; ++i)
    state.mask_in[i] = 0x0123456789abcdefu * (2 * (i + 8 * seed) + 1);
  for (unsigned i = 0; i < 9; ++i)
    state.general_in[i] = 0xfedcba9876543210u * (2 * (i + 9 * seed) + 1);
  state.mxcsr_in = 0x1f80 | 0x4000 | 0x8000 | 0x0015;  // round up, flush to zero, three flags
  state.control_in = 0x007f | 0x0200 | 0x0400;         // double precision, round down
  state.spins = 300'000;
  state.stop = victim::stop_file;
}

inline void expect_held(const char* what, const void* wanted, const void* got, size_t length) {
  auto* a = static_cast<const unsigned char*>(wanted);
  auto* b = static_cast<const unsigned char*>(got);
  for (size_t i = 0; i < length; ++i)
    if (a[i] != b[i]) {
      victim::lost("%s: byte %zu is %02x instead of %02x", what, i, b[i], a[i]);
      return;
    }
}

inline void verify(const held& state, size_t vectors) {
  expect_held("vector registers", state.vector_in, state.vector_out, vectors);
  for (int i = 0; i < 8; ++i)
    expect_held("x87 register", state.x87_in + 16 * i, state.x87_out + 16 * i, 10);
  for (int i = 0; i < 9; ++i)
    victim::expect_equal("general register", state.general_in[i], state.general_out[i]);
  victim::expect_equal("MXCSR", state.mxcsr_in, state.mxcsr_out);
  victim::expect_equal("x87 control word", state.control_in, state.control_out);
}
