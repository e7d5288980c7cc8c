// SPDX-License-Identifier: MIT
//
// The agent: the part of ckpt that lives in the program. It needs nothing, neither a libc nor a
// loader's help beyond relocation, so that one object serves every way in.
//
// Three entries: agent_load when the library is loaded, trigger_main when the trigger signal
// arrives, resume_main when an image has put the memory back. You may not allocate, lock, or touch
// thread-local storage in any of them.

#include "checkpoint.hpp"
#include "load.hpp"
#include "region_call.hpp"
#include "resume.hpp"

extern "C" {

[[gnu::visibility("default"), gnu::used]] int ckpt_region(void* address, unsigned long length,
                                                          int what) {
  const auto why = ckpt::agent::say_region(reinterpret_cast<ckpt::u64>(address), length,
                                           static_cast<ckpt::u32>(what));
  return why.empty() ? 0 : -1;
}

[[gnu::constructor, gnu::used]] static void agent_load(ckpt::u64 mark,
                                                       ckpt::agent::injected* given) {
  ckpt::agent::load(mark == ckpt::agent::injected_mark ? given : nullptr);
}

[[gnu::visibility("hidden")]] void trigger_main(int, ckpt::sys::abi::siginfo* info,
                                                ckpt::sys::abi::ucontext* context,
                                                ckpt::u32 freezes_then) {
  // A program may have put the disposition back without its mask (bash does): from here on nothing
  // of the program may run, least of all in the helper, which inherits the mask.
  const ckpt::u64 all = ~ckpt::u64{0};
  (void)ckpt::sys::rt_sigprocmask(ckpt::sys::abi::sig_setmask, &all, nullptr);
  const bool made_again = ckpt::agent::checkpoint(*info, *context, freezes_then == agent_freezes);
  if (!ckpt::agent::current().filtered)
    ckpt::agent::end_call_for_own_signal(*context, made_again,
                                         reinterpret_cast<ckpt::u64>(&trigger_entry));
}

[[gnu::visibility("hidden")]] void agent_report(void* slot) {
  ckpt::agent::report_of_thread(*static_cast<ckpt::agent::thread_slot*>(slot));
}

[[gnu::visibility("hidden")]] void resume_main(const ckpt::image::handover* h) {
  ckpt::agent::resume(*h);
}
}
