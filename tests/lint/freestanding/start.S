// SPDX-License-Identifier: MIT
//
// Where a program without a libc begins: the kernel gives a stack with argc at its top.
        .globl  _start
        .type   _start, @function
_start:
        xorl    %ebp, %ebp
        movq    %rsp, %rdi
        andq    $-16, %rsp
        call    ckpt_main
        ud2
        .section .note.GNU-stack, "", @progbits
