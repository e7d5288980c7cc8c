// SPDX-License-Identifier: MIT
//
// maps/name.hpp: what the last column of a maps line means.
#include "ckpt/maps/name.hpp"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::maps;

namespace {

std::string unescaped(std::string text) {
  return std::string(unescape(text));
}

constexpr bool unescapes_to(std::string_view from, std::string_view to) {
  std::array<char, 64> buffer{};
  for (std::size_t i = 0; i < from.size(); ++i) buffer[i] = from[i];
  return unescape(std::span(buffer.data(), from.size())) == to;
}

// The name of the mapping that starts at this address, with its escapes.
std::string name_at(const void* address) {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (std::stoull(line, nullptr, 16) != reinterpret_cast<u64>(address)) continue;
    const auto at = line.find_first_of("/[", 40);
    return at == std::string::npos ? "" : line.substr(at);
  }
  return "not mapped";
}

}  // namespace

TEST_CASE("names in brackets are the kernel's own memory") {
  STATIC_REQUIRE(special_of("[heap]") == special::heap);
  STATIC_REQUIRE(special_of("[stack]") == special::stack);
  STATIC_REQUIRE(special_of("[vdso]") == special::vdso);
  STATIC_REQUIRE(special_of("[vvar]") == special::vvar);
  STATIC_REQUIRE(special_of("[vvar_vclock]") == special::vvar);
  STATIC_REQUIRE(special_of("[vvar_of_tomorrow]") == special::vvar);
  STATIC_REQUIRE(special_of("[vsyscall]") == special::vsyscall);
  STATIC_REQUIRE(special_of("[uprobes]") == special::uprobes);
  STATIC_REQUIRE(special_of("[anon:glibc: malloc]") == special::anon_named);
  STATIC_REQUIRE(special_of("[anon_shmem:ring]") == special::anon_named);
  STATIC_REQUIRE(special_of("[sigpage]") == special::other_kernel);
}

TEST_CASE("a file whose path only looks like one is a file") {
  STATIC_REQUIRE(special_of("") == special::none);
  STATIC_REQUIRE(special_of("/home/u/[heap]") == special::none);
  STATIC_REQUIRE(special_of("/usr/lib/libc.so.6") == special::none);
}

TEST_CASE("what stands behind a mapping") {
  STATIC_REQUIRE(backing_of("") == backing::memory);
  STATIC_REQUIRE(backing_of("[heap]") == backing::memory);
  STATIC_REQUIRE(backing_of("[anon:x]") == backing::memory);
  STATIC_REQUIRE(backing_of("[anon_shmem:x]") == backing::shared_anonymous);
  STATIC_REQUIRE(backing_of("/dev/zero (deleted)") == backing::shared_anonymous);
  STATIC_REQUIRE(backing_of("/dev/zero") == backing::file);
  STATIC_REQUIRE(backing_of("/SYSV00000000 (deleted)") == backing::system_v);
  STATIC_REQUIRE(backing_of("/SYSV00000000") == backing::file);
  STATIC_REQUIRE(backing_of("/memfd:name (deleted)") == backing::memfd);
  STATIC_REQUIRE(backing_of("/anon_hugepage (deleted)") == backing::huge_pages);
  STATIC_REQUIRE(backing_of("/secretmem (deleted)") == backing::secret);
  STATIC_REQUIRE(backing_of("/[aio] (deleted)") == backing::aio_ring);
  STATIC_REQUIRE(backing_of("anon_inode:[io_uring]") == backing::anon_inode);
  STATIC_REQUIRE(backing_of("/bin/true") == backing::file);
  STATIC_REQUIRE(backing_of("/tmp/gone (deleted)") == backing::file);
}

TEST_CASE("the mark of a deleted file is found and taken off") {
  STATIC_REQUIRE(is_deleted("/tmp/x (deleted)"));
  STATIC_REQUIRE(!is_deleted("/tmp/x (deleted) "));
  STATIC_REQUIRE(!is_deleted("/tmp/x"));
  STATIC_REQUIRE(without_deleted("/tmp/x (deleted)") == "/tmp/x");
  STATIC_REQUIRE(without_deleted("/tmp/x (deleted) (deleted)") == "/tmp/x (deleted)");
  STATIC_REQUIRE(without_deleted("/tmp/x") == "/tmp/x");
}

TEST_CASE("only the newline is escaped") {
  STATIC_REQUIRE(unescapes_to("", ""));
  STATIC_REQUIRE(unescapes_to("/tmp/a\\012b", "/tmp/a\nb"));
  STATIC_REQUIRE(unescapes_to("\\012\\012", "\n\n"));
  STATIC_REQUIRE(unescapes_to("\\01", "\\01"));
  STATIC_REQUIRE(unescapes_to("/tmp/\\101", "/tmp/\\101"));
  STATIC_REQUIRE(unescapes_to("\\\\012", "\\\n"));
  CHECK(unescaped("a\\012") == "a\n");
}

TEST_CASE("the running kernel names things as described here") {
  struct mapped {
    void* at;
    ~mapped() {
      if (at != MAP_FAILED) munmap(at, 4096);
    }
  };
  const mapped shared{mmap(nullptr, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0)};
  REQUIRE(shared.at != MAP_FAILED);
  CHECK(backing_of(name_at(shared.at)) == backing::shared_anonymous);

  const int memory = memfd_create("two\nlines", 0);
  REQUIRE(memory >= 0);
  REQUIRE(ftruncate(memory, 4096) == 0);
  const mapped named{mmap(nullptr, 4096, PROT_READ, MAP_SHARED, memory, 0)};
  REQUIRE(named.at != MAP_FAILED);
  CHECK(backing_of(name_at(named.at)) == backing::memfd);
  CHECK(unescaped(name_at(named.at)) == "/memfd:two\nlines (deleted)");
  close(memory);

  const std::string path = "/tmp/ckpt-name-" + std::to_string(getpid()) + "\\101\n";
  {
    std::ofstream file(path);
    file << std::string(4096, 'x');
  }
  FILE* file = std::fopen(path.c_str(), "r");
  REQUIRE(file != nullptr);
  const mapped mapping{mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fileno(file), 0)};
  std::fclose(file);
  CHECK(unescaped(name_at(mapping.at)) == path);
  unlink(path.c_str());
  CHECK(is_deleted(name_at(mapping.at)));
  std::string name = name_at(mapping.at);
  CHECK(without_deleted(unescape(name)) == path);
}
