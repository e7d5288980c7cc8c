// SPDX-License-Identifier: MIT
//
// An image as an ELF core file, with the notes that the kernel writes (core(5), fs/binfmt_elf.c),
// for gdb, lldb and whatever else reads cores. Memory is complete, so no file but the program's
// own, for its symbols, is needed to look at it.
#include <elf.h>
#include <sys/procfs.h>
#include <sys/user.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstring>
#include <iostream>

#include "commands.hpp"
#include "elf_modules.hpp"
#include "image_error.hpp"
#include "json_stream.hpp"
#include "output_file.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

namespace {

// A hole as large as this gets a segment without contents of its own, which reads as zeros: a
// reserved TiB must not make a file larger than file systems allow. Smaller ones are holes.
constexpr u64 large_hole = u64{64} << 20;

using buffer = std::vector<std::byte>;

void append(buffer& to, bytes what) {
  to.insert(to.end(), what.begin(), what.end());
}

// ---------------------------------------------------------------------------------------------
// notes

void add_note(buffer& notes, std::string_view name, u32 type, bytes content) {
  const Elf64_Nhdr head{static_cast<u32>(name.size() + 1), static_cast<u32>(content.size()), type};
  append(notes, bytes_of(head));
  append(notes, bytes_of_text(name));
  notes.push_back(std::byte{0});
  notes.resize(align_up(notes.size(), 4));
  append(notes, content);
  notes.resize(align_up(notes.size(), 4));
}

::user_regs_struct registers_of(const state::thread& t) {
  ::user_regs_struct r{};
  r.r8 = t.r8, r.r9 = t.r9, r.r10 = t.r10, r.r11 = t.r11;
  r.r12 = t.r12, r.r13 = t.r13, r.r14 = t.r14, r.r15 = t.r15;
  r.rdi = t.rdi, r.rsi = t.rsi, r.rbp = t.rbp, r.rbx = t.rbx;
  r.rdx = t.rdx, r.rax = t.rax, r.rcx = t.rcx, r.rsp = t.rsp;
  r.rip = t.rip, r.eflags = t.rflags;
  r.fs_base = t.fs_base, r.gs_base = t.gs_base;
  r.orig_rax = ~0ull;  // in no system call: what was interrupted is made again
  r.cs = 0x33, r.ss = 0x2b;
  return r;
}

bytes first_siginfo(const image_file& image, i32 tid, std::array<std::byte, 128>& nothing) {
  for (const auto& found : image.all<state::pending_signal>())
    if (found.fields.thread == tid || found.fields.thread == 0) {
      std::memcpy(nothing.data(), found.fields.info.bytes.data(), nothing.size());
      break;
    }
  return nothing;
}

::elf_prstatus status_of(const image_file& image, const state::thread& t,
                         const state::process& p) {
  ::elf_prstatus s{};
  s.pr_pid = t.tid;
  s.pr_ppid = p.parent;
  s.pr_pgrp = s.pr_sid = p.pid;
  s.pr_sighold = t.signal_mask;
  for (const auto& found : image.all<state::pending_signal>()) {
    const i32 signal = found.fields.signal;
    if (found.fields.thread == t.tid || found.fields.thread == 0)
      s.pr_sigpend |= 1ul << (signal - 1);
  }
  const auto registers = registers_of(t);
  static_assert(sizeof s.pr_reg == sizeof registers);
  std::memcpy(&s.pr_reg, &registers, sizeof registers);
  s.pr_fpvalid = 1;
  return s;
}

::elf_prpsinfo process_note(const image_file& image, const state::process& p) {
  ::elf_prpsinfo info{};
  info.pr_sname = 'S';
  info.pr_state = 1;
  info.pr_uid = p.uid;
  info.pr_gid = p.gid;
  info.pr_pid = info.pr_pgrp = info.pr_sid = p.pid;
  info.pr_ppid = p.parent;
  const auto threads = image.all<state::thread>();
  std::string name(threads.front().fields.name.view());
  for (const auto& t : threads)
    if (t.fields.tid == p.pid) name = t.fields.name.view();
  name.copy(info.pr_fname, sizeof info.pr_fname - 1);
  std::string arguments(image.text(state::text_kind::command_line));
  if (arguments.ends_with('\0')) arguments.pop_back();
  std::ranges::replace(arguments, '\0', ' ');
  arguments.copy(info.pr_psargs, sizeof info.pr_psargs - 1);
  return info;
}

/// Where each component lies in the layout that debuggers take for granted when the file does not
/// say (gdb's i387_guess_xsave_layout): Intel's. AMX's tiles, which none of them shows, are left out.
struct component_place {
  u32 number, offset, size;
};
constexpr component_place places[] = {{2, 576, 256},   {3, 960, 64},   {4, 1024, 64}, {5, 1088, 64},
                                      {6, 1152, 512},  {7, 1664, 1024}, {9, 2688, 8}};
constexpr u64 legacy_size = 512;
constexpr u64 header_size = 64;
constexpr u64 shown_components = 0x2ff;

buffer extended_state_of(const image_file& image, i32 tid, u64 enabled) {
  enabled = (enabled & shown_components & ~u64{0x100}) | 3;
  u64 size = legacy_size + header_size;
  for (const auto& place : places)
    if ((enabled >> place.number & 1) != 0) size = std::max<u64>(size, place.offset + place.size);
  buffer area(size);
  // The initial state: FCW, MXCSR and its mask.
  const u16 control = 0x37f;
  const u32 mxcsr[] = {0x1f80, 0xffff};
  std::memcpy(area.data(), &control, sizeof control);
  std::memcpy(area.data() + 24, mxcsr, sizeof mxcsr);
  u64 present = 0;
  for (const auto& [s, raw] : image.all<state::extended_state>()) {
    if (s.tid != tid) continue;
    if (s.component == 0) {
      std::memcpy(area.data(), raw.data(), std::min<u64>(raw.size(), legacy_size));
      present |= 3;
    }
    for (const auto& place : places) {
      if (place.number != s.component || (enabled >> s.component & 1) == 0) continue;
      std::memcpy(area.data() + place.offset, raw.data(), std::min<u64>(raw.size(), place.size));
      present |= u64{1} << s.component;
    }
  }
  // The bytes that software may use say which components the file has room for.
  std::memset(area.data() + 464, 0, legacy_size - 464);
  std::memcpy(area.data() + 464, &enabled, sizeof enabled);
  std::memcpy(area.data() + legacy_size, &present, sizeof present);
  return area;
}

/// Whether somewhere in it there is a hole that gets no contents in the file.
bool has_large_hole(const program_memory& memory, const program_memory::mapping& m) {
  u64 at = m.where().begin;
  bool large = false;
  memory.for_each_run(m, [&](range run) {
    large = large || run.begin - at >= large_hole;
    at = run.end;
  });
  return large || m.where().end - at >= large_hole;
}

/// A debugger takes the bytes of a named file for what has no contents: such mappings, whose holes
/// are zeros, are not told.
bool is_told(const program_memory& memory, const program_memory::mapping& m) {
  return m.segment.inode != 0 && m.name.starts_with('/') && !has_large_hole(memory, m);
}

/// NT_FILE: count, page size, (begin, end, offset in pages) of each, then the names.
buffer file_note(const program_memory& memory) {
  std::vector<u64> numbers = {0, page_size};
  std::string names;
  for (const auto& m : memory.mappings()) {
    if (!is_told(memory, m)) continue;
    numbers.insert(numbers.end(), {m.where().begin, m.where().end,
                                   m.segment.file_offset / page_size});
    names += m.name;
    names += '\0';
    ++numbers[0];
  }
  buffer note;
  append(note, std::as_bytes(std::span(numbers)));
  append(note, bytes_of_text(names));
  return note;
}

/// In the kernel's order: what belongs to the process stands behind its first thread's status.
buffer notes_of(const image_file& image, const program_memory& memory) {
  buffer notes;
  const auto p = image.one<state::process>().fields;
  const u64 components = image.one<state::cpu>().fields.components;
  bool first = true;
  for (const auto& [t, tail] : image.all<state::thread>()) {
    add_note(notes, "CORE", NT_PRSTATUS, bytes_of(status_of(image, t, p)));
    if (first) add_note(notes, "CORE", NT_PRPSINFO, bytes_of(process_note(image, p)));
    std::array<std::byte, 128> info{};
    add_note(notes, "CORE", NT_SIGINFO, first_siginfo(image, t.tid, info));
    if (first) {
      add_note(notes, "CORE", NT_AUXV,
               bytes_of_text(image.text(state::text_kind::auxiliary_vector)));
      add_note(notes, "CORE", NT_FILE, file_note(memory));
    }
    const buffer extended = extended_state_of(image, t.tid, components);
    add_note(notes, "CORE", NT_FPREGSET, bytes(extended).first(legacy_size));
    add_note(notes, "LINUX", NT_X86_XSTATE, extended);
    first = false;
  }
  return notes;
}

// ---------------------------------------------------------------------------------------------
// memory

struct load {
  range where;
  u32 flags;
  bool contents;
};

/// Large holes by themselves.
std::vector<load> loads_of(program_memory& memory) {
  std::vector<load> all;
  for (const auto& m : memory.mappings()) {
    using state::protection;
    u32 flags = 0;
    if (m.segment.protection.has(protection::read)) flags |= PF_R;
    if (m.segment.protection.has(protection::write)) flags |= PF_W;
    if (m.segment.protection.has(protection::execute)) flags |= PF_X;
    if (m.bytes_in_image == 0 && (flags == 0 || !is_told(memory, m))) {
      all.push_back({m.where(), flags, false});
      continue;
    }
    u64 begin = m.where().begin;
    u64 end = begin;  // of what has contents, with the small holes in it
    const auto flush = [&](u64 next) {
      if (begin < end) all.push_back({{begin, end}, flags, true});
      if (end < next) all.push_back({{end, next}, flags, false});
      begin = end = next;
    };
    memory.for_each_run(m, [&](range run) {
      if (run.begin - end >= large_hole) flush(run.begin);
      end = run.end;
    });
    if (m.where().end - end < large_hole) end = m.where().end;
    flush(m.where().end);
  }
  return all;
}

void write_memory(program_memory& memory, const load& what, output_file& out, progress& bar) {
  static std::array<std::byte, 256 * 1024> piece;
  u64 at = what.where.begin;
  memory.for_each_run(what.where, [&](range run) {
    out.skip(run.begin - at);
    for (at = run.begin; at < run.end;) {
      const auto part = std::span(piece).first(std::min<u64>(piece.size(), run.end - at));
      memory.read(at, part);
      out.write(part);
      at += part.size();
      bar.advance(part.size());
    }
  });
  out.skip(what.where.end - at);
}

}  // namespace

