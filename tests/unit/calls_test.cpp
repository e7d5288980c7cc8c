// SPDX-License-Identifier: MIT
//
// sys/calls.hpp: the raw system calls give what libc's give, as values and not through errno.
#include "ckpt/sys/calls.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "support/catch.hpp"

using namespace ckpt;

TEST_CASE("a raw result is a value or an errno, and addresses are values") {
  CHECK(sys::checked(sys::raw{7}).value() == 7);
  CHECK(sys::checked(sys::raw{0}).value() == 0);
  CHECK(sys::checked(sys::raw{-ENOENT}).error() == errc::no_entry);
  CHECK(sys::checked(sys::raw{-4095}).error() == static_cast<errc>(4095));
  CHECK(sys::checked<u64>(sys::raw{-4096}).value() == ~u64{0} - 4095);
  CHECK(sys::checked<void>(sys::raw{0}).ok());
}

TEST_CASE("failure comes back as a value and leaves errno alone") {
  errno = 77;
  CHECK(sys::openat(sys::abi::at_fdcwd, "/nonexistent/file", sys::abi::o_rdonly).error() ==
        errc::no_entry);
  CHECK(sys::close(-1).error() == static_cast<errc>(EBADF));
  CHECK(errno == 77);
}

TEST_CASE("who we are") {
  CHECK(sys::getpid() == getpid());
  CHECK(sys::getppid() == getppid());
  CHECK(sys::getuid() == getuid());
  CHECK(sys::getegid() == getegid());
}

TEST_CASE("stat agrees with libc's, field by field") {
  struct stat theirs {};
  REQUIRE(::stat("/proc/self/exe", &theirs) == 0);
  sys::abi::stat ours{};
  REQUIRE(sys::newfstatat(sys::abi::at_fdcwd, "/proc/self/exe", ours, 0).ok());
  CHECK(ours.st_dev == theirs.st_dev);
  CHECK(ours.st_ino == theirs.st_ino);
  CHECK(ours.st_nlink == theirs.st_nlink);
  CHECK(ours.st_mode == theirs.st_mode);
  CHECK(ours.st_size == theirs.st_size);
  CHECK(ours.st_blocks == theirs.st_blocks);
  CHECK(static_cast<i64>(ours.st_mtime_sec) == theirs.st_mtim.tv_sec);
  CHECK(static_cast<i64>(ours.st_mtime_nsec) == theirs.st_mtim.tv_nsec);
}

TEST_CASE("memory is mapped, moved and given back") {
  const u64 at =
      sys::mmap(0, 2 * page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
          .value();
  std::memset(reinterpret_cast<void*>(at), 'x', 2 * page_size);
  const u64 moved = sys::mremap(at, 2 * page_size, 8 * page_size, sys::abi::mremap_maymove).value();
  CHECK(*reinterpret_cast<char*>(moved + page_size) == 'x');
  CHECK(sys::mprotect(moved, page_size, PROT_NONE).ok());
  CHECK(sys::munmap(moved, 8 * page_size).ok());
  CHECK(sys::munmap(moved + 1, page_size).error() == errc::invalid);
}

TEST_CASE("a pipe carries bytes") {
  int ends[2];
  REQUIRE(sys::pipe2(ends, sys::abi::o_cloexec).ok());
  CHECK((fcntl(ends[0], F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(sys::write(ends[1], "abc", 3).value() == 3);
  char got[8];
  CHECK(sys::read(ends[0], got, sizeof got).value() == 3);
  CHECK(std::string_view(got, 3) == "abc");
  CHECK(sys::close(ends[0]).ok());
  CHECK(sys::close(ends[1]).ok());
}
