// SPDX-License-Identifier: MIT
// Memory files: open, mapped, both, with one name or several descriptors; they are one file again,
// and what is written through any way in is seen through the others.
//
// Fidelity: descriptors | memory files (memfd_create): contents, size, name, mode, offset, flags, dup, mappings with and without a descriptor | kept
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "victim.hpp"

static constexpr size_t page = 4096;

static int memory_file(const char* name, size_t size, uint64_t seed, unsigned flags) {
  const int fd = memfd_create(name, flags);
  if (fd < 0) victim::broken("memfd_create");
  auto* content = static_cast<unsigned char*>(malloc(size));
  victim::fill(content, size, seed);
  if (pwrite(fd, content, size, 0) != static_cast<ssize_t>(size)) victim::broken("pwrite");
  free(content);
  return fd;
}
static unsigned char* map(int fd, size_t length, int protection, int flags, off_t offset = 0) {
  void* memory = mmap(nullptr, length, protection, flags, fd, offset);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return static_cast<unsigned char*>(memory);
}
static std::string name_of(int fd) {
  char path[64], link[256];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const ssize_t size = readlink(path, link, sizeof link);
  return size > 0 ? std::string(link, static_cast<size_t>(size)) : std::string();
}

int main(int count, char** values) {
  victim::begin(count, values);
  const int both = memory_file("both ways", 8 * page + 100, 1, 0);
  unsigned char* shown = map(both, 9 * page, PROT_READ | PROT_WRITE, MAP_SHARED);
  unsigned char* read_only = map(both, 2 * page, PROT_READ, MAP_SHARED, page);
  unsigned char* own = map(both, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[5] = 55;
  lseek(both, 1234, SEEK_SET);
  const int copy = dup(both);
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", both);
  const int reopened = open(path, O_RDONLY | O_CLOEXEC);
  lseek(reopened, 77, SEEK_SET);
  const int only_open = memory_file("only open", 3 * page, 2, MFD_CLOEXEC);
  fchmod(only_open, 0640);
  const int to_close = memory_file("only mapped", 5 * page, 3, 0);
  unsigned char* only_mapped = map(to_close, 5 * page, PROT_READ | PROT_WRITE, MAP_SHARED);
  close(to_close);
  const int sparse = memfd_create("sparse", 0);
  if (ftruncate(sparse, off_t{1} << 40) != 0) victim::broken("ftruncate");
  if (pwrite(sparse, "end", 3, (off_t{1} << 40) - 3) != 3) victim::broken("pwrite");
  unsigned char* large =
      map(sparse, size_t{1} << 40, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE);
  const int empty = memfd_create("", 0);
  unsigned char* beyond = map(empty, page, PROT_READ | PROT_WRITE, MAP_SHARED);
  victim::work_until_stop();

  victim::expect_filled("shared mapping", shown, 8 * page + 100, 1);
  struct stat st {};
  fstat(both, &st);
  victim::expect_equal("size", 8 * page + 100, static_cast<uint64_t>(st.st_size));
  victim::expect_equal("offset", 1234, static_cast<uint64_t>(lseek(both, 0, SEEK_CUR)));
  victim::expect_equal("offset of another open file", 77,
                       static_cast<uint64_t>(lseek(reopened, 0, SEEK_CUR)));
  lseek(copy, 1000, SEEK_SET);
  victim::expect_equal("offset shared by dup", 1000,
                       static_cast<uint64_t>(lseek(both, 0, SEEK_CUR)));
  if (name_of(both) != "/memfd:both ways (deleted)")
    victim::lost("name: %s", name_of(both).c_str());
  shown[page] = 11;
  unsigned char seen = 0;
  if (pread(both, &seen, 1, page) != 1 || seen != 11) victim::lost("a write to memory, by read");
  if (pread(reopened, &seen, 1, page) != 1 || seen != 11) victim::lost("the same, reopened");
  if (read_only[0] != 11) victim::lost("a write to memory, by another mapping");
  if (pwrite(copy, "\x0c", 1, 2) != 1 || shown[2] != 12) victim::lost("a write to the file");
  if (own[5] != 55) victim::lost("private mapping");
  if (mprotect(read_only, page, PROT_READ | PROT_WRITE) != 0) victim::lost("it may be written");
  if ((fcntl(reopened, F_GETFL) & O_ACCMODE) != O_RDONLY || fcntl(reopened, F_GETFD) != FD_CLOEXEC)
    victim::lost("flags");
  if (victim::mapping_of(shown).permissions != "rw-s") victim::lost("shared no longer");

  unsigned char content[3 * page];
  if (pread(only_open, content, sizeof content, 0) != static_cast<ssize_t>(sizeof content))
    victim::lost("a file that is only open");
  victim::expect_filled("only open", content, sizeof content, 2);
  fstat(only_open, &st);
  victim::expect_equal("mode", 0640, st.st_mode & 07777u);
  victim::expect_equal("close-on-exec", FD_CLOEXEC,
                       static_cast<uint64_t>(fcntl(only_open, F_GETFD)));
  victim::expect_filled("only mapped", only_mapped, 5 * page, 3);
  if (victim::mapping_of(only_mapped).permissions != "rw-s") victim::lost("only mapped: private");
  if (memcmp(large + (size_t{1} << 40) - 3, "end", 3) != 0) victim::lost("a sparse file's end");
  if (large[page] != 0) victim::lost("a sparse file's hole");
  fstat(sparse, &st);
  if (st.st_blocks > 2048) victim::lost("a sparse file has %lld blocks", (long long)st.st_blocks);
  if (ftruncate(empty, page) != 0)
    victim::lost("an empty file cannot grow");
  else
    beyond[0] = 1;
  if (pread(empty, &seen, 1, 0) != 1 || seen != 1) victim::lost("a file that was empty");
  return victim::finish();
}
