// SPDX-License-Identifier: MIT
//
// The library is mapped as its file says, and what needs a real loader is refused by name.
#include "shared_object.hpp"

#include <elf.h>
#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <iterator>

#include "support/catch.hpp"
#include "support/held_child.hpp"
#include "support/seed.hpp"

namespace ckpt::hijack {
namespace {

std::vector<std::byte> contents_of(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

bool says(std::string_view line, std::string_view word) {
  return line.find(word) != std::string_view::npos;
}

std::string refusal(std::vector<std::byte> file) {
  shared_object object;
  report why;
  const auto parsed = object.parse(std::move(file), why);
  if (parsed.ok()) return "";
  return parsed.error() == errc::refused ? std::string(why.line()) : "malformed";
}

template <class T>
T& in(std::vector<std::byte>& file, u64 offset) {
  return *reinterpret_cast<T*>(file.data() + offset);
}
Elf64_Phdr* header_of(std::vector<std::byte>& file, u32 type) {
  const auto& head = in<Elf64_Ehdr>(file, 0);
  for (u64 i = 0; i < head.e_phnum; ++i) {
    auto& p = in<Elf64_Phdr>(file, head.e_phoff + i * sizeof(Elf64_Phdr));
    if (p.p_type == type) return &p;
  }
  return nullptr;
}
Elf64_Dyn* entry_of(std::vector<std::byte>& file, i64 tag) {
  auto* d = &in<Elf64_Dyn>(file, header_of(file, PT_DYNAMIC)->p_offset);
  while (d->d_tag != tag && d->d_tag != DT_NULL) ++d;
  return d->d_tag == tag ? d : nullptr;
}

TEST_CASE("the agent's library needs no loader but this one") {
  shared_object object;
  report why;
  const auto read = object.read(CKPT_LIBRARY, why);
  INFO(why.line());
  REQUIRE(read.ok());
  CHECK(object.constructors().size() == 1);
  CHECK(object.segments().size() >= 3);
  CHECK_FALSE(object.read_only_after_relocation().empty());
  for (const auto& s : object.segments())
    CHECK((s.protection & (PROT_WRITE | PROT_EXEC)) != (PROT_WRITE | PROT_EXEC));
}

TEST_CASE("what it cannot do is refused, and says what") {
  const auto whole = contents_of(CKPT_LIBRARY);
  REQUIRE(refusal(whole).empty());
  const auto changed = [&](auto change) {
    auto file = whole;
    change(file);
    return refusal(file);
  };
  CHECK(
      says(changed([](auto& f) { entry_of(f, DT_SONAME)->d_tag = DT_NEEDED; }), "another library"));
  CHECK(says(changed([](auto& f) { entry_of(f, DT_SONAME)->d_tag = DT_RELR; }), "loader"));
  CHECK(says(changed([](auto& f) { entry_of(f, DT_SONAME)->d_tag = DT_INIT; }), "loader"));
  CHECK(
      says(changed([](auto& f) { header_of(f, PT_GNU_STACK)->p_type = PT_TLS; }), "thread-local"));
  CHECK(says(changed([](auto& f) {
               const u64 rela = entry_of(f, DT_RELA)->d_un.d_ptr;
               in<Elf64_Rela>(f, rela).r_info = ELF64_R_INFO(0, R_X86_64_IRELATIVE);
             }),
             "relocation of type 37"));
  // malloc may be missing, and then nothing is put in its place; what is not weak may not.
  const auto first_undefined = [](auto& f) -> Elf64_Sym& {
    u64 at = entry_of(f, DT_SYMTAB)->d_un.d_ptr;
    do at += sizeof(Elf64_Sym);
    while (in<Elf64_Sym>(f, at).st_shndx != SHN_UNDEF);
    return in<Elf64_Sym>(f, at);
  };
  CHECK(says(changed([&](auto& f) {
               first_undefined(f).st_info = ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE);
             }),
             "symbols of other libraries"));
  CHECK(says(changed([&](auto& f) { first_undefined(f).st_shndx = 1; }), "relocation of type 6"));
  CHECK(says(changed([](auto& f) { in<Elf64_Ehdr>(f, 0).e_machine = EM_AARCH64; }), "machine"));
  CHECK(changed([](auto& f) {
          const u64 rela = entry_of(f, DT_RELA)->d_un.d_ptr;
          in<Elf64_Rela>(f, rela).r_offset = 0x40;  // not in writable memory
        }) == "malformed");
  CHECK(changed([](auto& f) { header_of(f, PT_LOAD)->p_filesz = u64{1} << 40; }) == "malformed");
  shared_object object;
  report why;
  CHECK_FALSE(object.read("/proc/self/exe", why).ok());
  CHECK_FALSE(object.read("/nonexistent", why).ok());
  CHECK(says(std::string(why.line()), "/nonexistent"));
}

TEST_CASE("no file makes it read beside the file") {
  const auto whole = contents_of(CKPT_LIBRARY);
  u64 refused = 0;
  for (u64 size = 0; size < whole.size(); size += size < 8192 ? 13 : 4099)
    refused += !refusal({whole.begin(), whole.begin() + static_cast<long>(size)}).empty();
  CHECK(refused > 100);
  INFO("seed " << test::seed());
  test::random_source random(test::seed());
  const u64 table = 64 + 8 * sizeof(Elf64_Phdr);
  const u64 dynamic = [&] {
    auto copy = whole;
    return header_of(copy, PT_DYNAMIC)->p_offset;
  }();
  for (int round = 0; round < 3000; ++round) {
    auto file = whole;
    for (u64 n = random(1, 3); n > 0; --n) {
      const u64 where = random.one_in(2) ? random(0, table - 1) : dynamic + random(0, 255);
      file[where] = static_cast<std::byte>(random(0, 255));
    }
    shared_object object;
    report why;
    if (!object.parse(std::move(file), why).ok()) continue;
    for (const auto& s : object.segments()) {
      std::vector<std::byte> contents(std::min(s.memory.length(), whole.size()));
      object.relocated(s, 0x10000, s.memory.begin, contents);
    }
  }
}

TEST_CASE("in another process it is what the file says") {
  shared_object object;
  report why;
  REQUIRE(object.read(CKPT_LIBRARY, why).ok());
  test::held_child child([] { return ::pause(); });
  REQUIRE(child.hold());
  borrowed_thread thread(child.held);
  REQUIRE(thread.take().ok());
  call_site site(child.held);
  REQUIRE(site.find(test::vdso()).ok());
  remote_caller caller(child.held, thread.saved(), site.address());
  borrowed_memory memory(caller);
  REQUIRE(memory.take(page_size).ok());
  const u64 lowest = caller.system_call(SYS_dup, 0).value();
  REQUIRE(caller.system_call(SYS_close, lowest).ok());
  const auto base = map(object, child.held, caller, memory.begin(), why);
  INFO(why.line());
  REQUIRE(base.ok());
  // Its descriptor is closed again.
  CHECK(caller.system_call(SYS_dup, 0).value() == lowest);
  for (const auto& s : object.segments()) {
    std::vector<std::byte> there(s.memory.length());
    REQUIRE(child.held.read(remote_address(*base + s.memory.begin), there).ok());
    std::vector<std::byte> wanted(there.size());
    // In pieces whose edges cut words.
    for (u64 at = 0; at < wanted.size(); at += 1021)
      object.relocated(s, *base, s.memory.begin + at,
                       mutable_bytes(wanted).subspan(at).first(
                           std::min<u64>(1021, wanted.size() - at)));
    if ((s.protection & PROT_WRITE) != 0) {
      CHECK(wanted == there);
    } else {
      CHECK(std::memcmp(wanted.data(), there.data(), s.file_end - s.memory.begin) == 0);
      CHECK_FALSE(child.held.write(remote_ptr<u64>(*base + s.memory.begin), u64{0}).ok());
    }
  }
  const u64 relro = *base + object.read_only_after_relocation().begin;
  CHECK_FALSE(child.held.write(remote_ptr<u64>(relro), u64{0}).ok());
}

TEST_CASE("a library that the process cannot open is named") {
  shared_object object;
  report why;
  REQUIRE(object.read(CKPT_LIBRARY, why).ok());
  test::held_child child([] { return ::pause(); });
  REQUIRE(child.hold());
  borrowed_thread thread(child.held);
  REQUIRE(thread.take().ok());
  call_site site(child.held);
  REQUIRE(site.find(test::vdso()).ok());
  remote_caller caller(child.held, thread.saved(), site.address());
  borrowed_memory memory(caller);
  REQUIRE(memory.take(page_size).ok());
  // RLIMIT_NOFILE 0
  REQUIRE(child.held.write(memory.begin().as<std::array<u64, 2>>(), std::array<u64, 2>{0, 0}).ok());
  REQUIRE(caller.system_call(SYS_prlimit64, 0, 7, memory.begin().address(), 0).ok());
  CHECK_FALSE(map(object, child.held, caller, memory.begin(), why).ok());
  CHECK(says(std::string(why.line()), "libckpt.so"));
}

}  // namespace
}  // namespace ckpt::hijack
