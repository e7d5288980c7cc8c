// SPDX-License-Identifier: MIT
#include "way_back.hpp"

#include <elf.h>
#include <sys/syscall.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>
#include <utility>

#include "../agent/interrupted_call.hpp"

namespace ckpt::hijack {
namespace {

constexpr u64 frame_size = agent::outside_room_size;
constexpr u64 tail_size = frame_tail_size, return_word = frame_return_word, red_zone = 128;

/// Whether nothing but the stack pointer and registers changes up to a return.
bool returns_soon(const u8* code, std::size_t size, u64& pad) {
  pad = 0;
  for (std::size_t i = 0; i < size && i < 32;) {
    const u8 c = code[i];
    if (c == 0xc3) return true;
    if (c >= 0x58 && c <= 0x5f && c != 0x5c) {  // pop
      pad += 8, i += 1;
    } else if (c == 0x41 && i + 1 < size && code[i + 1] >= 0x58 && code[i + 1] <= 0x5f) {
      pad += 8, i += 2;
    } else if (c == 0x48 && i + 3 < size && code[i + 1] == 0x83 && code[i + 2] == 0xc4 &&
               code[i + 3] < 0x80) {  // add $n, %rsp
      pad += code[i + 3], i += 4;
    } else {
      return false;
    }
  }
  return false;
}

void find_in(bytes code, u64 address, code_places& found) {
  const auto* p = reinterpret_cast<const u8*>(code.data());
  for (std::size_t i = 0; i + 2 <= code.size() && !found.complete(); ++i) {
    if (p[i] != system_call_instruction[0] || p[i + 1] != system_call_instruction[1]) continue;
    constexpr std::array<u8, 4> fifteen{15, 0, 0, 0};
    if (found.back == 0 && i >= 7 && std::memcmp(p + i - 4, fifteen.data(), 4) == 0) {
      const bool is_short = p[i - 5] == 0xb8;
      const bool is_long = p[i - 7] == 0x48 && p[i - 6] == 0xc7 && p[i - 5] == 0xc0;
      if (is_short || is_long) found.back = address + i - (is_short ? 5 : 7), found.back_call = address + i;
    }
    u64 pad = 0;
    if (found.call == 0 && returns_soon(p + i + 2, code.size() - i - 2, pad))
      found.call = address + i, found.pad = pad;
  }
}

range main_stack(const std::string& maps) {
  for (std::size_t from = 0; from < maps.size();) {
    const std::string line = maps.substr(from, maps.find('\n', from) - from);
    from += line.size() + 1;
    unsigned long long begin = 0, end = 0;
    if (line.ends_with("[stack]") && line.find(" rw") != std::string::npos &&
        std::sscanf(line.c_str(), "%llx-%llx", &begin, &end) == 2)
      return {begin, end};
  }
  return {};
}

sys::abi::user_regs as_of_kernel(const registers& r) {
  return std::bit_cast<sys::abi::user_regs>(r);
}

}  // namespace

code_places find_code_places(pid_t tid, const std::vector<code_mapping>& code) {
  constexpr u64 piece = 256 * 1024, overlap = 64, enough = u64{64} << 20;
  code_places found;
  u64 read = 0;
  for (const auto& m : code)
    for (u64 at = m.where.begin; at < m.where.end && !found.complete() && read < enough; at += piece) {
      std::vector<std::byte> text(std::min(piece + overlap, m.where.end - at));
      read += text.size();
      if (copy(false, tid, at, text.data(), text.size()).ok()) find_in(text, at, found);
    }
  return found;
}

/// The lowest pages of the main stack, which the kernel makes larger than most programs need: where
/// the main thread is above them, or nobody has ever written, nothing is lost.
u64 place_for_frame(pid_t pid, pid_t borrowed, const std::string& maps, const code_places& places) {
  const range stack = main_stack(maps);
  if (stack.length() < 4 * frame_size) return 0;
  registers r{};
  iovec room{&r, sizeof r};
  if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &room) != 0) r.rsp = 0;  // the main thread has ended
  const u64 end = stack.begin + frame_size;
  if (stack.contains(r.rsp)) return r.rsp >= end + red_zone ? stack.begin : 0;
  std::vector<std::byte> there(frame_size);
  if (!copy(false, borrowed, stack.begin, there.data(), there.size()).ok()) return 0;
  // Or the frame that another has left who was killed.
  u64 left = 0;
  std::memcpy(&left, there.data() + frame_size - tail_size + return_word, sizeof left);
  if (left == places.back) return stack.begin;
  for (const std::byte b : there)
    if (b != std::byte{0}) return 0;
  return stack.begin;
}

bool ways_back::has(const sys::abi::user_regs& r) const {
  return frame.contains(r.rsp) || back.contains(r.rip) ||
         std::ranges::any_of(agents, [&](const range& code) { return code.contains(r.rip); });
}

