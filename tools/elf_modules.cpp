// SPDX-License-Identifier: MIT
//
// All numbers here come from the program's memory or from files of today, so none is believed:
// counts are bounded and every read says whether there is something to read.
#include "elf_modules.hpp"

#include <fcntl.h>
#include <link.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <set>

#include "byte_source.hpp"
#include "image_error.hpp"
#include "printable.hpp"

namespace ckpt::tools {

namespace {

constexpr u64 most_libraries = 16384;
constexpr u64 longest_name = 4096;
constexpr u64 largest_note = 64 * 1024;
constexpr u64 most_sections = 65536;

/// Reads at a place, false when there are not that many bytes.
using reader = std::function<bool(u64, mutable_bytes)>;

template <class T>
bool read_as(const reader& read, u64 at, T& to) {
  return read(at, std::as_writable_bytes(std::span(&to, 1)));
}

reader memory_reader(program_memory& memory) {
  return [&memory](u64 address, mutable_bytes to) {
    const auto wanted = range::at(address, to.size());
    if (!wanted.ok() || !memory.run_from(address).contains(*wanted)) return false;
    memory.read(address, to);
    return true;
  };
}

bool is_elf(const Elf64_Ehdr& e) {
  return std::memcmp(e.e_ident, ELFMAG, SELFMAG) == 0 && e.e_ident[EI_CLASS] == ELFCLASS64 &&
         e.e_ident[EI_DATA] == ELFDATA2LSB && e.e_machine == EM_X86_64 &&
         (e.e_type == ET_EXEC || e.e_type == ET_DYN) && e.e_phentsize == sizeof(Elf64_Phdr);
}

std::vector<Elf64_Phdr> program_headers(const reader& read, u64 base, const Elf64_Ehdr& e) {
  std::vector<Elf64_Phdr> all(e.e_phnum);
  const auto at = range::at(base, e.e_phoff);
  if (!at.ok() || !read(at->end, std::as_writable_bytes(std::span(all)))) return {};
  return all;
}

std::string id_in_notes(bytes notes, u64 alignment) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr n;
    std::memcpy(&n, notes.data(), sizeof n);
    const u64 name = align_up(n.n_namesz, 4);
    const u64 rest = sizeof n + name;
    const u64 next = align_up(rest + n.n_descsz, alignment);
    if (rest + n.n_descsz > notes.size()) return {};
    if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == 4 && n.n_descsz <= 64 &&
        text_of_bytes(notes.subspan(sizeof n, 4)) == std::string_view("GNU", 4))
      return hex_digits(notes.subspan(rest, n.n_descsz));
    if (next >= notes.size()) return {};
    notes = notes.subspan(next);
  }
  return {};
}

std::string build_id(const reader& read, const std::vector<Elf64_Phdr>& headers,
                     const std::function<u64(const Elf64_Phdr&)>& place) {
  for (const auto& p : headers) {
    if (p.p_type != PT_NOTE || p.p_filesz > largest_note) continue;
    std::vector<std::byte> notes(p.p_filesz);
    if (!read(place(p), notes)) continue;
    if (auto id = id_in_notes(notes, p.p_align == 8 ? 8 : 4); !id.empty()) return id;
  }
  return {};
}

std::string string_at(const reader& read, u64 address) {
  std::string text;
  for (char c = 0; text.size() < longest_name && read_as(read, address + text.size(), c); text += c)
    if (c == 0) return text;
  return {};
}

class finder {
 public:
  finder(const image_file& image, program_memory& memory)
      : image_(image), memory_(memory), read_(memory_reader(memory)) {}

