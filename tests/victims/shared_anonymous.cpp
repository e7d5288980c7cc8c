// SPDX-License-Identifier: MIT
// Shared anonymous memory that is mapped in many ways: one object again, as large as it was, of
// which only what was written is stored, and what is written through one mapping is seen through
// the others and by a later child.
//
// Fidelity: memory | shared anonymous memory: every mapping of one object, its size, holes, parts that nothing maps now | kept; shared with no process but later children
// Fidelity: memory | shared memory that another process has mapped | refused where both have touched a page; otherwise it is not seen, and is not shared after a restart
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "victim.hpp"

static constexpr size_t page = 4096;

static unsigned char* shared(size_t length, int flags = 0) {
  void* memory =
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags, -1, 0);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return static_cast<unsigned char*>(memory);
}
static unsigned char* again(unsigned char* part, size_t length) {
  void* memory = mremap(part, 0, length, MREMAP_MAYMOVE);
  if (memory == MAP_FAILED) victim::broken("mremap");
  return static_cast<unsigned char*>(memory);
}
static void expect_shared(const char* what, const unsigned char* memory, const char* permissions) {
  const auto found = victim::mapping_of(memory);
  if (found.permissions != permissions)
    victim::lost("%s: %s instead of %s", what, found.permissions.c_str(), permissions);
}
static bool touchable(const unsigned char* at) {
  // A system call tells what a touch would be a signal for.
  int ends[2];
  if (pipe(ends) != 0) victim::broken("pipe");
  const bool good = write(ends[1], at, 1) == 1;
  close(ends[0]);
  close(ends[1]);
  return good;
}

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 64 * page;
  // One object in three places, with a hole in the first and three protections.
  unsigned char* first = shared(length);
  victim::fill(first, length, 1);
  unsigned char* second = again(first, length);
  unsigned char* inside = again(first + 8 * page, 4 * page);
  munmap(first + 20 * page, 4 * page);
  mprotect(first + 30 * page, page, PROT_NONE);
  mprotect(first + 40 * page, page, PROT_READ);
  mprotect(inside, 4 * page, PROT_READ);

  // Nothing maps its first and last pages now; the rest may grow into the last.
  unsigned char* partly = shared(16 * page);
  victim::fill(partly, 16 * page, 2);
  munmap(partly + 10 * page, 6 * page);
  munmap(partly, 4 * page);

  // Grown beyond the end of its object, where a touch is SIGBUS.
  unsigned char* grown = shared(2 * page);
  victim::fill(grown, 2 * page, 3);
  grown = static_cast<unsigned char*>(mremap(grown, 2 * page, 6 * page, MREMAP_MAYMOVE));
  if (grown == MAP_FAILED) victim::broken("mremap");

  // 64 GiB with three pages in it, and memory with a page that no process can read.
  constexpr size_t large = size_t{1}
                           << 36;  // not quite: without a descriptor each page is asked for
  unsigned char* sparse = static_cast<unsigned char*>(mmap(
      nullptr, large, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (sparse != MAP_FAILED) {
    victim::fill(sparse, page, 4);
    victim::fill(sparse + large / 2, page, 5);
    victim::fill(sparse + large - page, page, 6);
  }
  unsigned char* hidden = shared(4 * page);
  victim::fill(hidden, 4 * page, 7);
  mprotect(hidden, 4 * page, PROT_NONE);

  unsigned char* advised = shared(4 * page);
  victim::fill(advised, 4 * page, 8);
  madvise(advised, 4 * page, MADV_DONTDUMP);
  const bool locked = mlock(advised, 4 * page) == 0;

  int zero = open("/dev/zero", O_RDWR);
  auto* device = static_cast<unsigned char*>(
      mmap(nullptr, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0));
  close(zero);
  if (device == MAP_FAILED) victim::broken("mmap of /dev/zero");
  victim::fill(device, 4 * page, 9);
  // Written through a mapping that is gone: no page table knows the pages.
  unsigned char* forgotten = shared(8 * page);
  unsigned char* through = again(forgotten, 8 * page);
  victim::fill(through, 8 * page, 10);
  munmap(through, 8 * page);
  unsigned char* untouched = shared(8 * page);
  // Guard pages (6.15 for shared memory) hide what lies behind them.
  unsigned char* guarded = shared(4 * page);
  victim::fill(guarded, 4 * page, 11);
  constexpr int guard_install = 102, guard_remove = 103;
  const bool guards = madvise(guarded + page, page, guard_install) == 0;
  unsigned char* executable = shared(page);
  mprotect(executable, page, PROT_READ | PROT_EXEC);
  // What was mapped last may have gone into it.
  const bool hole = victim::mapping_of(first + 21 * page).end == 0;
  victim::work_until_stop();

  expect_shared("first", first, "rw-s");
  expect_shared("page without access", first + 30 * page, "---s");
  expect_shared("page to read", first + 40 * page, "r--s");
  expect_shared("inside", inside, "r--s");
  expect_shared("hidden", hidden, "---s");
  expect_shared("executable", executable, "r-xs");
  if (hole && victim::mapping_of(first + 21 * page).end != 0 &&
      victim::mapping_of(first + 21 * page).permissions == "rw-s")
    victim::lost("the hole in the first mapping");
  victim::expect_filled("first", first, 20 * page, 1);
  victim::expect_filled("second", second, length, 1);
  first[9 * page] ^= 0xff;
  if (second[9 * page] != first[9 * page] || inside[page] != first[9 * page])
    victim::lost("a write through one mapping is not seen through another");
  second[35 * page] ^= 0xff;
  if (first[35 * page] != second[35 * page]) victim::lost("the same the other way");
  mprotect(inside, 4 * page, PROT_READ | PROT_WRITE);
  inside[0] = 99;
  if (second[8 * page] != 99) victim::lost("a mapping that may be written after mprotect");

  const int child = fork();
  if (child == 0) {
    second[3 * page] = 77;
    untouched[page] = 78;
    _exit(0);
  }
  waitpid(child, nullptr, 0);
  if (first[3 * page] != 77 || untouched[page] != 78)
    victim::lost("a child's write is not seen by its parent");

  unsigned char expected[16 * page];
  victim::fill(expected, sizeof expected, 2);
  if (memcmp(partly + 4 * page, expected + 4 * page, 6 * page) != 0)
    victim::lost("what is left of a larger object");
  auto* more =
      static_cast<unsigned char*>(mremap(partly + 4 * page, 6 * page, 13 * page, MREMAP_MAYMOVE));
  if (more == MAP_FAILED || memcmp(more, expected + 4 * page, 12 * page) != 0)
    victim::lost("the rest of an object, into which its mapping grows");
  if (touchable(more + 12 * page)) victim::lost("an object has become larger");

  victim::expect_filled("grown", grown, 2 * page, 3);
  if (touchable(grown + 2 * page)) victim::lost("pages beyond the end can be touched");
  if (sparse != MAP_FAILED) {
    victim::expect_filled("sparse, begin", sparse, page, 4);
    victim::expect_filled("sparse, middle", sparse + large / 2, page, 5);
    victim::expect_filled("sparse, end", sparse + large - page, page, 6);
    if (sparse[page] != 0) victim::lost("a hole");
  }
  mprotect(hidden, 4 * page, PROT_READ);
  victim::expect_filled("hidden", hidden, 4 * page, 7);
  victim::expect_filled("advised", advised, 4 * page, 8);
  const auto flags = victim::mapping_of(advised).flags;
  if (flags.find("dd ") == std::string::npos) victim::lost("MADV_DONTDUMP");
  if (locked && flags.find("lo ") == std::string::npos) victim::lost("mlock");
  victim::expect_filled("/dev/zero", device, 4 * page, 9);
  expect_shared("/dev/zero", device, "rw-s");
  victim::expect_filled("written through another mapping", forgotten, 8 * page, 10);
  victim::expect_filled("before a guard page", guarded, page, 11);
  if (guards && touchable(guarded + page)) victim::lost("a guard page");
  if (guards) madvise(guarded + page, page, guard_remove);
  victim::expect_filled("behind a guard page", guarded, 4 * page, 11);
  return victim::finish();
}
