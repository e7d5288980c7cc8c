// SPDX-License-Identifier: MIT
//
// Where the restarter begins once first_stage.S has let it, and its two changes of stack. Everything is relative to rip: the same
// bytes run where the kernel put them and, copied, in the window of an image.

    .text
    .globl restart_entry
    .hidden restart_entry
    .type restart_entry, @function
restart_entry:
    xor %ebp, %ebp
    mov %rsp, %rdi              // argc, argv, envp, auxv (psABI 3.4.1)
    and $-16, %rsp
    call restart_main
    hlt

// void run_on_stack(u64 stack_top, void (*function)(void*), void* argument)
    .globl run_on_stack
    .hidden run_on_stack
    .type run_on_stack, @function
run_on_stack:
    mov %rdi, %rsp
    xor %ebp, %ebp
    mov %rdx, %rdi
    call *%rsi
    hlt

    .section .note.GNU-stack,"",@progbits
