// SPDX-License-Identifier: MIT
#include "shared_object.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "ckpt/sys/file.hpp"

namespace ckpt::hijack {
namespace {

constexpr u64 largest_file = u64{64} << 20;
constexpr u64 largest_memory = u64{1} << 30;

int protection_of(u32 flags) {
  return ((flags & PF_R) != 0 ? PROT_READ : 0) | ((flags & PF_W) != 0 ? PROT_WRITE : 0) |
         ((flags & PF_X) != 0 ? PROT_EXEC : 0);
}

/// Where the last segment ends in the file. What follows, symbols for debuggers, may be ten times
/// as long. All of the file when its head does not say.
u64 end_of_segments(bytes head, u64 whole) {
  Elf64_Ehdr elf{};
  if (head.size() < sizeof elf) return whole;
  std::memcpy(&elf, head.data(), sizeof elf);
  u64 end = 0;
  for (u64 i = 0; i < elf.e_phnum; ++i) {
    Elf64_Phdr p{};
    if (elf.e_phoff > head.size() || head.size() - elf.e_phoff < (i + 1) * sizeof p) return whole;
    std::memcpy(&p, head.data() + elf.e_phoff + i * sizeof p, sizeof p);
    if (p.p_offset > whole || p.p_filesz > whole - p.p_offset) return whole;
    if (p.p_type == PT_LOAD && p.p_offset + p.p_filesz > end) end = p.p_offset + p.p_filesz;
  }
  return end != 0 ? end : whole;
}

}  // namespace

template <class T>
result<T> shared_object::at(u64 offset) const {
  const range wanted = CKPT_TRY(range::at(offset, sizeof(T)));
  if (wanted.end > file_.size()) return errc::end_of_input;
  T value{};
  std::memcpy(&value, file_.data() + offset, sizeof value);
  return value;
}

result<u64> shared_object::file_offset_of(u64 address, u64 length) const {
  const range wanted = CKPT_TRY(range::at(address, length));
  for (const segment& s : segments_)
    if (range{s.memory.begin, s.file_end}.contains(wanted))
      return s.file_offset + (address - s.memory.begin);
  return errc::malformed;
}

result<void> shared_object::read(const std::string& path, report& why) {
  path_ = path;
  const sys::unique_fd fd(sys::openat(AT_FDCWD, path.c_str(), O_RDONLY | O_CLOEXEC).value_or(-1));
  sys::abi::stat st{};
  sys::linux_files kernel;
  if (!fd || !sys::fstat(fd.get(), st).ok())
    return why.refuse("cannot open ", quoted{path}, "; install ckpt again");
  if (static_cast<u64>(st.st_size) > largest_file)
    return why.refuse(quoted{path}, " is too large for a library of ckpt; install ckpt again");
  std::vector<std::byte> file(page_size);
  auto size = sys::pread_up_to(kernel, fd.get(), file, 0);
  if (size.ok()) {
    file.resize(end_of_segments({file.data(), *size}, static_cast<u64>(st.st_size)));
    size = sys::pread_up_to(kernel, fd.get(), file, 0);
  }
  if (!size.ok()) return why.explain(size.error(), "cannot read ", quoted{path});
  file.resize(*size);
  auto parsed = parse(std::move(file), why);
  if (!parsed.ok() && parsed.error() != errc::refused)
    return why.refuse(quoted{path}, " is damaged; install ckpt again");
  return parsed;
}

result<void> shared_object::parse(std::vector<std::byte> file, report& why) {
  file_ = std::move(file);
  segments_.clear();
  relocations_.clear();
  constructors_.clear();
  dynamic_ = relro_ = {};
  CKPT_TRY(read_segments(why));
  return read_dynamic(why);
}

result<void> shared_object::read_segments(report& why) {
  const auto head = CKPT_TRY(at<Elf64_Ehdr>(0));
  if (std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64 ||
      head.e_ident[EI_DATA] != ELFDATA2LSB || head.e_type != ET_DYN ||
      head.e_machine != elf_machine || head.e_phentsize != sizeof(Elf64_Phdr))
    return why.refuse(quoted{path_}, " is not a shared object of this machine");
  u64 end = 0;
  for (u64 i = 0; i < head.e_phnum; ++i) {
    const auto p =
        CKPT_TRY(at<Elf64_Phdr>(CKPT_TRY(range::at(head.e_phoff, i * sizeof(Elf64_Phdr))).end));
    const range memory = CKPT_TRY(range::at(p.p_vaddr, p.p_memsz));
    if (memory.end > largest_memory) return errc::malformed;
    if (p.p_type == PT_TLS)
      return why.refuse(quoted{path_}, " has thread-local storage, which needs a loader");
    if (p.p_type == PT_DYNAMIC) dynamic_ = memory;
    if (p.p_type == PT_GNU_RELRO) relro_ = {page_down(memory.begin), page_down(memory.end)};
    if (p.p_type != PT_LOAD || p.p_memsz == 0) continue;
    const range in_file = CKPT_TRY(range::at(p.p_offset, p.p_filesz));
    const segment s{{page_down(memory.begin), page_up(memory.end)},
                    page_down(p.p_offset),
                    p.p_vaddr + p.p_filesz,
                    protection_of(p.p_flags)};
    if (p.p_filesz > p.p_memsz || in_file.end > file_.size() || s.memory.begin < end ||
        p.p_vaddr % page_size != p.p_offset % page_size)
      return errc::malformed;
    end = s.memory.end;
    segments_.push_back(s);
  }
  if (segments_.empty() || segments_.front().memory.begin != 0) return errc::malformed;
  return {};
}

result<void> shared_object::read_dynamic(report& why) {
  u64 rela = 0, rela_size = 0, init_array = 0, init_array_size = 0;
  u64 symbols = 0, hash = 0;
  for (u64 address = dynamic_.begin;; address += sizeof(Elf64_Dyn)) {
    const auto d = CKPT_TRY(at<Elf64_Dyn>(CKPT_TRY(file_offset_of(address, sizeof(Elf64_Dyn)))));
    const u64 value = d.d_un.d_val;
    if (d.d_tag == DT_NULL) break;
    switch (d.d_tag) {
      case DT_RELA:
        rela = value;
        break;
      case DT_RELASZ:
        rela_size = value;
        break;
      case DT_RELAENT:
        if (value != sizeof(Elf64_Rela)) return errc::malformed;
        break;
      case DT_INIT_ARRAY:
        init_array = value;
        break;
      case DT_INIT_ARRAYSZ:
        init_array_size = value;
        break;
      case DT_SYMTAB:
        symbols = value;
        break;
      case DT_HASH:
        hash = value;
        break;
      case DT_NEEDED:
        return why.refuse(quoted{path_}, " needs another library (DT_NEEDED)");
      case DT_REL:
      case DT_RELR:
      case DT_JMPREL:
      case DT_TEXTREL:
      case DT_INIT:
        return why.refuse(quoted{path_}, " needs a loader (dynamic entry ", d.d_tag, ')');
      default:
        break;  // symbols for others, the end of the program, hints
    }
  }
  if (symbols != 0) {
    // The classic hash table says how many symbols there are.
    if (hash == 0) return why.refuse(quoted{path_}, " has symbols and no DT_HASH");
    const u32 count = CKPT_TRY(at<u32>(CKPT_TRY(file_offset_of(hash + 4, 4))));
    for (u64 i = 1; i < count; ++i) {
      const auto s = CKPT_TRY(at<Elf64_Sym>(
          CKPT_TRY(file_offset_of(symbols + i * sizeof(Elf64_Sym), sizeof(Elf64_Sym)))));
      // A weak one is null where nobody has it.
      if (s.st_shndx == SHN_UNDEF && ELF64_ST_BIND(s.st_info) != STB_WEAK)
        return why.refuse(quoted{path_}, " needs symbols of other libraries");
    }
  }
  CKPT_TRY(read_relocations(rela, rela_size, symbols, why));
  return read_constructors(init_array, init_array_size);
}

result<void> shared_object::read_relocations(u64 address, u64 size, u64 symbols, report& why) {
  // The word of the file is null already.
  const auto is_null = [&](const Elf64_Rela& r) -> result<bool> {
    const u64 index = ELF64_R_SYM(r.r_info);
    if (ELF64_R_TYPE(r.r_info) != word_relocation || index == 0 || symbols == 0) return false;
    const auto s = CKPT_TRY(at<Elf64_Sym>(
        CKPT_TRY(file_offset_of(symbols + index * sizeof(Elf64_Sym), sizeof(Elf64_Sym)))));
    return s.st_shndx == SHN_UNDEF && ELF64_ST_BIND(s.st_info) == STB_WEAK;
  };
  for (u64 at_byte = 0; at_byte < size; at_byte += sizeof(Elf64_Rela)) {
    const auto r =
        CKPT_TRY(at<Elf64_Rela>(CKPT_TRY(file_offset_of(address + at_byte, sizeof(Elf64_Rela)))));
    if (CKPT_TRY(is_null(r))) continue;
    if (ELF64_R_TYPE(r.r_info) != relative_relocation || ELF64_R_SYM(r.r_info) != 0)
      return why.refuse(quoted{path_}, " has a relocation of type ", ELF64_R_TYPE(r.r_info),
                        ", which needs a loader");
    bool writable = false;
    for (const segment& s : segments_)
      writable = writable || ((s.protection & PROT_WRITE) != 0 && r.r_offset >= s.memory.begin &&
                              r.r_offset < s.file_end && s.file_end - r.r_offset >= sizeof(u64));
    if (!writable) return errc::malformed;
    relocations_.push_back({r.r_offset, static_cast<u64>(r.r_addend)});
  }
  return {};
}

result<void> shared_object::read_constructors(u64 address, u64 size) {
  for (u64 i = 0; i < size / sizeof(u64); ++i) {
    const u64 slot = address + i * sizeof(u64);
    u64 function = 0;
    for (const relocation& r : relocations_)
      if (r.where == slot) function = r.addend;
    bool executable = false;
    for (const segment& s : segments_)
      executable = executable || ((s.protection & PROT_EXEC) != 0 && s.memory.contains(function));
    if (!executable) return errc::malformed;
    constructors_.push_back(function);
  }
  return {};
}

void shared_object::relocated(const segment& s, u64 base, u64 from, mutable_bytes to) const {
  const u64 of_file = from < s.file_end ? std::min<u64>(s.file_end - from, to.size()) : 0;
  std::memset(to.data(), 0, to.size());
  if (of_file != 0)
    std::memcpy(to.data(), file_.data() + s.file_offset + (from - s.memory.begin), of_file);
  for (const relocation& r : relocations_) {
    const u64 value = base + r.addend;
    const bytes value_bytes = std::as_bytes(std::span(&value, 1));
    // One by one: it may lie across an edge.
    for (u64 i = 0; i < value_bytes.size(); ++i)
      if (r.where + i - from < to.size()) to[r.where + i - from] = value_bytes[i];
  }
}

namespace {

result<void> map_segment(const shared_object& object, const shared_object::segment& s, u64 base,
                         int fd, tracee& t, remote_caller& caller) {
  const range memory{base + s.memory.begin, base + s.memory.end};
  const u64 file_end = base + s.file_end;
  const u64 file_pages_end = page_up(file_end);
  if (file_end > memory.begin)
    CKPT_TRY(caller.system_call(SYS_mmap, memory.begin, file_pages_end - memory.begin, s.protection,
                                MAP_PRIVATE | MAP_FIXED, fd, s.file_offset));
  if (file_pages_end < memory.end)
    CKPT_TRY(caller.system_call(SYS_mmap, file_pages_end, memory.end - file_pages_end, s.protection,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  if ((s.protection & PROT_WRITE) == 0 || file_end <= memory.begin) return {};
  // What follows the file's bytes in their last page is of the file as well, and must be zero.
  std::array<std::byte, page_size> page{};
  for (u64 at = memory.begin; at < file_pages_end; at += page_size) {
    object.relocated(s, base, at - base, page);
    CKPT_TRY(t.write(remote_address(at), page));
  }
  return {};
}

}  // namespace

result<u64> map(const shared_object& object, tracee& t, remote_caller& caller,
                remote_address scratch, report& why) {
  const auto& path = object.path();
  CKPT_TRY(t.write(scratch, std::as_bytes(std::span(path.c_str(), path.size() + 1))));
  const auto opened =
      caller.system_call(SYS_openat, AT_FDCWD, scratch.address(), O_RDONLY | O_CLOEXEC, 0);
  if (!opened.ok()) return why.explain(opened.error(), "it cannot open ", quoted{path});
  const int fd = static_cast<int>(*opened);
  const auto mapped = [&]() -> result<u64> {
    // One reservation, so that no other mapping of the process comes between the segments. It lies
    // where the kernel puts the libraries of others, away from heap and stack.
    const u64 base =
        CKPT_TRY(caller.system_call(SYS_mmap, 0, object.length(), PROT_NONE,
                                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    for (const auto& s : object.segments()) CKPT_TRY(map_segment(object, s, base, fd, t, caller));
    if (const range relro = object.read_only_after_relocation(); !relro.empty())
      CKPT_TRY(caller.system_call(SYS_mprotect, base + relro.begin, relro.length(), PROT_READ));
    return base;
  }();
  (void)caller.system_call(SYS_close, fd);
  if (!mapped.ok()) return why.explain(mapped.error(), "it cannot map ", quoted{path});
  return *mapped;
}

}  // namespace ckpt::hijack
