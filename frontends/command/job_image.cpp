// SPDX-License-Identifier: MIT
#include "job_image.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "ckpt/state/cpu.hpp"
#include "image_error.hpp"
#include "image_file.hpp"
#include "printable.hpp"
#include "program_file.hpp"

namespace ckpt::command {
namespace {

std::string resolved(const std::string& path) {
  char room[PATH_MAX];
  return realpath(path.c_str(), room) != nullptr ? room : path;
}

std::string base_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// The words of `#!INTERPRETER [ARGUMENT]`; none for what is not a script; "elf" tells a program.
std::vector<std::string> first_line(const std::string& path, bool& elf) {
  char head[4096] = {};
  const sys::unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  const ssize_t size = fd ? read(fd.get(), head, sizeof head - 1) : -1;
  elf = size < 4 || std::memcmp(head, "\177ELF", 4) == 0;
  if (size < 3 || head[0] != '#' || head[1] != '!') return {};
  std::string line(head + 2, std::strcspn(head + 2, "\n"));
  const auto cut = [](std::string text) {
    const auto begin = text.find_first_not_of(" \t");
    if (begin == std::string::npos) return std::string();
    return text.substr(begin, text.find_last_not_of(" \t") + 1 - begin);
  };
  line = cut(line);
  const auto blank = line.find_first_of(" \t");
  std::vector<std::string> words{line.substr(0, blank)};
  if (blank != std::string::npos) words.push_back(cut(line.substr(blank)));
  return words;
}

/// `file` as it was named in that directory.
std::string from(const std::string& directory, const std::string& file) {
  return resolved(file.starts_with('/') ? file : directory + "/" + file);
}

bool is_same(const tools::image_file& image, const seen_command& wanted,
             const std::vector<std::string>& words) {
  std::string program(image.text(state::text_kind::program));
  constexpr std::string_view deleted = " (deleted)";
  if (program.ends_with(deleted)) program.resize(program.size() - deleted.size());
  if (resolved(program) != wanted.program || words.size() != wanted.words.size() || words.empty())
    return false;
  // One file may be several programs by the names that lead to it.
  if (base_name(words[0]) != base_name(wanted.words[0])) return false;
  const std::string directory(image.text(state::text_kind::directory));
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] == wanted.words[i]) continue;
    if (i != wanted.script || from(directory, words[i]) != resolved(wanted.words[i])) return false;
  }
  return true;
}

bool ended_program(const tools::image_file& image) {
  for (const auto& thread : image.all<state::thread>())
    if (thread.fields.flags.has(state::thread_flag::ended_program)) return true;
  return false;
}

}  // namespace

std::string shown(const std::string& name) {
  fixed_text<1024> text;
  text.append(quoted{name});
  return std::string(text.view());
}

seen_command seen_by_program(char** command_line) {
  seen_command seen;
  for (char** word = command_line; *word != nullptr; ++word) seen.words.emplace_back(*word);
  auto file = find_program(seen.words[0]);
  std::string path = file.path;
  const auto through = [&](std::vector<std::string> interpreter, const std::string& script) {
    interpreter.push_back(script);
    seen.script = interpreter.size() - 1;
    interpreter.insert(interpreter.end(), seen.words.begin() + 1, seen.words.end());
    seen.words = std::move(interpreter);
  };
  if (!file.env_program.empty()) {  // as launch() does
    through({file.env_program}, path);
    path = find_program(file.env_program).path;
  }
  for (int depth = 0; depth < 5; ++depth) {
    bool elf = false;
    auto interpreter = first_line(path, elf);
    if (interpreter.empty() && elf) break;
    if (interpreter.empty()) interpreter = {"/bin/sh"};
    const std::string next = interpreter[0];
    through(std::move(interpreter), path);
    path = next;
  }
  seen.program = resolved(path);
  return seen;
}

