// SPDX-License-Identifier: MIT
//
// sys/abi.hpp against libc's headers, where the kernel's have no say or the C library's callers
// must agree, and against the running kernel for what is newer than the headers.
// abi_kernel_check.cpp holds the rest against the kernel's headers.
#include "ckpt/sys/abi.hpp"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "ckpt/sys/calls.hpp"
#include "support/catch.hpp"

using namespace ckpt;
namespace abi = ckpt::sys::abi;

TEST_CASE("a directory entry is laid out as libc's") {
  STATIC_REQUIRE(offsetof(abi::dirent64, d_ino) == offsetof(dirent64, d_ino));
  STATIC_REQUIRE(offsetof(abi::dirent64, d_off) == offsetof(dirent64, d_off));
  STATIC_REQUIRE(offsetof(abi::dirent64, d_reclen) == offsetof(dirent64, d_reclen));
  STATIC_REQUIRE(offsetof(abi::dirent64, d_type) == offsetof(dirent64, d_type));
  STATIC_REQUIRE(abi::dirent64_name_offset == offsetof(dirent64, d_name));
}

TEST_CASE("structures that programs share with the kernel through libc") {
  STATIC_REQUIRE(sizeof(abi::stat) == sizeof(struct stat));
  STATIC_REQUIRE(offsetof(abi::stat, st_rdev) == offsetof(struct stat, st_rdev));
  STATIC_REQUIRE(offsetof(abi::stat, st_mtime_sec) == offsetof(struct stat, st_mtim));
  STATIC_REQUIRE(sizeof(abi::siginfo) == sizeof(siginfo_t));
  STATIC_REQUIRE(sizeof(abi::stack) == sizeof(stack_t));
  STATIC_REQUIRE(sizeof(abi::timespec) == sizeof(timespec));
  STATIC_REQUIRE(sizeof(abi::timeval) == sizeof(timeval));
  STATIC_REQUIRE(sizeof(abi::itimerval) == sizeof(itimerval));
  STATIC_REQUIRE(sizeof(abi::rlimit64) == sizeof(rlimit));
  STATIC_REQUIRE(sizeof(abi::pollfd) == sizeof(pollfd));
  STATIC_REQUIRE(sizeof(abi::utsname) == sizeof(utsname));
  STATIC_REQUIRE(sizeof(abi::iovec) == sizeof(iovec));
  STATIC_REQUIRE(sizeof(abi::flock64) == sizeof(struct flock));
  // libc's ucontext_t has more behind the mask (and a wider mask); the kernel's frame ends there.
  STATIC_REQUIRE(offsetof(abi::ucontext, uc_mcontext) == offsetof(ucontext_t, uc_mcontext));
  STATIC_REQUIRE(offsetof(abi::ucontext, uc_sigmask) == offsetof(ucontext_t, uc_sigmask));
}

TEST_CASE("constants that only libc's headers have") {
  STATIC_REQUIRE(abi::sig_dfl == 0);
  CHECK(reinterpret_cast<u64>(SIG_DFL) == abi::sig_dfl);
  CHECK(reinterpret_cast<u64>(SIG_IGN) == abi::sig_ign);
  STATIC_REQUIRE(abi::signal_count == _NSIG - 1);
  STATIC_REQUIRE(abi::ss_onstack == SS_ONSTACK);
  STATIC_REQUIRE(abi::ss_disable == SS_DISABLE);
  STATIC_REQUIRE(abi::rlimit_count == RLIM_NLIMITS);
  STATIC_REQUIRE(abi::em_x86_64 == EM_X86_64);
  STATIC_REQUIRE(abi::w_all == __WALL);
}

TEST_CASE("asking for the personality does not change it") {
  CHECK(sys::personality(abi::personality_query).value() ==
        static_cast<u32>(personality(0xffffffff)));
}

TEST_CASE("the registers of a signal frame are where they are looked for") {
  static abi::ucontext seen;
  static u64 marker;
  marker = 0;
  struct sigaction action {
  }, old;
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    std::memcpy(&seen, context, sizeof seen);
    abi::fpx_sw_bytes sw;
    std::memcpy(&sw, reinterpret_cast<void*>(seen.uc_mcontext.fpstate + abi::fpx_sw_offset),
                sizeof sw);
    if (sw.magic1 == abi::fp_xstate_magic1) {
      u32 magic2;
      std::memcpy(&magic2, reinterpret_cast<void*>(seen.uc_mcontext.fpstate + sw.xstate_size), 4);
      marker = magic2;
    }
  };
  REQUIRE(sigaction(SIGUSR1, &action, &old) == 0);
  const long pid = getpid();
  long answer;
  // r12 holds a mark while the signal arrives at the end of kill(2).
  __asm__ volatile(
      "mov $0x1122334455667788, %%r12\n\t"
      "syscall"
      : "=a"(answer)
      : "a"(static_cast<long>(SYS_kill)), "D"(pid), "S"(static_cast<long>(SIGUSR1))
      : "rcx", "r11", "r12", "memory");
  sigaction(SIGUSR1, &old, nullptr);
  REQUIRE(answer == 0);
  CHECK(seen.uc_mcontext.r12 == 0x1122334455667788);
  CHECK(seen.uc_mcontext.rdi == static_cast<u64>(pid));
  CHECK(seen.uc_mcontext.rax == 0);
  CHECK(seen.uc_mcontext.fpstate != 0);
  CHECK(((seen.uc_flags & abi::uc_fp_xstate) == 0 || marker == abi::fp_xstate_magic2));
}

TEST_CASE("the kernel's page scan understands our structures") {
  const int fd = open("/proc/self/pagemap", O_RDONLY);
  REQUIRE(fd >= 0);
  const u64 n = 4;
  auto* memory = static_cast<char*>(
      mmap(nullptr, n * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  REQUIRE(memory != MAP_FAILED);
  memory[1 * page_size] = 1;
  memory[2 * page_size] = 1;
  abi::page_region regions[4]{};
  abi::pm_scan_arg scan{};
  scan.size = sizeof scan;
  scan.start = reinterpret_cast<u64>(memory);
  scan.end = scan.start + n * page_size;
  scan.vec = reinterpret_cast<u64>(regions);
  scan.vec_len = 4;
  scan.category_mask = abi::page_is_present;
  scan.return_mask = abi::page_is_present | abi::page_is_file;
  const int found = ioctl(fd, abi::pagemap_scan_ioctl, &scan);
  const int error = errno;
  munmap(memory, n * page_size);
  close(fd);
  if (found < 0) {
    CHECK(error == ENOTTY);  // a kernel before 6.7
    return;
  }
  REQUIRE(found == 1);
  CHECK(regions[0].start == scan.start + page_size);
  CHECK(regions[0].end == scan.start + 3 * page_size);
  CHECK(regions[0].categories == abi::page_is_present);
  CHECK(scan.walk_end == scan.end);
}
