// SPDX-License-Identifier: MIT
//
// The way in for a checkpoint that is asked for from outside (outside_request.hpp).

// The mark by which others find the agent: first in its page.
    .section .text.ckpt_mark, "ax", @progbits
    .balign 4096
    .globl agent_outside_mark
    .hidden agent_outside_mark
agent_outside_mark:
    .ascii "\177ckpt's agent.\n\0"
    .long 2                     // outside_version
    .long 8 * 1024              // of the box
    .quad agent_outside_box - agent_outside_mark
    .quad agent_outside_room - agent_outside_mark
    .quad agent_outside_entry - agent_outside_mark
    .quad agent_busy - agent_outside_mark
    .quad agent_leave - agent_outside_mark
    .quad agent_gate_end - agent_outside_mark
    .quad agent_configure - agent_outside_mark

every_signal:
    .quad -1

// A thread of the program is set here, with what it had in the room as a signal frame has it. Its
// signals are blocked already, unless whoever set it here was killed between the two. Then into the
// handler of the trigger, which returns through that frame.
    .balign 16
    .globl agent_outside_entry
    .hidden agent_outside_entry
    .type agent_outside_entry, @function
agent_outside_entry:
    mov $2, %edi                // SIG_SETMASK
    lea every_signal(%rip), %rsi
    xor %edx, %edx
    mov $8, %r10d
    mov $14, %eax               // __NR_rt_sigprocmask
    syscall
    // Functions that the program wants called run on its stack, below the red zone and the frame of a
    // call that is made again (kept_for_timed_frame). Otherwise that is left alone: a stack of Go's
    // may have room for nothing.
    sub $128 + 256, %rsp
    and $-16, %rsp
    lea agent_outside_room(%rip), %rax
    cmpl $0, agent_callbacks(%rip)
    cmove %rax, %rsp
    // The end of the room is the tail of state::signal_frame: a free word, the return address, a
    // ucontext of 304 bytes, a siginfo of 128.
    xor %edi, %edi
    lea agent_outside_room + 16 * 1024 - 128(%rip), %rsi
    lea agent_outside_room + 16 * 1024 - 432(%rip), %rdx
    call trigger_entry
    lea agent_outside_room + 16 * 1024 - 432(%rip), %rsp
    mov $15, %eax               // __NR_rt_sigreturn
    syscall
    hlt

    .section .bss
    .balign 64
    .skip 12 * 1024             // a stack
    .globl agent_outside_room
    .hidden agent_outside_room
agent_outside_room:
    .skip 16 * 1024
    .globl agent_outside_box
    .hidden agent_outside_box
agent_outside_box:
    .skip 8 * 1024

    .section .note.GNU-stack,"",@progbits
