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

TEST_CASE(
    "eventfd: a count in hexadecimal, and whether it is a semaphore where the kernel says so") {
  const auto old =
      parse_eventfd("pos:\t0\nflags:\t02\nmnt_id:\t15\neventfd-count:               1f\n");
  REQUIRE(old.ok());
  CHECK(old->count == 0x1f);
  CHECK(old->semaphore == -1);
  const auto now =
      parse_eventfd("eventfd-count: fffffffffffffffe\neventfd-id: 3\neventfd-semaphore: 1\n");
  REQUIRE(now.ok());
  CHECK(now->count == 0xfffffffffffffffe);
  CHECK(now->semaphore == 1);
  CHECK(parse_eventfd("pos:\t0\n").error() == errc::not_found);
  CHECK_FALSE(parse_eventfd("eventfd-count: 1ffffffffffffffff\n").ok());
  CHECK_FALSE(parse_eventfd("eventfd-count: 1\neventfd-semaphore: x\n").ok());
}

TEST_CASE("timerfd: clock, expirations, flags in octal, times") {
  const std::string text =
      "pos:\t0\nclockid: 8\nticks: 12\nsettime flags: 03\nit_value: (5, 49406829)\n"
      "it_interval: (1, 0)\n";
  const auto t = parse_timerfd(text);
  REQUIRE(t.ok());
  CHECK(t->clock == 8);
  CHECK(t->ticks == 12);
  CHECK(t->settime_flags == 3);
  CHECK(t->value_ns == 5'049'406'829);
  CHECK(t->interval_ns == 1'000'000'000);
  const auto with = [&](std::string_view from, std::string_view to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return parse_timerfd(changed).ok();
  };
  CHECK(with("(1, 0)", "(0, 999999999)"));
  CHECK_FALSE(with("(1, 0)", "(0, 1000000000)"));
  CHECK_FALSE(with("(1, 0)", "(-1, 0)"));
  CHECK_FALSE(with("(1, 0)", "(9223372036854775807, 0)"));
  CHECK_FALSE(with("(1, 0)", "1, 0"));
  CHECK_FALSE(with("it_value", "it_worth"));
}

TEST_CASE("signalfd: its mask") {
  CHECK(*parse_signalfd("pos:\t0\nsigmask:\t8000000000000201\n") == 0x8000000000000201);
  CHECK_FALSE(parse_signalfd("pos:\t0\n").ok());
}

TEST_CASE("epoll: every entry, with the file it watches") {
  std::vector<epoll_target> found;
  const auto note = [&](const epoll_target& t) -> result<void> {
    found.push_back(t);
    return {};
  };
  REQUIRE(for_each_epoll_target(
              "pos:\t0\nflags:\t02\n"
              "tfd:        5 events:       19 data:                5  pos:0 ino:61af sdev:7\n"
              "tfd:      100 events: c0000001 data: fedcba9876543210  pos:-5 ino:1 sdev:800011\n",
              note)
              .ok());
  REQUIRE(found.size() == 2);
  CHECK(found[0] == epoll_target{5, 0x19, 5, 7, 0x61af});
  CHECK(found[1] == epoll_target{100, 0xc0000001, 0xfedcba9876543210, 0x811, 1});
  const auto refused = [&](std::string_view text) {
    return !for_each_epoll_target(text, note).ok();
  };
  CHECK(refused("tfd: 5 events: 19 data: 5  pos:0 ino:61af sdev:7"));  // no whole line
  CHECK(refused("tfd: 5 events: 19 data: 5\n"));                       // before 4.13
  CHECK(refused("tfd: -5 events: 19 data: 5  pos:0 ino:61af sdev:7\n"));
  CHECK(refused("tfd: 5 events: 1ffffffff data: 5  pos:0 ino:61af sdev:7\n"));
  CHECK(refused("tfd: 5 events: 19 data: 5  pos:0 ino:61af sdev:7x\n"));
}

TEST_CASE("epoll: the numbers are those of stat(2)") {
  const int epoll = epoll_create1(0);
  const open_file regular;
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = 99;
  REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event) == 0);
  struct stat st {};
  REQUIRE(fstat(ends[0], &st) == 0);
  int seen = 0;
  REQUIRE(for_each_epoll_target(fdinfo_of(epoll), [&](const epoll_target& t) -> result<void> {
            ++seen;
            CHECK(t.descriptor == ends[0]);
            CHECK(t.device == st.st_dev);
            CHECK(t.inode == st.st_ino);
            CHECK(t.data == 99);
            CHECK((t.events & EPOLLET) != 0);
            return {};
          }).ok());
  CHECK(seen == 1);
  close(epoll);
  close(ends[0]);
  close(ends[1]);
}