image_look look_at_image(const std::string& path, const seen_command& wanted,
                         const std::function<bool()>& stop) {
  image_look look;
  const sys::unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd) {
    if (errno == ENOENT) return look;
    look.state = image_state::unreadable;
    look.why = std::strerror(errno);
    return look;
  }
  look.state = image_state::bad;
  try {
    tools::image_file image(path);
    u64 damaged = 0;
    for (u64 i = 0; i < image.block_count(); ++i) {
      if (!image.verify_block(i)) ++damaged;
      if (!stop()) continue;
      look.state = image_state::interrupted;
      return look;
    }
    if (damaged != 0)
      throw tools::image_error(std::to_string(damaged) + " of " + std::to_string(image.block_count()) +
                               " blocks of the data are damaged (checksum mismatch)");
    report why;
    if (!state::check_cpu(image.one<state::cpu>().fields, state::this_cpu(), why).ok())
      throw tools::image_error(std::string(why.line()));
    look.header = image.header();
    look.made_ns = image.one<state::host>().fields.realtime_ns;
    look.ended_program = ended_program(image);
    const auto words = image.words(state::text_kind::command_line);
    if (!is_same(image, wanted, words)) {
      look.state = image_state::other;
      look.why = "it is an image of " + shown(std::string(image.text(state::text_kind::program))) + " (" +
                 tools::shell_line(words) + "), and the command line is " + shown(wanted.program) + " (" +
                 tools::shell_line(wanted.words) + ")";
      return look;
    }
    look.state = image_state::good;
  } catch (const tools::image_error& error) {
    look.why = error.what();
  }
  return look;
}

bool ended_by_new_image(const std::string& path, const format::file_header& before) {
  try {
    const tools::image_file image(path);
    return std::memcmp(&image.header().id, &before.id, sizeof before.id) != 0 && ended_program(image);
  } catch (const tools::image_error&) {
    return false;
  }
}

format::file_header header_of(const std::string& path) {
  format::file_header header{};
  const sys::unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!fd || pread(fd.get(), &header, sizeof header, format::header_offset) != static_cast<ssize_t>(sizeof header))
    return {};
  return header;
}

bool ended_by_new_head(int fd, const format::file_header& before, i64 since_ns) {
  sys::linux_files kernel;
  format::file_header header{};
  report why;
  const auto got = sys::pread_up_to(kernel, fd, std::as_writable_bytes(std::span(&header, 1)), format::header_offset);
  if (!got.ok() || *got != sizeof header || !image::validate_header(header, header.image_size, why).ok() ||
      std::memcmp(&header.id, &before.id, sizeof before.id) == 0)
    return false;
  std::vector<std::byte> metadata(header.metadata_size);
  const auto rest = sys::pread_up_to(kernel, fd, metadata, header.metadata_offset);
  if (!rest.ok() || *rest != metadata.size() || !image::validate_metadata(header, metadata, why).ok()) return false;
  bool ended = false;
  if (image::first<state::host>(metadata).realtime_ns < since_ns) return false;
  image::for_each<state::thread>(metadata, [&](const state::thread& t, bytes) {
    ended = ended || t.flags.has(state::thread_flag::ended_program);
  });
  return ended;
}

std::string set_aside(const std::string& path) {
  constexpr int most = 10'000;
  for (int number = 0; number < most; ++number) {
    const std::string to = path + ".bad" + (number == 0 ? "" : "." + std::to_string(number));
    constexpr unsigned no_replace = 1;
    if (syscall(SYS_renameat2, AT_FDCWD, path.c_str(), AT_FDCWD, to.c_str(), no_replace) == 0) return to;
    if (errno == EEXIST) continue;
    if (errno != EINVAL && errno != ENOSYS) return {};
    // A file system without that: a second name, and then the first goes.
    if (link(path.c_str(), to.c_str()) == 0) return unlink(path.c_str()) == 0 ? to : std::string();
    if (errno != EEXIST) return {};
  }
  errno = EEXIST;
  return {};
}

}  // namespace ckpt::command
