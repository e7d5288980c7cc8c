// SPDX-License-Identifier: MIT
//
// A member of libckpt-agent.a that a program has only when it was linked with
// -Wl,-u,capture_signal, as the static variant of the course program is: its presence makes the
// defaults SIGUSR2, myckpt and going on (frontends/agent/defaults.hpp). Weak, for a program that has a
// function of that name itself.
    .text
    .weak capture_signal
    .type capture_signal, @function
capture_signal:
    ret
    .size capture_signal, 1
    .reloc capture_signal, R_X86_64_NONE, ckpt_agent
    .reloc capture_signal, R_X86_64_NONE, ckpt_agent_course

    .section .rodata
    .globl ckpt_agent_course
    .hidden ckpt_agent_course
    .type ckpt_agent_course, @object
    .size ckpt_agent_course, 1
ckpt_agent_course:
    .byte 1

    .section .note.GNU-stack,"",@progbits
