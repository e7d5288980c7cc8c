// SPDX-License-Identifier: MIT
//
// The few instructions that C++ cannot say: leaving the program's stack, starting the helper,
// returning from the trigger signal.

    .text

// The kernel leaves alignment checks (EFLAGS.AC) as the program has them, and a program may set the
// direction as it likes; compiled code makes unaligned accesses and copies upwards. What the program
// has is in its frame.
    .macro abi_flags
    pushfq
    andl $~0x40400, (%rsp)
    popfq
    .endm

// The handler of the trigger signal: void trigger_entry(int, siginfo*, ucontext*).
// Uses 8 bytes of the program's stack. One checkpoint at a time: a thread that takes a trigger during
// another waits here. trigger_main is told how often threads had been frozen when it came: if that has
// happened again since, its request has been met. What the handler does to registers does not matter,
// rt_sigreturn brings all of them back. Only functions that the program wants called use its stack.
    .balign 16
    .quad agent_retire - .      // for another agent in the same program (other_agent.hpp)
    .ascii "ckptagt1"
    .globl trigger_entry
    .hidden trigger_entry
    .type trigger_entry, @function
trigger_entry:
    push %rbp
    mov %rsp, %rbp
    mov %edi, %r12d
    mov %rsi, %r13
    mov %rdx, %r14
    mov agent_freezes(%rip), %r15d
    xor %eax, %eax
    mov $1, %ecx
    lock cmpxchg %ecx, agent_busy(%rip)
    jz 2f
1:  mov $2, %eax                // somebody waits
    xchg %eax, agent_busy(%rip)
    test %eax, %eax
    jz 2f
    lea agent_busy(%rip), %rdi
    xor %esi, %esi              // FUTEX_WAIT, while it is 2
    mov $2, %edx
    xor %r10d, %r10d
    mov $202, %eax              // __NR_futex
    syscall
    jmp 1b
2:  xor %ebx, %ebx              // nobody has decided yet whether it begins
    cmpl $0, agent_callbacks(%rip)
    jz 3f
    // The program's own functions, on its stack.
    and $-16, %rsp
    abi_flags
    mov %r13, %rdi
    mov %r15d, %esi
    mov %r12d, %edx
    call agent_before
    mov %eax, %ebx
3:  lea agent_trigger_stack_end(%rip), %rsp
    abi_flags
    mov %r12d, %edi
    mov %r13, %rsi
    mov %r14, %rdx
    mov %r15d, %ecx
    mov %ebx, %r8d
    call trigger_main
    mov %eax, %r12d
    cmp $1, %ebx
    jne 4f
    lea -256(%rbp), %rsp        // kept_for_timed_frame
    and $-16, %rsp
    call agent_after
    lea agent_trigger_stack_end(%rip), %rsp
4:  mov %r14, %rdi
    mov %r12d, %esi
    call trigger_end
    mov %rbp, %rsp
    xor %eax, %eax
    xchg %eax, agent_busy(%rip)
    cmp $2, %eax                // a call for nobody: a filter of the program's may kill it for that
    jne 3f
    lea agent_busy(%rip), %rdi
    mov $1, %esi                // FUTEX_WAKE, one
    mov $1, %edx
    xor %r10d, %r10d
    mov $202, %eax
    syscall
3:  pop %rbp
    ret

// int agent_ask(void* request): a checkpoint that the program calls for, with the agent's lock taken and
// all signals blocked. agent_ask_main is told what a function must leave as it was: saved_registers in
// call_frame.hpp. Returns what that returns, and in a restarted program what it has put into the image.
    .globl agent_ask
    .hidden agent_ask
    .type agent_ask, @function
agent_ask:
    push %rbp
    mov %rsp, %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    pushfq
    mov %rsp, %rsi
    lea agent_trigger_stack_end(%rip), %rsp
    abi_flags
    call agent_ask_main
    lea -48(%rbp), %rsp
    popfq
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret

// void agent_call_on_stack(u64 stack, void (*function)(void*), void* argument)
    .globl agent_call_on_stack
    .hidden agent_call_on_stack
    .type agent_call_on_stack, @function
agent_call_on_stack:
    push %rbp
    mov %rsp, %rbp
    mov %rdi, %rsp
    and $-16, %rsp
    abi_flags
    mov %rdx, %rdi
    call *%rsi
    mov %rbp, %rsp
    pop %rbp
    ret

// rt_sigaction(2): the kernel returns from the handler to here.
    .globl trigger_restorer
    .hidden trigger_restorer
    .type trigger_restorer, @function
    nop
