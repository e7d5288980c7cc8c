// SPDX-License-Identifier: MIT
#include "program_file.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "ckpt/base/range.hpp"

namespace ckpt::command {
namespace {

/// 0, or the errno with which execve(2) would refuse the file.
int executable_error(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return errno;
  if (!S_ISREG(st.st_mode)) return EACCES;
  if (access(path.c_str(), X_OK) != 0) return errno;
  return 0;
}

std::string resolve(const std::string& name, int& error) {
  if (name.empty() || name.find('/') != std::string::npos) {
    error = executable_error(name);
    return name;
  }
  const char* variable = std::getenv("PATH");
  std::string_view rest = variable != nullptr ? variable : "/bin:/usr/bin";
  error = ENOENT;
  for (;;) {
    const auto end = rest.find(':');
    const std::string_view directory = rest.substr(0, end);
    std::string candidate(directory.empty() ? "." : directory);
    candidate.append("/").append(name);
    const int found = executable_error(candidate);
    if (found == 0) {
      error = 0;
      return candidate;
    }
    if (found == EACCES) error = EACCES;  // kept unless a later directory has it
    if (end == std::string_view::npos) return name;
    rest.remove_prefix(end + 1);
  }
}

bool is_privileged(const std::string& path) {
  struct stat st {};
  if (stat(path.c_str(), &st) != 0) return false;
  if ((st.st_mode & S_ISUID) != 0 && st.st_uid != geteuid()) return true;
  if ((st.st_mode & S_ISGID) != 0 && (st.st_mode & S_IXGRP) != 0 && st.st_gid != getegid())
    return true;
  return geteuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

/// NAME of `#!/usr/bin/env NAME`; empty for options, assignments and several words.
std::string name_for_env(const std::string& interpreter, const char* rest) {
  if (interpreter.substr(interpreter.rfind('/') + 1) != "env") return {};
  rest += std::strspn(rest, " \t");
  const std::string name(rest, std::strcspn(rest, " \t\r\n"));
  rest += name.size();
  rest += std::strspn(rest, " \t\r");
  if (*rest != '\n' || name.empty() || name[0] == '-' || name.find('=') != std::string::npos)
    return {};
  return name;
}

/// Whether the dynamic section at `dynamic` names a library that begins so. `at(address)` is where
/// an address lies in the file, or a negative number.
template <class At>
bool needs_library(int fd, const Elf64_Phdr& dynamic, const At& at, std::string_view beginning) {
  std::vector<Elf64_Dyn> entries(dynamic.p_filesz / sizeof(Elf64_Dyn));
  const auto size = static_cast<ssize_t>(entries.size() * sizeof(Elf64_Dyn));
  if (size > (1 << 20) ||
      pread(fd, entries.data(), static_cast<std::size_t>(size), static_cast<off_t>(dynamic.p_offset)) != size)
    return false;
  off_t strings = -1;
  for (const auto& e : entries)
    if (e.d_tag == DT_STRTAB) strings = at(e.d_un.d_ptr);
  for (const auto& e : entries) {
    if (e.d_tag == DT_NULL) break;
    char name[64] = {};
    if (e.d_tag == DT_NEEDED && strings >= 0 &&
        pread(fd, name, sizeof name - 1, strings + static_cast<off_t>(e.d_un.d_val)) > 0 &&
        std::string_view(name).starts_with(beginning))
      return true;
  }
  return false;
}

/// Whether the loader is glibc's or musl's, which bring what LD_PRELOAD names.
bool heeds_preload(int fd, const Elf64_Phdr& loader) {
  char path[512] = {};
  if (pread(fd, path, std::min<std::size_t>(loader.p_filesz, sizeof path - 1),
            static_cast<off_t>(loader.p_offset)) <= 0)
    return false;
  const std::string_view whole(path);
  const auto name = whole.substr(whole.rfind('/') + 1);
  return name.starts_with("ld-linux") || name.starts_with("ld-musl");
}

/// Whether one of these notes says that the agent is in the program (frontends/static/note.S).
bool notes_tell_of_agent(int fd, const Elf64_Phdr& notes) {
  std::vector<char> all(std::min<Elf64_Xword>(notes.p_filesz, 1 << 20));
  const ssize_t size = pread(fd, all.data(), all.size(), static_cast<off_t>(notes.p_offset));
  const std::string_view owner("ckpt", 5);
  Elf64_Nhdr head{};
  const auto aligned = [&](std::size_t n) {
    return notes.p_align == 8 ? align_up(n, 8) : align_up(n, 4);
  };
  for (std::string_view rest(all.data(), size > 0 ? static_cast<std::size_t>(size) : 0);
       rest.size() >= sizeof head;) {
    std::memcpy(&head, rest.data(), sizeof head);
    if (head.n_namesz == owner.size() && head.n_type == 1 &&
        rest.substr(sizeof head).starts_with(owner))
      return true;
    const std::size_t name_end = aligned(sizeof head + head.n_namesz);
    rest.remove_prefix(std::min(rest.size(), aligned(name_end + head.n_descsz)));
  }
  return false;
}

program_kind kind_of(const std::string& path, program_file& found, int depth) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    if (errno == EMFILE || errno == ENFILE) found.error = errno;
    if (errno == EACCES && executable_error(path) == 0) return program_kind::unreadable;
    return program_kind::dynamic;  // not there: the kernel will see
  }
  char head[4096] = {};
  const ssize_t size = read(fd, head, sizeof head - 1);
  const auto done = [fd](program_kind kind) {
    close(fd);
    return kind;
  };
  if (size > 2 && head[0] == '#' && head[1] == '!' && depth < 5) {
    const char* begin = head + 2 + std::strspn(head + 2, " \t");
    const std::string interpreter(begin, std::strcspn(begin, " \t\r\n"));
    if (depth == 0) found.env_program = name_for_env(interpreter, begin + interpreter.size());
    found.interpreter = interpreter;
    return done(kind_of(interpreter, found, depth + 1));
  }
  Elf64_Ehdr elf{};
  if (size < static_cast<ssize_t>(sizeof elf) || std::memcmp(head, ELFMAG, SELFMAG) != 0)
    return done(program_kind::not_elf);
  std::memcpy(&elf, head, sizeof elf);
  if (elf.e_ident[EI_CLASS] != ELFCLASS64 || elf.e_machine != EM_X86_64)
    return done(program_kind::other_architecture);
  if (is_privileged(path)) return done(program_kind::privileged);
  std::vector<Elf64_Phdr> segments(elf.e_phnum);
  const auto table = static_cast<ssize_t>(segments.size() * sizeof(Elf64_Phdr));
  if (pread(fd, segments.data(), static_cast<std::size_t>(table), static_cast<off_t>(elf.e_phoff)) != table)
    segments.clear();
  const auto in_file = [&](Elf64_Addr address) -> off_t {
    for (const auto& s : segments)
      if (s.p_type == PT_LOAD && address - s.p_vaddr < s.p_filesz)
        return static_cast<off_t>(s.p_offset + (address - s.p_vaddr));
    return -1;
  };
  found.has_agent = std::ranges::any_of(segments, [&](const Elf64_Phdr& s) {
    return s.p_type == PT_NOTE && notes_tell_of_agent(fd, s);
  });
  const auto is = [](Elf64_Word type) { return [type](const Elf64_Phdr& s) { return s.p_type == type; }; };
  const auto loader = std::ranges::find_if(segments, is(PT_INTERP));
  if (loader == segments.end()) return done(program_kind::statically_linked);
  if (!heeds_preload(fd, *loader)) return done(program_kind::other_loader);
  const auto dynamic = std::ranges::find_if(segments, is(PT_DYNAMIC));
  // The address sanitizer of gcc looks who stands before it and gives up.
  if (dynamic != segments.end() && needs_library(fd, *dynamic, in_file, "libasan.so"))
    return done(program_kind::must_be_first);
  return done(program_kind::dynamic);
}

}  // namespace

program_file find_program(const std::string& name) {
  program_file found;
  found.path = resolve(name, found.error);
  if (found.error == 0) found.kind = kind_of(found.path, found, 0);
  // execvp(3) gives what the kernel does not know to the shell.
  if (found.kind == program_kind::not_elf && found.error == 0)
    found.kind = kind_of("/bin/sh", found, 5);
  return found;
}

}  // namespace ckpt::command