ways_back ways_back_in(const std::string& maps, const code_places& places, std::vector<range> agents) {
  const u64 stack = main_stack(maps).begin;
  const range back = places.complete()
                         ? range{places.back, places.back_call + system_call_instruction.size()}
                         : range{};
  return {stack == 0 ? range{} : range{stack, stack + frame_size}, back, std::move(agents)};
}

result<void> visit::begin() {
  const pid_t tid = t_.tid();
  stood_ = CKPT_TRY(t_.get_registers());
  if (static_cast<i64>(stood_.orig_rax) < 0) {
    sys::abi::user_regs r = as_of_kernel(stood_);
    abort_restartable_sequence(tid, r);
    stood_.rip = r.rip;
  }
  mask_ = CKPT_TRY(t_.get_mask());
  CKPT_TRY(t_.get_vectors(vectors_));
  base_ = stood_;
  base_.orig_rax = ~u64{0};
  if (frame_at_ != 0) CKPT_TRY(lay_frame());
  begun_ = true;
  if (frame_at_ != 0) CKPT_TRY(t_.set_registers(base_));
  return t_.set_mask(~u64{0});
}

result<void> visit::end() {
  if (!begun_) return {};
  begun_ = false;
  const pid_t tid = t_.tid();
  if (tid == 0) return errc::gone;
  CKPT_TRY(to_signals_place());
  CKPT_TRY(t_.set_mask(mask_));
  CKPT_TRY(t_.set_vectors(vectors_));
  CKPT_TRY(t_.set_registers(stood_));
  if (frame_at_ != 0) (void)copy(true, tid, frame_at_, before_.data(), before_.size());
  return {};
}

/// What is left of a call's time limit the kernel forgets by a signal's return, so the call is made as it
/// was first. Of one that has been interrupted before only the program's code says which it is.
void visit::begin_anew(registers& r) const {
  const auto read = [&](u64 address, void* to, u64 size) { return copy(false, t_.tid(), address, to, size).ok(); };
  if (r.orig_rax == SYS_restart_syscall) {
    const u64 number = agent::interrupted_number(read, state::context_of(as_of_kernel(r)));
    if (number != agent::not_found) r.orig_rax = number;
  }
  r.rax = static_cast<u64>(sys::abi::restart_no_hand);
}

/// A frame by which the thread goes back to what it was doing, should nobody else see to it.
result<void> visit::lay_frame() {
  alignas(64) std::byte room[frame_size] = {};
  if (vectors_.used().size() > sizeof room - 2 * tail_size) {
    frame_at_ = 0;
    return {};
  }
  std::memcpy(room, vectors_.used().data(), vectors_.used().size());
  const auto layout = layout_for(room);
  if (state::signal_frame::size_for(layout) > sizeof room) {
    frame_at_ = 0;
    return {};
  }
  state::signal_frame frame(room, layout);
  registers r = stood_;
  if (static_cast<i64>(r.orig_rax) >= 0 && static_cast<i64>(r.rax) == sys::abi::restart_block)
    begin_anew(r);
  make_interrupted_call_again(r);
  state::thread t{};
  state::registers_from(state::context_of(as_of_kernel(r)), t);
  t.signal_mask = mask_;
  state::set_context(frame, t);
  frame.context().uc_mcontext.fpstate = frame_at_;
  std::byte* tail = room + sizeof room - tail_size;
  std::memcpy(tail + return_word, &places_.back, sizeof places_.back);
  std::memcpy(tail_.data(), tail, tail_size);
  before_.resize(sizeof room);
  CKPT_TRY(copy(false, t_.tid(), frame_at_, before_.data(), before_.size()));
  CKPT_TRY(copy(true, t_.tid(), frame_at_, room, sizeof room));
  // As after a call: what follows it returns to the frame's return address.
  base_.rip = places_.call + system_call_instruction.size();
  base_.rsp = frame_at_ + frame_size - tail_size + return_word - places_.pad;
  base_.rax = 0;
  base_.eflags = borrowed_flags(r.eflags);
  return {};
}

/// From the exit of a call to where signals are delivered. None of its instructions runs.
result<void> visit::to_signals_place() {
  if (frame_at_ != 0) CKPT_TRY(t_.set_registers(base_));
  CKPT_TRY(t_.interrupt());
  for (int signal = 0;;) {
    CKPT_TRY(t_.go_on(signal));
    const stop s = CKPT_TRY(t_.wait());
    if (s.kind == stop_kind::ended) return errc::gone;
    if (s.kind == stop_kind::group) return {};
    signal = s.kind == stop_kind::signal ? s.number : 0;
  }
}

}  // namespace ckpt::hijack