trigger_restorer:
    mov $15, %eax               // __NR_rt_sigreturn
    syscall

// long start_task(u64 flags, void* stack_end, int* parent_tid, int* child_tid,
//                 void (*function)(void*), void* argument)
// clone(2); the new task calls function(argument) on its own stack and never returns.
    .globl start_task
    .hidden start_task
    .type start_task, @function
start_task:
    mov %r8, %r11               // function; the kernel destroys r11, so it goes on the stack
    sub $16, %rsi
    mov %r8, (%rsi)
    mov %r9, 8(%rsi)
    mov %rcx, %r10
    xor %r8d, %r8d
    mov $56, %eax               // __NR_clone
    syscall
    test %rax, %rax
    jz 1f
    ret
1:  xor %ebp, %ebp
    pop %rax
    pop %rdi
    and $-16, %rsp
    call *%rax
    hlt

// long start_thread(const struct clone_args*, u64 size, void (*function)(void*), void* argument)
// clone3(2), for a thread with a stack of its own; it calls function(argument) and never returns.
    .globl start_thread
    .hidden start_thread
    .type start_thread, @function
start_thread:
    mov %rdx, %r8               // the kernel leaves both alone
    mov %rcx, %r9
    mov $435, %eax              // __NR_clone3
    syscall
    test %rax, %rax
    jz 1f
    ret
1:  xor %ebp, %ebp
    mov %r9, %rdi
    and $-16, %rsp
    call *%r8
    hlt

// void agent_leave(u64 frame, u64 flags): the last of a restored thread. It says that it is ready,
// waits at the gate without a stack, and returns to the program by rt_sigreturn from the frame.
    .globl agent_leave
    .hidden agent_leave
    .type agent_leave, @function
agent_leave:
    mov %rdi, %rsp
    mov %rsi, %rbx
    lock incl agent_gate_ready(%rip)
    lea agent_gate_ready(%rip), %rdi
    mov $1, %esi                // FUTEX_WAKE, one
    mov $1, %edx
    xor %r10d, %r10d
    mov $202, %eax              // __NR_futex
    syscall
1:  cmpl $0, agent_gate_open(%rip)
    jne 2f
    lea agent_gate_open(%rip), %rdi
    xor %esi, %esi              // FUTEX_WAIT, while it is 0, for ever
    xor %edx, %edx
    xor %r10d, %r10d
    mov $202, %eax
    syscall
    jmp 1b
2:  pushfq                      // over the frame's return address
    or %rbx, (%rsp)
    popfq
    mov $15, %eax               // __NR_rt_sigreturn
    syscall
    hlt

// void agent_leave_last(u64 frame, u64 flags): opens the gate, and goes as all others do; without a
// frame the thread ends.
    .globl agent_leave_last
    .hidden agent_leave_last
    .type agent_leave_last, @function
agent_leave_last:
    mov %rsi, %rbx
    mov %rdi, %r12
    test %rdi, %rdi
    cmovnz %rdi, %rsp           // from here on, no stack that another trigger may use
    movl $0, agent_busy(%rip)
    movl $1, agent_gate_open(%rip)
    lea agent_gate_open(%rip), %rdi
    mov $1, %esi                // FUTEX_WAKE, all
    mov $0x7fffffff, %edx
    xor %r10d, %r10d
    mov $202, %eax
    syscall
    test %r12, %r12
    jnz 2b
    xor %edi, %edi
    mov $60, %eax               // __NR_exit
    syscall
    .globl agent_gate_end
    .hidden agent_gate_end
agent_gate_end:
    hlt

// A system call of the program's, made for it from a timed_frame (timed_call.hpp), at which rsp
// points; then everything is as if the program had made it. rcx and r11 are lost in any call.
    .globl agent_timed_call
    .hidden agent_timed_call
    .globl agent_timed_call_done
    .hidden agent_timed_call_done
    .type agent_timed_call, @function
agent_timed_call:
    .cfi_startproc
    .cfi_signal_frame
    .cfi_escape 0x0f, 3, 0x77, 56, 0x06     // the caller's rsp: *(rsp + 56)
    .cfi_escape 0x10, 16, 2, 0x77, 48       // its rip, at rsp + 48
    syscall
agent_timed_call_done:
    mov (%rsp), %rdi
    mov 8(%rsp), %rsi
    mov 16(%rsp), %rdx
    mov 24(%rsp), %r10
    mov 32(%rsp), %r8
    mov 40(%rsp), %r9
    mov 48(%rsp), %rcx
    mov 56(%rsp), %rsp
    .cfi_def_cfa 7, 0
    .cfi_register 16, 2
    jmp *%rcx
    .cfi_endproc