  std::vector<elf_module> all() {
    // What the kernel and the loader name comes first, so that what is found again keeps its name.
    const u64 vdso = auxiliary_value(image_, AT_SYSINFO_EHDR);
    if (auto* m = add(vdso, "[vdso]")) m->kernels = true;
    const std::string program(image_.text(state::text_kind::program));
    if (auto* m = add_program(program)) {
      m->program = true;
      follow_loader(*m);
    }
    for (const auto& mapping : memory_.mappings()) {
      using state::segment_kind;
      if (mapping.segment.kind == segment_kind::vvar || mapping.segment.file_offset != 0) continue;
      add(mapping.where().begin, mapping.name.starts_with('/') ? std::string(mapping.name) : "");
    }
    std::vector<elf_module> found;
    for (auto& [header, module] : modules_) found.push_back(std::move(module));
    return found;
  }

 private:
  elf_module* add_program(const std::string& name) {
    const u64 headers = auxiliary_value(image_, AT_PHDR);
    auto* m = add(page_down(headers), name);
    // A loader that was run as a command has put the program where it wanted, and says so nowhere.
    if (m != nullptr || headers == 0) return m;
    for (const auto& mapping : memory_.mappings())
      if (mapping.name == name && mapping.segment.file_offset == 0)
        return add(mapping.where().begin, name);
    return nullptr;
  }

  elf_module* add(u64 header, const std::string& name) {
    if (header == 0) return nullptr;
    if (const auto known = modules_.find(header); known != modules_.end()) {
      if (known->second.path.empty()) known->second.path = name;
      return &known->second;
    }
    Elf64_Ehdr e;
    if (!read_as(read_, header, e) || !is_elf(e)) return nullptr;
    elf_module m;
    m.program_headers = program_headers(read_, header, e);
    const auto first = std::ranges::find(m.program_headers, u32{PT_LOAD}, &Elf64_Phdr::p_type);
    if (first == m.program_headers.end() || first->p_offset >= page_size) return nullptr;
    m.header = header;
    m.entry = e.e_entry;
    m.bias = header - page_down(first->p_vaddr);
    m.where = {header, header};
    bool runs = false;
    for (const auto& p : m.program_headers) {
      if (p.p_type != PT_LOAD) continue;
      const auto part = range::at(p.p_vaddr + m.bias, p.p_memsz);
      if (!part.ok() || part->begin < header || part->end > image::user_space_end) return nullptr;
      m.where.end = std::max(m.where.end, page_up(part->end));
      if ((p.p_flags & PF_X) == 0) continue;
      const auto* mapping = memory_.find(part->begin);
      runs = runs || (mapping != nullptr &&
                      mapping->segment.protection.has(state::protection::execute));
    }
    // A file that is only read as one reads data has its code nowhere.
    if (!runs) return nullptr;
    m.build_id = build_id(read_, m.program_headers,
                          [&](const Elf64_Phdr& p) { return p.p_vaddr + m.bias; });
    const auto* mapping = memory_.find(header);
    m.path = mapping->name.starts_with('/') && mapping->where().begin == header
                 ? std::string(mapping->name)
                 : name;
    return &modules_.emplace(header, std::move(m)).first->second;
  }

  /// _r_debug and its list, as debuggers find them.
  void follow_loader(const elf_module& program) {
    const u64 list = value_in_dynamic(program, DT_DEBUG);
    r_debug rendezvous{};
    if (list == 0 || !read_as(read_, list, rendezvous)) return;
    std::set<u64> seen;
    u64 next = reinterpret_cast<u64>(rendezvous.r_map);
    while (next != 0 && seen.size() < most_libraries && seen.insert(next).second) {
      link_map entry{};
      if (!read_as(read_, next, entry)) return;
      next = reinterpret_cast<u64>(entry.l_next);
      if (entry.l_addr == 0) continue;
      add(page_down(entry.l_addr), string_at(read_, reinterpret_cast<u64>(entry.l_name)));
    }
  }

