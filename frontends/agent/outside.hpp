// SPDX-License-Identifier: MIT
//
// The agent's side of a checkpoint that is asked for from outside (outside_request.hpp).
#pragma once

#include "outside_request.hpp"
#include "session.hpp"
#include "stopped_call.hpp"

extern "C" {
#define CKPT_HIDDEN [[gnu::visibility("hidden")]]
CKPT_HIDDEN extern ckpt::agent::outside_box agent_outside_box;
CKPT_HIDDEN extern std::byte agent_outside_room[];
CKPT_HIDDEN extern const ckpt::agent::outside_mark agent_outside_mark;
CKPT_HIDDEN void agent_outside_entry();
#undef CKPT_HIDDEN
}

namespace ckpt::agent {

/// From here on the agent can be found: the mark alone might be the contents of a file. What was
/// asked before an image was written is nothing to the program that comes out of it; a thread that was
/// on its way with a request then still uses the room.
// Context: library load; agent, in restored memory
inline void open_outside_box() {
  static_assert(sizeof(outside_mark) == 80);
  auto& box = agent_outside_box;
  box.cancelled = box.asked;
  box.process = sys::getpid();
  if (!box.pending() || box.begun == box.asked)
    __atomic_store_n(&box.answered, box.asked, __ATOMIC_RELEASE);
  __atomic_store_n(&box.self, reinterpret_cast<u64>(&box), __ATOMIC_RELEASE);
  // The mark is read by others only, and must stay.
  __asm__ volatile("" : : "r"(&agent_outside_mark));
}

/// Another agent has taken over: who asks from outside is to find that one.
// Context: library load, of the agent that takes over
inline void retire_outside_box() {
  __atomic_store_n(&agent_outside_box.self, u64{0}, __ATOMIC_RELEASE);
}

/// While an image is written, nobody asks; and in the program that comes out of it, until it goes on.
/// The agent's lock says nothing there: it lies in a page that a child finds empty.
// Context: triggering thread; agent, in restored memory
inline void close_outside_box(bool closed) {
  __atomic_store_n(&agent_outside_box.in_image, closed ? 1u : 0u, __ATOMIC_RELEASE);
}

/// Whether the thread came by agent_outside_entry and not by a signal.
// Context: signal handler
[[nodiscard]] inline bool is_from_outside(const sys::abi::siginfo& info) {
  return &info == reinterpret_cast<const sys::abi::siginfo*>(agent_outside_room +
                                                             outside_room_size) - 1;
}

/// The box, for a thread that a request has brought here.
// Context: signal handler
[[nodiscard]] inline outside_box* outside_request(const sys::abi::siginfo& info) {
  return is_from_outside(info) ? &agent_outside_box : nullptr;
}

/// False when that was in another life; then the thread only goes back.
// Context: signal handler
[[nodiscard]] inline bool outside_is_wanted(outside_box& box) {
  box.begun = box.asked;
  if (box.pending() && box.process == sys::getpid() && box.cancelled != box.asked) return true;
  __atomic_store_n(&box.answered, box.asked, __ATOMIC_RELEASE);
  return false;
}

/// What the asker cannot know or do: the alternate stack, and the call in which he has stopped the
/// thread, of which nobody may see that it was. True when that will be made again.
// Context: signal handler
[[nodiscard]] inline bool mend_outside_frame(sys::abi::ucontext& context, bool filtered) {
  if (!filtered) (void)sys::sigaltstack(nullptr, &context.uc_stack);
  thread_slot slot{};
  slot.live = agent_outside_box.registers;
  const bool early = stopped_detail::ended_early(slot.live);
  auto& regs = context.uc_mcontext;
  if (filtered) {  // with no call that a filter may not know
    if (!early && !stopped_detail::is_to_be_restarted(slot.live)) return false;
    regs.rip -= stopped_detail::call_length;
    regs.rax = slot.live.orig_rax;
    return true;
  }
  const copied_memory read;
  make_stopped_call_again(read, slot);
  regs.rdi = slot.image.rdi, regs.rsi = slot.image.rsi, regs.rdx = slot.image.rdx;
  regs.r10 = slot.image.r10, regs.r8 = slot.image.r8, regs.r9 = slot.image.r9;
  regs.rip = slot.image.rip, regs.rsp = slot.image.rsp, regs.rax = slot.image.rax;
  return slot.made_again;
}

/// The last thing that a request sees. A program that ends by its checkpoint waits a moment, until
/// the asker has read that: afterwards there is nothing that could tell him.
// Context: signal handler
inline void answer_outside(outside_box& box, outside_outcome outcome, std::string_view line,
                           u64 image_size, u64 milliseconds, bool ends) {
  const u64 length = line.size() < outside_line_capacity ? line.size() : outside_line_capacity;
  std::memcpy(box.line, line.data(), length);
  box.line_length = static_cast<u32>(length);
  box.image_size = image_size;
  box.milliseconds = milliseconds;
  box.outcome = outcome;
  const u32 number = box.asked;
  __atomic_store_n(&box.answered, number, __ATOMIC_RELEASE);
  if (!ends) return;
  constexpr i64 a_millisecond = 1'000'000;
  constexpr int long_enough = 2000;  // ms; an asker that lives looks every few
  for (int i = 0; i < long_enough && __atomic_load_n(&box.seen, __ATOMIC_ACQUIRE) != number; ++i)
    (void)sys::nanosleep({0, a_millisecond});
}

}  // namespace ckpt::agent
