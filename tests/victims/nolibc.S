// SPDX-License-Identifier: MIT
//
// A program of which nothing is given but its instructions: no libc, no thread pointer, no heap, no
// writable page but the stack. Its entry is the last instruction of its last page. The registers must
// be as execve(2) leaves them. Counts in one until the file named by its first argument appears.

    .section .text
    .globl _start
    .balign 4096
begin:
    or %rbx, %rax
    or %rcx, %rax
    or %rdx, %rax
    or %rsi, %rax
    or %rdi, %rax
    or %rbp, %rax
    or %r8, %rax
    or %r9, %rax
    or %r10, %rax
    or %r11, %rax
    or %r12, %rax
    or %r13, %rax
    or %r14, %rax
    or %r15, %rax
    por %xmm1, %xmm0
    por %xmm2, %xmm0
    por %xmm3, %xmm0
    por %xmm4, %xmm0
    por %xmm5, %xmm0
    por %xmm6, %xmm0
    por %xmm7, %xmm0
    por %xmm8, %xmm0
    por %xmm9, %xmm0
    por %xmm10, %xmm0
    por %xmm11, %xmm0
    por %xmm12, %xmm0
    por %xmm13, %xmm0
    por %xmm14, %xmm0
    por %xmm15, %xmm0
    ptest %xmm0, %xmm0
    jnz broken
    test %rax, %rax
    jnz broken
    test $15, %spl              // the stack is aligned, the arguments have their end
    jnz broken
    mov (%rsp), %rcx
    cmpq $0, 8(%rsp,%rcx,8)
    jne broken
    mov 16(%rsp), %r12          // argv[1]
    lea ready(%rip), %rsi
    mov $6, %edx
    call say
    xor %ebx, %ebx
    mov $-1, %rbp
1:  mov $100000, %ecx
2:  inc %rbx
    dec %rbp
    dec %ecx
    jnz 2b
    mov $21, %eax               // __NR_access
    mov %r12, %rdi
    xor %esi, %esi
    syscall
    test %rax, %rax
    jnz 1b
    add %rbx, %rbp
    inc %rbp
    jnz broken
    lea ok(%rip), %rsi
    mov $3, %edx
    call say
    xor %edi, %edi
3:  mov $60, %eax               // __NR_exit
    syscall
broken:
    mov $1, %edi
    jmp 3b
say:
    mov $1, %eax                // __NR_write
    mov $1, %edi
    syscall
    ret
ready: .ascii "ready\n"
ok:    .ascii "ok\n"
    .org 4089
far:
    .byte 0xe9                  // jmp with a long displacement
    .long begin - . - 4
    .org 4094
_start:
    jmp far

    .section .note.GNU-stack,"",@progbits
