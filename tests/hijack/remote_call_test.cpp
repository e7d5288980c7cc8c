// SPDX-License-Identifier: MIT
//
// Calls in another process's name: of the kernel and of functions.
#include "remote_call.hpp"

#include <sys/mman.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "ckpt/base/range.hpp"
#include "support/catch.hpp"
#include "support/held_child.hpp"

namespace ckpt::hijack {
namespace {

struct shared_words {
  u64 sum = 0;
  u64 pid = 0;
  u64 stack = 0;
};
shared_words* shared = nullptr;

[[gnu::no_sanitize_address, gnu::noinline]] void callee(u64 a, u64 b, u64 c) {
  shared->sum = a + b + c;
  long pid = 0;
  // System calls of its own, even through the very same kind of instruction.
  for (int i = 0; i < 5; ++i)
    __asm__ volatile("syscall" : "=a"(pid) : "0"(SYS_getpid) : "rcx", "r11", "memory");
  shared->pid = static_cast<u64>(pid);
  shared->stack = reinterpret_cast<u64>(__builtin_frame_address(0));
}
[[gnu::no_sanitize_address, gnu::noinline]] void crashes(u64, u64, u64) {
  __asm__ volatile("movl $1, 8");
}

struct caller_in_child {
  template <class Work>
  explicit caller_in_child(Work work) : child(work), thread(child.held), site(child.held) {
    REQUIRE(child.hold());
    REQUIRE(thread.take().ok());
  }
  test::held_child child;
  borrowed_thread thread;
  call_site site;
};

TEST_CASE("the kernel is called, and answers with a value or an error") {
  caller_in_child there([] { return ::pause(); });
  REQUIRE(there.site.find(test::vdso()).ok());
  remote_caller caller(there.child.held, there.thread.saved(), there.site.address());
  CHECK(caller.system_call(SYS_getpid).value() == static_cast<u64>(there.child.pid()));
  CHECK(caller.system_call(SYS_close, -1).error() == static_cast<errc>(EBADF));
  u64 begin = 0;
  {
    borrowed_memory memory(caller);
    REQUIRE(memory.take(3 * page_size).ok());
    begin = memory.begin().address();
    CHECK(memory.end().address() - begin == 3 * page_size);
    CHECK(there.child.held.write(memory.begin().as<u64>(), u64{1}).ok());
  }
  CHECK_FALSE(there.child.held.write(remote_ptr<u64>(begin), u64{1}).ok());
}

TEST_CASE("a process that ends in a call is gone") {
  caller_in_child there([] { return ::pause(); });
  REQUIRE(there.site.find(test::vdso()).ok());
  remote_caller caller(there.child.held, there.thread.saved(), there.site.address());
  CHECK(caller.system_call(SYS_exit_group, 3).error() == errc::gone);
}

TEST_CASE("without an instruction to be found, one is written and taken back") {
  caller_in_child there([] { return ::pause(); });
  const u64 page = reinterpret_cast<u64>(&callee) & ~(page_size - 1);
  const remote_ptr<u64> code(page);
  const u64 before = there.child.held.peek(code).value();
  REQUIRE(there.site.borrow(code).ok());
  CHECK(there.child.held.peek(code).value() != before);
  remote_caller caller(there.child.held, there.thread.saved(), there.site.address());
  CHECK(caller.system_call(SYS_getpid).value() == static_cast<u64>(there.child.pid()));
  there.site.give_back();
  CHECK(there.child.held.peek(code).value() == before);
}

TEST_CASE("a function is called on a stack of its own and returns") {
  shared = static_cast<shared_words*>(
      ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  caller_in_child there([] { return ::pause(); });
  REQUIRE(there.site.find(test::vdso()).ok());
  remote_caller caller(there.child.held, there.thread.saved(), there.site.address());
  borrowed_memory memory(caller);
  REQUIRE(memory.take(16 * page_size).ok());
  for (u64 i = 0; i < 3; ++i) {
    const remote_address function(reinterpret_cast<u64>(&callee));
    REQUIRE(caller.function_call(function, {i, 20, 300}, memory.end()).ok());
    CHECK(shared->sum == i + 320);
    CHECK(shared->pid == static_cast<u64>(there.child.pid()));
    CHECK(range{memory.begin().address(), memory.end().address()}.contains(shared->stack));
    CHECK(shared->stack % 16 == 0);
  }
  const remote_address function(reinterpret_cast<u64>(&crashes));
  CHECK_FALSE(caller.function_call(function, {0, 0, 0}, memory.end()).ok());
  CHECK(caller.fatal_signal() == SIGSEGV);
  // It can be called upon all the same.
  CHECK(caller.system_call(SYS_getpid).value() == static_cast<u64>(there.child.pid()));
  ::munmap(shared, page_size);
}

}  // namespace
}  // namespace ckpt::hijack
