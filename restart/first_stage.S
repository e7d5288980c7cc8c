// SPDX-License-Identifier: MIT
//
// The first code of an image that runs: it looks whether the rest of the restarter is whole before it
// goes there, because damaged code cannot be asked to say so. It lies between the ELF header and the
// image's, so what nobody checks is these few hundred bytes and no more.
//
// The sum is stage_sum() of include/ckpt/image/first_stage.hpp, which the writer of the image puts
// behind this code; in the command ckpt-restart it is 0, and nothing is looked at.

    .set madvise, 28
    .set madv_populate_read, 22
    .set efault, 14
    .set write, 1
    .set exit_group, 231
    .set header_room, 264                 // sum and image header, which has a checksum of its own

    .section .first_stage, "ax", @progbits
    .globl _start
    .hidden _start
    .type _start, @function
_start:
    xor %ebp, %ebp
    lea __stage_sum(%rip), %rbx
    cmpq $0, (%rbx)
    je 3f
    // A page that the file has no longer would be SIGBUS, here or later; this says so. Older kernels
    // do not know the advice (5.14), and any other answer is no reason to stay.
    lea __ehdr_start(%rip), %rdi
    lea __file_end(%rip), %r12
    mov %r12, %rsi
    sub %rdi, %rsi
    push $madv_populate_read
    pop %rdx
    push $madvise
    pop %rax
    syscall
    cmp $-efault, %eax
    je damaged
    movabs $0x9e3779b97f4a7c15, %rcx
    mov %rcx, %rax
1:  xor (%rdi), %rax
    imul %rcx, %rax
    ror $32, %rax
    add $8, %rdi
    cmp %rbx, %rdi
    jne 2f
    add $header_room, %rdi
2:  cmp %r12, %rdi
    jb 1b
    cmp (%rbx), %rax
    jne damaged
3:  jmp restart_entry

damaged:
    lea prefix(%rip), %rsi
    push $(prefix_end - prefix)
    pop %rdx
    call put
    mov 8(%rsp), %rsi                     // argv[0]
    mov %rsi, %rdx
1:  cmpb $' ', (%rdx)
    jae 2f
    cmpb $0, (%rdx)
    je 3f
    movb $'?', (%rdx)                     // a name must not make two lines of one
2:  inc %rdx
    jmp 1b
3:  sub %rsi, %rdx
    call put
    lea reason(%rip), %rsi
    push $(reason_end - reason)
    pop %rdx
    call put
    push $125
    pop %rdi
    mov $exit_group, %eax
    syscall
put:
    push $2
    pop %rdi
    push $write
    pop %rax
    syscall
    ret

prefix:
    .ascii "ckpt: "
prefix_end:
reason:
    .ascii ": the restarter in the image is damaged (checksum mismatch)\n"
reason_end:

    .section .note.GNU-stack,"",@progbits