void write_core(image_file& image, const request& asked) {
  program_memory memory(image);
  const buffer notes = notes_of(image, memory);
  const auto loads = loads_of(memory);

  const u64 count = loads.size() + 1;
  const bool many = count >= PN_XNUM;
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_ident[EI_VERSION] = EV_CURRENT;
  head.e_type = ET_CORE;
  head.e_machine = EM_X86_64;
  head.e_version = EV_CURRENT;
  head.e_phoff = sizeof head + (many ? sizeof(Elf64_Shdr) : 0);
  head.e_ehsize = sizeof head;
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = static_cast<u16>(many ? PN_XNUM : count);
  head.e_shentsize = sizeof(Elf64_Shdr);
  // More program headers than a half word counts: the one section header has their number.
  Elf64_Shdr counter{};
  counter.sh_info = static_cast<u32>(count);
  if (many) {
    head.e_shoff = sizeof head;
    head.e_shnum = 1;
    counter.sh_size = 1;
  }

  Elf64_Phdr note{};
  note.p_type = PT_NOTE;
  note.p_offset = head.e_phoff + count * sizeof(Elf64_Phdr);
  note.p_filesz = notes.size();
  note.p_align = 4;
  std::vector<Elf64_Phdr> headers = {note};
  u64 offset = page_up(note.p_offset + note.p_filesz);
  u64 memory_bytes = 0;
  for (const load& l : loads) {
    Elf64_Phdr p{};
    p.p_type = PT_LOAD;
    p.p_flags = l.flags;
    p.p_offset = offset;
    p.p_vaddr = l.where.begin;
    p.p_memsz = l.where.length();
    p.p_filesz = l.contents ? p.p_memsz : 0;
    p.p_align = page_size;
    offset += p.p_filesz;
    memory_bytes += p.p_filesz;
    headers.push_back(p);
  }

  output_file out(asked.output);
  progress bar("core", image.header().data_size);
  out.write(bytes_of(head));
  if (many) out.write(bytes_of(counter));
  out.write(std::as_bytes(std::span(headers)));
  out.write(notes);
  out.skip(page_up(out.position()) - out.position());
  for (const load& l : loads)
    if (l.contents) write_memory(memory, l, out, bar);
  out.finish();

  if (asked.json) {
    json_stream to(std::cout);
    begin_document(to, asked);
    to.member("file", text_json(asked.output));
    to.member("size", out.position());
    to.member("threads", image.all<state::thread>().size());
    to.member("segments", loads.size());
    to.member("memory", memory_bytes);
    to.end_object();
  }
}

}  // namespace ckpt::tools
