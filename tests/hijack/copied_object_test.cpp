// SPDX-License-Identifier: MIT
//
// The library as a copy in another process: bytes, protections, the memory behind it, and nothing left
// of what did not succeed.
#include "copied_object.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "support/catch.hpp"
#include "support/held_child.hpp"

namespace ckpt::hijack {
namespace {

constexpr u64 extra = 8 * page_size;

std::string maps_of(pid_t pid) {
  std::ostringstream text;
  text << std::ifstream("/proc/" + std::to_string(pid) + "/maps").rdbuf();
  return text.str();
}
/// "r-xp" of an address; empty where nothing is.
std::string protection_at(pid_t pid, u64 address) {
  std::istringstream lines(maps_of(pid));
  for (std::string line; std::getline(lines, line);) {
    unsigned long long begin = 0, end = 0;
    char protection[5] = {};
    if (std::sscanf(line.c_str(), "%llx-%llx %4s", &begin, &end, protection) == 3 && address >= begin &&
        address < end)
      return protection;
  }
  return "";
}

struct copier {
  copier() : child([] { return ::pause(); }), thread(child.held), site(child.held) {
    REQUIRE(library.read(CKPT_LIBRARY, why).ok());
    REQUIRE(child.hold());
    REQUIRE(thread.take().ok());
    REQUIRE(site.find(test::vdso()).ok());
  }
  report why;
  shared_object library;
  test::held_child child;
  borrowed_thread thread;
  call_site site;
};

TEST_CASE("each byte of the library is where it belongs, with the protection that it keeps") {
  copier there;
  remote_caller caller(there.child.held, there.thread.saved(), there.site.address());
  copied_object copy(there.library);
  const auto base = copy.map(there.child.held, caller, extra);
  REQUIRE(base.ok());
  const range relro = there.library.read_only_after_relocation();
  for (const auto& s : there.library.segments()) {
    std::vector<std::byte> wanted(s.memory.length()), got(s.memory.length());
    there.library.relocated(s, *base, s.memory.begin, wanted);
    REQUIRE(there.child.held.read(remote_address(*base + s.memory.begin), got).ok());
    CHECK(std::memcmp(wanted.data(), got.data(), wanted.size()) == 0);
    for (u64 page = s.memory.begin; page < s.memory.end; page += page_size) {
      const bool writable = (s.protection & PROT_WRITE) != 0 && !relro.contains(page);
      std::string protection = "r";
      protection += writable ? 'w' : '-';
      protection += (s.protection & PROT_EXEC) != 0 ? 'x' : '-';
      if (protection_at(there.child.pid(), *base + page) != protection + "p")
        FAIL_CHECK("page " << page << ": " << protection_at(there.child.pid(), *base + page) << " and not "
                           << protection);
    }
  }
  for (u64 page = copy.length(); page < copy.length() + extra; page += page_size)
    CHECK(protection_at(there.child.pid(), *base + page) == "rw-p");
}

TEST_CASE("what cannot be mapped leaves nothing") {
  copier there;
  remote_caller caller(there.child.held, there.thread.saved(), there.site.address());
  copied_object copy(there.library);
  const std::string before = maps_of(there.child.pid());
  // Room for the addresses, none for the data. (No limit of 0: the kernel lets that pass.)
  rlimit limit{};
  REQUIRE(prlimit(there.child.pid(), RLIMIT_DATA, nullptr, &limit) == 0);
  const rlimit none{page_size, limit.rlim_max};
  REQUIRE(prlimit(there.child.pid(), RLIMIT_DATA, &none, nullptr) == 0);
  CHECK(!copy.map(there.child.held, caller, extra).ok());
  CHECK(maps_of(there.child.pid()) == before);
  REQUIRE(prlimit(there.child.pid(), RLIMIT_DATA, &limit, nullptr) == 0);
  CHECK(copy.map(there.child.held, caller, extra).ok());
}

}  // namespace
}  // namespace ckpt::hijack