  u64 value_in_dynamic(const elf_module& m, Elf64_Sxword tag) {
    for (const auto& p : m.program_headers) {
      if (p.p_type != PT_DYNAMIC) continue;
      for (u64 at = 0; at + sizeof(Elf64_Dyn) <= p.p_memsz; at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn d;
        if (!read_as(read_, p.p_vaddr + m.bias + at, d) || d.d_tag == DT_NULL) break;
        if (d.d_tag == tag) return d.d_un.d_val;
      }
    }
    return 0;
  }

  const image_file& image_;
  program_memory& memory_;
  reader read_;
  std::map<u64, elf_module> modules_;
};

/// .text and whether there are symbols, from the section headers.
void look_at_sections(const reader& read, const Elf64_Ehdr& e, file_on_disk& found) {
  if (e.e_shentsize != sizeof(Elf64_Shdr) || e.e_shnum == 0 || e.e_shnum >= most_sections ||
      e.e_shstrndx >= e.e_shnum)
    return;
  std::vector<Elf64_Shdr> sections(e.e_shnum);
  if (!read(e.e_shoff, std::as_writable_bytes(std::span(sections)))) return;
  for (const auto& s : sections) {
    if (s.sh_type == SHT_SYMTAB || s.sh_type == SHT_DYNSYM) found.has_symbols = true;
    char name[6] = {};
    if (s.sh_type == SHT_PROGBITS && (s.sh_flags & SHF_EXECINSTR) != 0 &&
        read(sections[e.e_shstrndx].sh_offset + s.sh_name,
             std::as_writable_bytes(std::span(name))) &&
        std::string_view(name, 6) == std::string_view(".text", 6))
      found.text = s.sh_addr;
  }
}

bool same_headers(const std::vector<Elf64_Phdr>& a, const std::vector<Elf64_Phdr>& b) {
  return a.size() == b.size() && !a.empty() &&
         std::memcmp(a.data(), b.data(), a.size() * sizeof a[0]) == 0;
}

}  // namespace

std::vector<elf_module> find_modules(const image_file& image, program_memory& memory) {
  return finder(image, memory).all();
}

u64 auxiliary_value(const image_file& image, u64 type) {
  bytes vector = bytes_of_text(image.text(state::text_kind::auxiliary_vector));
  for (; vector.size() >= sizeof(Elf64_auxv_t); vector = vector.subspan(sizeof(Elf64_auxv_t))) {
    Elf64_auxv_t entry;
    std::memcpy(&entry, vector.data(), sizeof entry);
    if (entry.a_type == type) return entry.a_un.a_val;
  }
  return 0;
}

file_on_disk look_at_file(const elf_module& module) {
  file_on_disk found;
  found.path = module.path;
  constexpr std::string_view deleted = " (deleted)";
  if (found.path.ends_with(deleted)) found.path.resize(found.path.size() - deleted.size());
  struct ::stat about {};
  if (!found.path.starts_with('/') || ::stat(found.path.c_str(), &about) != 0) return found;
  found.state = file_state::unreadable;
  if (!S_ISREG(about.st_mode)) return found;
  try {
    const file_source file(found.path);
    const reader read = [&](u64 at, mutable_bytes to) {
      const auto n = file.read(at, to);
      return n.ok() && *n == to.size();
    };
    found.state = file_state::other;
    Elf64_Ehdr e;
    if (!read_as(read, 0, e) || !is_elf(e)) return found;
    const auto headers = program_headers(read, 0, e);
    found.build_id = build_id(read, headers, [](const Elf64_Phdr& p) { return p.p_offset; });
    const bool same = module.build_id.empty() ? same_headers(headers, module.program_headers)
                                              : found.build_id == module.build_id;
    if (same) found.state = file_state::same;
    look_at_sections(read, e, found);
  } catch (const image_error&) {
    found.state = file_state::unreadable;
  }
  return found;
}

std::string_view word_of(file_state state) {
  switch (state) {
    case file_state::same: return "same";
    case file_state::other: return "changed";
    case file_state::gone: return "gone";
    case file_state::unreadable: return "unreadable";
  }
  return "";
}

}  // namespace ckpt::tools