// The agent's entry in an image: on agent_trigger_stack, rdi holds the handover.
    .globl agent_resume
    .hidden agent_resume
    .type agent_resume, @function
agent_resume:
    xor %ebp, %ebp
    and $-16, %rsp
    call resume_main
    hlt

// The program's first instructions when it has inherited the process that put the agent into it, as
// process 1 does: its end must neither be waited for nor signalled to the program. All signals are
// blocked. edi: that process; esi: 1 unless a SIGCHLD was pending before; rdx: the program's signal
// mask; rcx: its entry. Registers are left as execve(2) leaves them, below the stack pointer is free.
    .globl agent_begin_alone
    .hidden agent_begin_alone
    .type agent_begin_alone, @function
agent_begin_alone:
    push %rcx
    push %rdx
    mov %esi, %ebx
    mov %edi, %ebp
1:  mov %ebp, %edi
    xor %esi, %esi
    mov $0x40000000, %edx       // __WALL
    xor %r10d, %r10d
    mov $61, %eax               // __NR_wait4
    syscall
    cmp $-4, %rax               // EINTR
    je 1b
    test %ebx, %ebx
    jz 2f
    push $0                     // a timeout of nothing
    push $0
    push $1 << 16               // SIGCHLD
    mov %rsp, %rdi
    xor %esi, %esi
    lea 8(%rsp), %rdx
    mov $8, %r10d
    mov $128, %eax              // __NR_rt_sigtimedwait
    syscall
    add $24, %rsp
2:  mov $2, %edi                // SIG_SETMASK
    mov %rsp, %rsi
    xor %edx, %edx
    mov $8, %r10d
    mov $14, %eax               // __NR_rt_sigprocmask
    syscall
    pop %rdx
    xor %eax, %eax
    xor %ebx, %ebx
    xor %ecx, %ecx
    xor %edx, %edx
    xor %esi, %esi
    xor %edi, %edi
    xor %ebp, %ebp
    xor %r10d, %r10d
    xor %r11d, %r11d
    ret

// The restarter, byte for byte as the command ckpt-restart: the head of every image.
    .section .rodata
    .balign 4096
    .globl agent_restarter
    .hidden agent_restarter
agent_restarter:
    .incbin CKPT_RESTARTER
    .globl agent_restarter_end
    .hidden agent_restarter_end
agent_restarter_end:

// Working memory: stacks of the tasks of a checkpoint and what they tell each other. Untouched
// pages cost nothing, and none of it is part of an image: all memory that changes while the image
// is written must lie here.
    .section .bss
    .balign 4096
    .globl agent_scratch
    .hidden agent_scratch
agent_scratch:
    .skip 128 * 1024
    .globl agent_trigger_stack_end
    .hidden agent_trigger_stack_end
agent_trigger_stack_end:
    .skip 16 * 1024
    .globl agent_starter_stack_end
    .hidden agent_starter_stack_end
agent_starter_stack_end:
    .skip 16 * 1024
    .globl agent_hasher_stack_end
    .hidden agent_hasher_stack_end
agent_hasher_stack_end:
    .skip 256 * 1024
    .globl agent_helper_stack_end
    .hidden agent_helper_stack_end
agent_helper_stack_end:
    .balign 64
    .globl agent_session_room
    .hidden agent_session_room
agent_session_room:
    .skip 32 * 1024
    .balign 4096
    .globl agent_scratch_end
    .hidden agent_scratch_end
agent_scratch_end:
// A page that a forked child finds empty (MADV_WIPEONFORK): who holds the agent and who waits for it are
// threads of this process.
    .globl agent_own_page
    .hidden agent_own_page
agent_own_page:
    .globl agent_busy
    .hidden agent_busy
agent_busy:
    .long 0
    .balign 64
    .globl agent_error_busy
    .hidden agent_error_busy
agent_error_busy:
    .long 0
    .globl agent_put_off
    .hidden agent_put_off
agent_put_off:
    .long 0
    .balign 4096
    .globl agent_callbacks
    .hidden agent_callbacks
agent_callbacks:
    .long 0
    .globl agent_freezes
    .hidden agent_freezes
agent_freezes:
    .long 0
    .globl agent_gate_ready
    .hidden agent_gate_ready
agent_gate_ready:
    .long 0
    .globl agent_gate_open
    .hidden agent_gate_open
agent_gate_open:
    .long 0

    .section .note.GNU-stack,"",@progbits
