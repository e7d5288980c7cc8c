// SPDX-License-Identifier: MIT
//
// proc/fdinfo.hpp, on lines of fs/locks.c and on files that this process locks.
#include "ckpt/proc/fdinfo.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::proc;

namespace {

std::string fdinfo_of(int fd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(fd));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<file_lock> locks_of(std::string_view text) {
  std::vector<file_lock> locks;
  const auto outcome = for_each_lock(text, [&](const file_lock& l) -> result<void> {
    locks.push_back(l);
    return {};
  });
  REQUIRE(outcome.ok());
  return locks;
}

struct open_file {
  int fd;
  struct stat st {};
  open_file() {
    char name[] = "/tmp/ckpt-fdinfo-test-XXXXXX";
    fd = mkstemp(name);
    REQUIRE(fd >= 0);
    unlink(name);
    REQUIRE(fstat(fd, &st) == 0);
  }
  ~open_file() { close(fd); }
};

void lock(int fd, int command, short type, off_t start, off_t length) {
  struct flock l {};
  l.l_type = type;
  l.l_whence = SEEK_SET;
  l.l_start = start;
  l.l_len = length;
  REQUIRE(fcntl(fd, command, &l) == 0);
}

}  // namespace

TEST_CASE("position, flags, mount and inode") {
  constexpr std::string_view text = "pos:\t42\nflags:\t0102002\nmnt_id:\t29\nino:\t12345\n";
  STATIC_REQUIRE(parse_fdinfo(text)->position == 42);
  STATIC_REQUIRE(parse_fdinfo(text)->flags == 0102002);
  STATIC_REQUIRE(parse_fdinfo(text)->mount == 29);
  STATIC_REQUIRE(parse_fdinfo(text)->inode == 12345);
}

TEST_CASE("a kernel before 5.14 shows no inode") {
  STATIC_REQUIRE(parse_fdinfo("pos:\t0\nflags:\t02\nmnt_id:\t9\n")->inode == 0);
}

TEST_CASE("half a file is an error") {
  STATIC_REQUIRE(parse_fdinfo("pos:\t0\nflags:\t02\nmnt_id:\t9").error() == errc::end_of_input);
  STATIC_REQUIRE(parse_fdinfo("pos:\t0\n").error() == errc::not_found);
  STATIC_REQUIRE(parse_fdinfo("").error() == errc::not_found);
  STATIC_REQUIRE(parse_fdinfo("pos:\tx\nflags:\t02\nmnt_id:\t9\n").error() == errc::malformed);
  STATIC_REQUIRE(parse_fdinfo("pos:\t0\nflags:\t08\nmnt_id:\t9\n").error() == errc::malformed);
}

TEST_CASE("each kind of lock line") {
  constexpr auto posix = parse_lock("\t1: POSIX  ADVISORY  WRITE 1234 fe:01:77 0 EOF");
  STATIC_REQUIRE(posix.ok());
  STATIC_REQUIRE(posix->kind == lock_kind::posix);
  STATIC_REQUIRE(posix->write);
  STATIC_REQUIRE(posix->pid == 1234);
  STATIC_REQUIRE(posix->device == 0xfe01);
  STATIC_REQUIRE(posix->inode == 77);
  STATIC_REQUIRE(posix->start == 0);
  STATIC_REQUIRE(posix->to_eof);

  constexpr auto part = parse_lock("\t2: OFDLCK ADVISORY  READ -1 00:2a:9 100 199");
  STATIC_REQUIRE(part->kind == lock_kind::ofd);
  STATIC_REQUIRE(!part->write);
  STATIC_REQUIRE(part->pid == -1);
  STATIC_REQUIRE(part->start == 100);
  STATIC_REQUIRE(part->end == 199);
  STATIC_REQUIRE(!part->to_eof);

  STATIC_REQUIRE(parse_lock("\t1: FLOCK  ADVISORY  WRITE 7 fe:00:1 0 EOF")->kind ==
                 lock_kind::flock);
  constexpr auto lease = parse_lock("\t1: LEASE  BREAKING  UNLCK 7 fe:00:1 0 EOF");
  STATIC_REQUIRE(lease->kind == lock_kind::lease);
  STATIC_REQUIRE(lease->breaking);
  STATIC_REQUIRE(!parse_lock("\t1: LEASE  ACTIVE    READ 7 fe:00:1 0 EOF")->breaking);
  STATIC_REQUIRE(parse_lock("\t1: DELEG  ACTIVE    READ 7 fe:00:1 0 EOF")->kind ==
                 lock_kind::lease);
}

TEST_CASE("a lock line that is not one is refused") {
  STATIC_REQUIRE(parse_lock("\t1: UNKNOWN UNKNOWN READ 7 fe:00:1 0 EOF").error() ==
                 errc::not_found);
  for (const std::string_view line :
       {"", "1", "1:", "1: POSIX", "1: POSIX ADVISORY", "1: POSIX ADVISORY WRITE",
        "1: POSIX ADVISORY WRITE 1", "1: POSIX ADVISORY WRITE 1 fe:00", "1: POSIX ADVISORY MAYBE 1",
        "1: POSIX ADVISORY WRITE 1 fe:00:1 0", "1: POSIX ADVISORY WRITE 1 fe:00:1 5 4",
        "1: POSIX ADVISORY WRITE 1 fe:00:1 0 EOFX", "1: POSIX ADVISORY WRITE 1 fe:00:1 0 9 9",
        "1: POSIX ADVISORY WRITE 1 <none>:0 0 EOF"}) {
    CAPTURE(line);
    CHECK(parse_lock(line).error() == errc::malformed);
  }
}

