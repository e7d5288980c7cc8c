// SPDX-License-Identifier: MIT
//
// What agent.S defines and what it calls.
#pragma once

#include "ckpt/image/handover.hpp"
#include "ckpt/sys/abi.hpp"

extern "C" {
#define CKPT_HIDDEN [[gnu::visibility("hidden")]]
CKPT_HIDDEN extern const std::byte agent_restarter[];
CKPT_HIDDEN extern const std::byte agent_restarter_end[];
CKPT_HIDDEN extern std::byte agent_scratch[];
CKPT_HIDDEN extern std::byte agent_scratch_end[];
CKPT_HIDDEN extern std::byte agent_trigger_stack_end[];
CKPT_HIDDEN extern std::byte agent_starter_stack_end[];
CKPT_HIDDEN extern std::byte agent_hasher_stack_end[];
CKPT_HIDDEN extern std::byte agent_helper_stack_end[];
CKPT_HIDDEN extern std::byte agent_session_room[];
CKPT_HIDDEN extern std::byte agent_own_page[];
CKPT_HIDDEN extern ckpt::u32 agent_busy;
CKPT_HIDDEN extern ckpt::u32 agent_error_busy;
CKPT_HIDDEN extern ckpt::u32 agent_put_off;
CKPT_HIDDEN extern ckpt::u32 agent_callbacks;
CKPT_HIDDEN extern ckpt::u32 agent_freezes;

CKPT_HIDDEN void trigger_entry(int, ckpt::sys::abi::siginfo*, ckpt::sys::abi::ucontext*);
CKPT_HIDDEN void trigger_restorer();
CKPT_HIDDEN long start_task(ckpt::u64 flags, void* stack_end, int* parent_tid, int* child_tid,
                            void (*function)(void*), void* argument);
CKPT_HIDDEN void agent_resume();
CKPT_HIDDEN void agent_timed_call();
CKPT_HIDDEN void agent_timed_call_done();
CKPT_HIDDEN void agent_begin_alone();
CKPT_HIDDEN long start_thread(const ckpt::sys::abi::clone_args*, ckpt::u64 size,
                              void (*function)(void*), void* argument);
CKPT_HIDDEN extern ckpt::u32 agent_gate_ready;
CKPT_HIDDEN extern ckpt::u32 agent_gate_open;
[[noreturn]] CKPT_HIDDEN void agent_leave(ckpt::u64 frame, ckpt::u64 flags);
[[noreturn]] CKPT_HIDDEN void agent_leave_last(ckpt::u64 frame, ckpt::u64 flags);
CKPT_HIDDEN void agent_gate_end();
[[noreturn]] CKPT_HIDDEN void agent_report(void* slot);

CKPT_HIDDEN int agent_ask(void* request);
CKPT_HIDDEN int agent_ask_main(void* request, const void* saved_registers);
CKPT_HIDDEN void agent_call_on_stack(ckpt::u64 stack, void (*function)(void*), void* argument);

CKPT_HIDDEN ckpt::u32 agent_before(ckpt::sys::abi::siginfo*, ckpt::u32 freezes_then, int signal);
CKPT_HIDDEN void agent_after();
CKPT_HIDDEN ckpt::u32 trigger_main(int, ckpt::sys::abi::siginfo*, ckpt::sys::abi::ucontext*,
                                   ckpt::u32 freezes_then, ckpt::u32 decided);
CKPT_HIDDEN void trigger_end(ckpt::sys::abi::ucontext*, ckpt::u32 made_again);
CKPT_HIDDEN void resume_main(const ckpt::image::handover*);
#undef CKPT_HIDDEN
}
