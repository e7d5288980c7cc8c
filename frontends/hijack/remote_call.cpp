// SPDX-License-Identifier: MIT
#include "remote_call.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <csignal>
#include <cstring>

#include "ckpt/base/range.hpp"

namespace ckpt::hijack {

result<void> call_site::find(remote_address page) {
  std::array<u8, page_size> code{};
  CKPT_TRY(tracee_.read(page, std::as_writable_bytes(std::span(code))));
  const auto found = std::search(code.begin(), code.end(), system_call_instruction.begin(),
                                 system_call_instruction.end());
  if (found == code.end()) return errc::not_found;
  address_ = page + static_cast<u64>(found - code.begin());
  return {};
}

result<void> call_site::borrow(remote_ptr<u64> at) {
  saved_ = CKPT_TRY(tracee_.peek(at));
  u64 word = saved_;
  std::memcpy(&word, system_call_instruction.data(), system_call_instruction.size());
  CKPT_TRY(tracee_.poke(at, word));
  address_ = at.as<void>();
  borrowed_ = true;
  return {};
}

void call_site::give_back() {
  if (borrowed_ && tracee_.tid() != 0) (void)tracee_.poke(address_.as<u64>(), saved_);
  borrowed_ = false;
}

result<void> remote_caller::to_system_call() {
  int passed_on = 0;
  for (;;) {
    CKPT_TRY(tracee_.go_on_to_system_call(passed_on));
    passed_on = 0;
    const stop s = CKPT_TRY(tracee_.wait());
    switch (s.kind) {
      case stop_kind::system_call:
        return {};
      case stop_kind::signal:
        // Nothing but SIGSTOP passes the mask: the process counts as stopped from here on, this
        // thread works on, and it stops when it is released.
        if (s.number == SIGSTOP) {
          passed_on = s.number;
          break;
        }
        fatal_signal_ = s.number;
        return errc::fault;
      case stop_kind::group:
        break;
      case stop_kind::exec:
      case stop_kind::ended:
        return errc::gone;
    }
  }
}

result<u64> remote_caller::call_kernel(u64 number, const std::array<u64, 6>& arguments) {
  registers r = base_;
  prepare_system_call(r, site_.address(), number, arguments);
  CKPT_TRY(tracee_.set_registers(r));
  CKPT_TRY(to_system_call());  // its entry
  CKPT_TRY(to_system_call());  // its exit
  const u64 value = system_call_result(CKPT_TRY(tracee_.get_registers()));
  if (value > ~u64{4095}) return static_cast<errc>(-static_cast<i64>(value));
  return value;
}

result<void> remote_caller::function_call(remote_address function,
                                          const std::array<u64, 3>& arguments,
                                          remote_address stack_end) {
  const remote_ptr<u64> top(stack_end.address() / 16 * 16 - 8);
  CKPT_TRY(tracee_.write(top, site_.address()));
  return function_call_through(function, arguments, top.as<void>(), site_);
}

result<void> remote_caller::function_call_through(remote_address function,
                                                  const std::array<u64, 3>& arguments,
                                                  remote_address top, remote_address last) {
  registers r = base_;
  prepare_function_call(r, function.address(), top.address(), arguments);
  CKPT_TRY(tracee_.set_registers(r));
  for (;;) {
    CKPT_TRY(to_system_call());
    r = CKPT_TRY(tracee_.get_registers());
    const bool returned = enters_from(r, last.address(), top.address() + sizeof(u64));
    if (returned) {
      make_harmless(r);
      return_to(r, base_);
      CKPT_TRY(tracee_.set_registers(r));
    }
    CKPT_TRY(to_system_call());
    if (returned) return {};
  }
}

result<void> borrowed_memory::take(u64 length) {
  begin_ = remote_address(CKPT_TRY(caller_.system_call(SYS_mmap, 0, length, PROT_READ | PROT_WRITE,
                                                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
  length_ = length;
  return {};
}

void borrowed_memory::give_back() {
  if (length_ != 0) (void)caller_.system_call(SYS_munmap, begin_.address(), length_);
  length_ = 0;
}

}  // namespace ckpt::hijack