TEST_CASE("locks are walked among other lines, and an error ends the walk") {
  constexpr std::string_view text =
      "pos:\t0\nflags:\t02\nlock:\t1: POSIX  ADVISORY  WRITE 1 fe:00:1 0 9\nmnt_id:\t9\n"
      "lock:\t2: FLOCK  ADVISORY  READ 1 fe:00:1 0 EOF\n";
  const auto locks = locks_of(text);
  REQUIRE(locks.size() == 2);
  CHECK(locks[0].end == 9);
  CHECK(locks[1].kind == lock_kind::flock);

  int calls = 0;
  const auto stop = [&](const file_lock&) -> result<void> {
    ++calls;
    return errc::no_space;
  };
  CHECK(for_each_lock(text, stop).error() == errc::no_space);
  CHECK(calls == 1);
  CHECK(for_each_lock("lock:\t1: POSIX", stop).error() == errc::end_of_input);
  CHECK(for_each_lock("lock:\t1: POSIX\n", stop).error() == errc::malformed);
  CHECK(for_each_lock("", stop).ok());
}

TEST_CASE("an open file's own fdinfo") {
  const open_file file;
  REQUIRE(write(file.fd, "hello", 5) == 5);
  REQUIRE(fcntl(file.fd, F_SETFL, O_APPEND | O_NONBLOCK) == 0);
  REQUIRE(fcntl(file.fd, F_SETFD, FD_CLOEXEC) == 0);
  const auto info = parse_fdinfo(fdinfo_of(file.fd));
  REQUIRE(info.ok());
  CHECK(info->position == 5);
  CHECK((info->flags & O_ACCMODE) == O_RDWR);
  CHECK((info->flags & O_APPEND) != 0);
  CHECK((info->flags & O_NONBLOCK) != 0);
  CHECK((info->flags & O_CLOEXEC) != 0);
  CHECK((info->inode == file.st.st_ino || info->inode == 0));
}

TEST_CASE("a special descriptor's extra lines do no harm") {
  const int epoll = epoll_create1(0);
  epoll_event event{};
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
  const std::string text = fdinfo_of(epoll);
  CHECK(text.find("tfd:") != std::string::npos);
  CHECK(parse_fdinfo(text).ok());
  CHECK(locks_of(text).empty());
  close(epoll);
  close(ends[0]);
  close(ends[1]);
}

TEST_CASE("locks that this process holds are found on their files") {
  const auto is_on = [](const file_lock& l, const open_file& f) {
    return l.device == f.st.st_dev && l.inode == f.st.st_ino;
  };
  SECTION("posix, in two parts") {
    const open_file file;
    lock(file.fd, F_SETLK, F_WRLCK, 10, 20);
    lock(file.fd, F_SETLK, F_RDLCK, 100, 0);
    const auto locks = locks_of(fdinfo_of(file.fd));
    REQUIRE(locks.size() == 2);
    CHECK(locks[0].kind == lock_kind::posix);
    CHECK(locks[0].pid == getpid());
    CHECK(locks[0].write);
    CHECK(locks[0].start == 10);
    CHECK(locks[0].end == 29);
    CHECK(is_on(locks[0], file));
    CHECK_FALSE(locks[1].write);
    CHECK(locks[1].start == 100);
    CHECK(locks[1].to_eof);
  }
  SECTION("of the open file") {
    const open_file file;
    lock(file.fd, F_OFD_SETLK, F_WRLCK, 0, 0);
    const auto locks = locks_of(fdinfo_of(file.fd));
    REQUIRE(locks.size() == 1);
    CHECK(locks[0].kind == lock_kind::ofd);
    CHECK(locks[0].pid == -1);
    CHECK(locks[0].to_eof);
    CHECK(is_on(locks[0], file));
  }
  SECTION("flock") {
    const open_file file;
    REQUIRE(flock(file.fd, LOCK_SH) == 0);
    const auto locks = locks_of(fdinfo_of(file.fd));
    REQUIRE(locks.size() == 1);
    CHECK(locks[0].kind == lock_kind::flock);
    CHECK_FALSE(locks[0].write);
    CHECK(is_on(locks[0], file));
  }
  SECTION("lease") {
    const open_file file;
    if (fcntl(file.fd, F_SETLEASE, F_WRLCK) != 0) return;  // not on every file system
    const auto locks = locks_of(fdinfo_of(file.fd));
    REQUIRE(locks.size() == 1);
    CHECK(locks[0].kind == lock_kind::lease);
    CHECK(locks[0].write);
    CHECK_FALSE(locks[0].breaking);
  }
}
