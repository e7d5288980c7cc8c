// SPDX-License-Identifier: MIT
//
// What is in libckpt-agent.a beside the agent itself.

// Says in the program's file that the program brings its own agent, so that the ckpt command does not
// put another into it. elf(5), Nhdr; owner "ckpt", type 1, nothing more.
    .section .note.ckpt,"a",@note
    .balign 4
    .long 5, 0, 1
    .asciz "ckpt"
    .balign 4

// The symbol that libckpt.a asks for, whose archive member is all of the agent.
    .section .rodata
    .globl ckpt_agent
    .type ckpt_agent, @object
    .size ckpt_agent, 1
ckpt_agent:
    .byte 1

    .section .note.GNU-stack,"",@progbits
