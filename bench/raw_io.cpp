// SPDX-License-Identifier: MIT
//
// What the machine can do without ckpt: writes and reads as many bytes in the way a checkpoint and
// a restart do, and prints how many nanoseconds that took. bench.py compares.
//
//   raw_io write FILE BYTES   random bytes, 1 MiB at a time, fdatasync, rename, directory synced
//   raw_io read FILE          into fresh huge-page memory, 1 MiB at a time
//   raw_io copy FILE          into one buffer, and from there by memcpy into huge-page memory
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr std::size_t chunk = std::size_t{1} << 20;
constexpr std::size_t huge_page = std::size_t{2} << 20;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

std::int64_t now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

/// Aligned so that huge pages fit, untouched.
char* reserve(std::size_t size) {
  auto* at = static_cast<char*>(mmap(nullptr, size + huge_page, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (at == MAP_FAILED) fail("mmap");
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  at += (huge_page - address % huge_page) % huge_page;
  madvise(at, size, MADV_HUGEPAGE);
  return at;
}

std::int64_t write_file(const std::string& name, std::size_t size) {
  char* memory = reserve(size);
  std::uint64_t x = 88172645463325252;
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    std::memcpy(memory + i, &x, sizeof x);
  }
  const std::string partial = name + ".partial";
  std::string directory = name;
  directory.resize(directory.rfind('/') + 1);

  const auto begin = now();
  const int fd = open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
  if (fd < 0) fail("open");
  for (std::size_t done = 0; done < size;) {
    const ssize_t n = write(fd, memory + done, size - done < chunk ? size - done : chunk);
    if (n <= 0) fail("write");
    done += static_cast<std::size_t>(n);
  }
  if (fdatasync(fd) != 0) fail("fdatasync");
  if (rename(partial.c_str(), name.c_str()) != 0) fail("rename");
  const int parent = open(directory.empty() ? "." : directory.c_str(), O_RDONLY | O_DIRECTORY);
  if (parent < 0 || fsync(parent) != 0) fail("fsync");
  return now() - begin;
}

std::int64_t read_file(const char* name, bool through_buffer) {
  const auto begin = now();
  const int fd = open(name, O_RDONLY | O_CLOEXEC);
  struct stat st {};
  if (fd < 0 || fstat(fd, &st) != 0) fail(name);
  const auto size = static_cast<std::size_t>(st.st_size);
  char* memory = reserve(size);
  char* buffer = through_buffer ? reserve(chunk) : nullptr;
  for (std::size_t done = 0; done < size;) {
    const std::size_t wanted = size - done < chunk ? size - done : chunk;
    const ssize_t n = read(fd, through_buffer ? buffer : memory + done, wanted);
    if (n <= 0) fail("read");
    if (through_buffer) std::memcpy(memory + done, buffer, static_cast<std::size_t>(n));
    done += static_cast<std::size_t>(n);
  }
  return now() - begin;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[1] : "";
  if (mode == "write" && argc == 4)
    std::printf("%lld\n", static_cast<long long>(write_file(argv[2], std::strtoull(argv[3], nullptr, 10))));
  else if ((mode == "read" || mode == "copy") && argc == 3)
    std::printf("%lld\n", static_cast<long long>(read_file(argv[2], mode == "copy")));
  else
    return 2;
  return 0;
}
