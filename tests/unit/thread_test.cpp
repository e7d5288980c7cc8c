// SPDX-License-Identifier: MIT
//
// Every register goes into the record and comes out of it, none into another's place.
#include "ckpt/state/x86_64/thread.hpp"

#include <set>

#include "support/catch.hpp"

namespace ckpt::state {
namespace {

TEST_CASE("registers make the way through the record unchanged") {
  sys::abi::sigcontext before{};
  auto* words = reinterpret_cast<u64*>(&before);
  for (u64 i = 0; i < 18; ++i) words[i] = 0x1111111111111111 * (i % 15 + 1) + i;
  thread t{};
  registers_from(before, t);
  sys::abi::sigcontext after{};
  registers_to(t, after);
  CHECK(std::memcmp(&before, &after, 18 * sizeof(u64)) == 0);
}

TEST_CASE("each register has a field of its own") {
  sys::abi::sigcontext context{};
  auto* words = reinterpret_cast<u64*>(&context);
  for (u64 i = 0; i < 18; ++i) words[i] = i + 1;
  thread t{};
  registers_from(context, t);
  std::set<u64> seen{t.r8,  t.r9,  t.r10, t.r11, t.r12, t.r13, t.r14, t.r15, t.rdi,
                     t.rsi, t.rbp, t.rbx, t.rdx, t.rax, t.rcx, t.rsp, t.rip, t.rflags};
  CHECK(seen.size() == 18);
  CHECK(seen.count(0) == 0);
  CHECK(t.rip == context.rip);
  CHECK(t.rsp == context.rsp);
  CHECK(t.rflags == context.eflags);
}

TEST_CASE("a thread's name may have all fifteen characters and not hide more behind its end") {
  thread t{};
  t.name = wire::text<16>("fifteen letters");
  CHECK(t.name.view() == "fifteen letters");
  CHECK(wire::valid_record(t));
}

}  // namespace
}  // namespace ckpt::state
