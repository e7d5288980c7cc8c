// SPDX-License-Identifier: MIT
//
// A held thread gives everything back: registers, vector state, mask, and the call it was in.
#include "tracee.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <time.h>

#include <cerrno>
#include <cstring>

#include "support/catch.hpp"
#include "support/held_child.hpp"

namespace ckpt::hijack {
namespace {

/// The child's own call ends as if nothing had happened, whatever is called in its name meanwhile.
/// When a thread goes on from a stop the kernel looks for interrupted calls only if it looks for
/// signals: at a detach, but not when it is held further.
enum class afterwards { released, held };

template <class Work, class Wake>
int call_in_between(Work work, Wake wake, afterwards then = afterwards::released) {
  test::held_child child(work);
  REQUIRE(child.hold());
  {
    borrowed_thread thread(child.held);
    REQUIRE(thread.take().ok());
    call_site site(child.held);
    REQUIRE(site.find(test::vdso()).ok());
    remote_caller caller(child.held, thread.saved(), site.address());
    for (int i = 0; i < 3; ++i)
      REQUIRE(caller.system_call(SYS_getpid).value() == static_cast<u64>(child.pid()));
  }
  if (then == afterwards::released)
    child.held.release();
  else
    REQUIRE(child.held.go_on().ok());
  ::usleep(20'000);
  wake(child.pid());
  return child.end();
}

TEST_CASE("an interrupted call is made again") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const auto feed = [&](pid_t) { CHECK(::write(ends[1], "x", 1) == 1); };
  const auto nothing = [](pid_t) {};
  for (const auto then : {afterwards::released, afterwards::held}) {
    CHECK(call_in_between(
              [&] {
                char byte = 0;
                return ::read(ends[0], &byte, 1) == 1 && byte == 'x' ? 7 : 1;
              },
              feed, then) == 7);
    CHECK(call_in_between(
              [&] {
                pollfd p{ends[0], POLLIN, 0};
                char byte = 0;
                return ::poll(&p, 1, 10'000) == 1 && ::read(ends[0], &byte, 1) == 1 ? 8 : 1;
              },
              feed, then) == 8);
    CHECK(call_in_between(
              [] {
                timespec before{}, after{};
                const timespec wait{0, 300'000'000};
                ::clock_gettime(CLOCK_MONOTONIC, &before);
                if (::nanosleep(&wait, nullptr) != 0) return 1;
                ::clock_gettime(CLOCK_MONOTONIC, &after);
                const i64 ms = (after.tv_sec - before.tv_sec) * 1000 +
                               (after.tv_nsec - before.tv_nsec) / 1'000'000;
                return ms >= 300 ? 9 : 2;
              },
              nothing, then) == 9);
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("a signal that comes meanwhile waits until the thread is itself again") {
  CHECK(call_in_between([] { return ::pause(); }, [](pid_t child) { ::kill(child, SIGUSR2); }) ==
        1000 + SIGUSR2);
  test::held_child child([] { return ::pause(); });
  REQUIRE(child.hold());
  {
    borrowed_thread thread(child.held);
    REQUIRE(thread.take().ok());
    ::kill(child.pid(), SIGUSR1);
    call_site site(child.held);
    REQUIRE(site.find(test::vdso()).ok());
    remote_caller caller(child.held, thread.saved(), site.address());
    CHECK(caller.system_call(SYS_getpid).ok());
    CHECK(caller.fatal_signal() == 0);
  }
  CHECK(child.end() == 1000 + SIGUSR1);
}

TEST_CASE("a stop that comes meanwhile holds") {
  test::held_child child([] { return ::pause(); });
  REQUIRE(child.hold());
  {
    borrowed_thread thread(child.held);
    REQUIRE(thread.take().ok());
    ::kill(child.pid(), SIGSTOP);
    call_site site(child.held);
    REQUIRE(site.find(test::vdso()).ok());
    remote_caller caller(child.held, thread.saved(), site.address());
    for (int i = 0; i < 3; ++i) CHECK(caller.system_call(SYS_getpid).ok());
  }
  child.held.release();
  int status = 0;
  REQUIRE(::waitpid(child.pid(), &status, WUNTRACED) == child.pid());
  CHECK(WIFSTOPPED(status));
}

TEST_CASE("registers and vector state come back to the last bit") {
  test::held_child child([] { return ::pause(); });
  REQUIRE(child.hold());
  const auto vectors = [&] {
    std::vector<u8> state(16384);
    iovec where{state.data(), state.size()};
    REQUIRE(::ptrace(PTRACE_GETREGSET, child.pid(), vector_state_note, &where) == 0);
    state.resize(where.iov_len);
    return state;
  };
  // A pattern in the first vector registers, which lie at 160 of the legacy area.
  auto pattern = vectors();
  for (u64 i = 0; i < 64; ++i) pattern[160 + i] = static_cast<u8>(i * 7 + 1);
  pattern[512] |= 2;  // the kernel takes them if the header says that they are in use
  iovec from{pattern.data(), pattern.size()};
  REQUIRE(::ptrace(PTRACE_SETREGSET, child.pid(), vector_state_note, &from) == 0);
  {
    borrowed_thread thread(child.held);
    REQUIRE(thread.take().ok());
    auto ruined = pattern;
    std::memset(ruined.data() + 160, 0xee, 64);
    iovec to{ruined.data(), ruined.size()};
    REQUIRE(::ptrace(PTRACE_SETREGSET, child.pid(), vector_state_note, &to) == 0);
    registers other = thread.saved();
    other.rbx = other.r12 = 0xdead;
    REQUIRE(child.held.set_registers(other).ok());
  }
  const auto after = vectors();
  CHECK(std::memcmp(after.data() + 160, pattern.data() + 160, 64) == 0);
  CHECK(child.held.get_registers().value().rbx != 0xdead);
}

TEST_CASE("memory is read and written whole, or not at all") {
  auto* memory = static_cast<u8*>(
      ::mmap(nullptr, 4 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(memory != MAP_FAILED);
  REQUIRE(::mprotect(memory + 3 * page_size, page_size, PROT_NONE) == 0);
  for (u64 i = 0; i < 3 * page_size; ++i) memory[i] = static_cast<u8>(i * 31);
  test::held_child child([] { return ::pause(); });
  REQUIRE(child.hold());
  const remote_address there(reinterpret_cast<u64>(memory));
  std::vector<u8> got(2 * page_size);
  REQUIRE(child.held.read(there + 100, std::as_writable_bytes(std::span(got))).ok());
  CHECK(std::memcmp(got.data(), memory + 100, got.size()) == 0);
  const u64 value = 0x1122334455667788;
  REQUIRE(child.held.write((there + page_size - 3).as<u64>(), value).ok());
  u64 back = 0;
  REQUIRE(child.held.read(there + page_size - 3, std::as_writable_bytes(std::span(&back, 1))).ok());
  CHECK(back == value);
  CHECK(memory[page_size - 3] == static_cast<u8>((page_size - 3) * 31));  // only there
  CHECK_FALSE(child.held.read(there + 2 * page_size, std::as_writable_bytes(std::span(got))).ok());
  CHECK_FALSE(child.held.write((there + 3 * page_size).as<u64>(), value).ok());
  ::munmap(memory, 4 * page_size);
}

TEST_CASE("a thread that dies is known to be dead") {
  test::held_child child([] { return ::pause(); });
  REQUIRE(child.hold());
  CHECK_FALSE(child.held.dead());
  ::kill(child.pid(), SIGKILL);
  CHECK(child.held.dead());
  CHECK(child.held.tid() == 0);
}

}  // namespace
}  // namespace ckpt::hijack
