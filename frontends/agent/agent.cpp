// SPDX-License-Identifier: MIT
//
// The agent: the part of ckpt that lives in the program. It needs nothing, neither a libc nor a
// loader's help beyond relocation, so that one object serves every way in.
//
// Entries: agent_load when the library is loaded, trigger_main when the trigger signal arrives,
// agent_ask_main when the program asks by a call, resume_main when an image has put the memory
// back, and the functions of ckpt.h (api.hpp). You may not allocate, lock, or touch thread-local
// storage in any of them.

#include "api.hpp"
#include "checkpoint.hpp"
#include "descriptor_call.hpp"
#include "known_signal.hpp"
#include "load.hpp"
#include "region_call.hpp"
#include "resume.hpp"

extern "C" {

[[gnu::constructor, gnu::used]] static void agent_load(ckpt::u64 mark,
                                                       ckpt::agent::injected* given) {
  ckpt::agent::load(mark == ckpt::agent::injected_mark ? given : nullptr);
}

// For an agent that is there already. All threads are held, and none of them is in the agent.
[[gnu::visibility("hidden"), gnu::used]] void agent_configure(ckpt::u64 mark,
                                                              ckpt::agent::injected* given) {
  if (mark == ckpt::agent::injected_mark) ckpt::agent::configure_from_outside(*given);
}

// A program may have put the disposition back without its mask (bash does): from here on nothing
// of the program may run, least of all in the helper, which inherits the mask.
static void block_all_signals() {
  const ckpt::u64 all = ~ckpt::u64{0};
  (void)ckpt::sys::rt_sigprocmask(ckpt::sys::abi::sig_setmask, &all, nullptr);
}

// On the program's stack, when it wants functions called: a decision.
[[gnu::visibility("hidden")]] ckpt::u32 agent_before(ckpt::sys::abi::siginfo* info,
                                                     ckpt::u32 freezes_then, int signal) {
  using namespace ckpt::agent;
  block_all_signals();
  know_signal(signal, *info);
  const bool begins = may_begin(wish_of(*info, freezes_then));
  if (begins) state_of_agent.callbacks.run_before();
  return static_cast<ckpt::u32>(begins ? decision::begin : decision::leave);
}
[[gnu::visibility("hidden")]] void agent_after() {
  ckpt::agent::state_of_agent.callbacks.run_after();
}

[[gnu::visibility("hidden")]] ckpt::u32 trigger_main(int signal, ckpt::sys::abi::siginfo* info,
                                                     ckpt::sys::abi::ucontext* context,
                                                     ckpt::u32 freezes_then, ckpt::u32 decided) {
  using namespace ckpt::agent;
  block_all_signals();
  if (static_cast<decision>(decided) == decision::open) know_signal(signal, *info);
  return checkpoint_by_signal(*info, *context, freezes_then, static_cast<decision>(decided)) ? 1
                                                                                             : 0;
}
[[gnu::visibility("hidden")]] void trigger_end(ckpt::sys::abi::ucontext* context,
                                               ckpt::u32 made_again) {
  if (!ckpt::agent::current().filtered)
    ckpt::agent::end_call_for_own_signal(*context, made_again != 0,
                                         reinterpret_cast<ckpt::u64>(&trigger_entry));
}

[[gnu::visibility("hidden")]] int agent_ask_main(void* request, const void* saved) {
  using namespace ckpt::agent;
  return static_cast<asked_by_call*>(request)->make(*static_cast<const saved_registers*>(saved));
}

[[gnu::visibility("hidden")]] void agent_report(void* slot) {
  ckpt::agent::report_of_thread(*static_cast<ckpt::agent::thread_slot*>(slot));
}

[[gnu::visibility("hidden")]] ckpt::u64 agent_retire(char* room, ckpt::u64 size) {
  return ckpt::agent::retire(room, size);
}

[[gnu::visibility("hidden")]] void resume_main(const ckpt::image::handover* h) {
  ckpt::agent::resume(*h);
}
}
