// SPDX-License-Identifier: MIT
//
// As git, systemd and less have taught their users to expect it.
#include "terminal.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <streambuf>
#include <utility>

namespace ckpt::tools {

namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

bool dumb_terminal() {
  return variable("TERM").empty() || variable("TERM") == "dumb";
}

int colour_slot() {
  static const int slot = std::ios_base::xalloc();
  return slot;
}

bool in_path(std::string_view program) {
  std::string_view path = variable("PATH");
  while (!path.empty()) {
    const auto end = std::min(path.find(':'), path.size());
    const std::string candidate = std::string(path.substr(0, end)) + "/" + std::string(program);
    if (end > 0 && ::access(candidate.c_str(), X_OK) == 0) return true;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return false;
}

}  // namespace

bool wants_colour(int fd, colour_wish wish) {
  if (wish != colour_wish::automatic) return wish == colour_wish::always;
  return ::isatty(fd) == 1 && !dumb_terminal() && variable("NO_COLOR").empty();
}

void set_coloured(std::ostream& out, bool on) {
  out.iword(colour_slot()) = on ? 1 : 0;
}

bool is_coloured(std::ostream& out) {
  return out.iword(colour_slot()) != 0;
}

std::string painted(std::ostream& out, tint how, std::string_view text) {
  if (!is_coloured(out) || text.empty()) return std::string(text);
  constexpr std::array codes = {"1", "32", "31", "33", "2", "1;31"};
  return "\x1b[" + std::string(codes.at(static_cast<std::size_t>(how))) + "m" + std::string(text) +
         "\x1b[0m";
}

std::string heat_cell(std::ostream& out, double share) {
  constexpr std::string_view steps = " .:-=+*#%@";
  const auto step =
      share <= 0 ? 0 : std::clamp<std::size_t>(static_cast<std::size_t>(share * 9.999), 1, 9);
  if (!is_coloured(out)) return std::string(1, steps[step]);
  // From dark blue over green and yellow to red, of the 256 colours of xterm.
  constexpr std::array<int, 10> heat = {236, 17, 24, 30, 34, 76, 148, 178, 202, 196};
  return "\x1b[48;5;" + std::to_string(heat.at(step)) + "m" + std::string(1, steps[step]) +
         "\x1b[0m";
}

namespace {

/// What the one pager of the program is started with, and where output went before.
struct pager_start {
  std::string command;
  std::streambuf* output = nullptr;
  ::pid_t pid = -1;
  int terminal = -1;
};
pager_start starting;

void start_pager() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return;
  starting.terminal = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
  starting.pid = starting.terminal < 0 ? -1 : ::fork();
  if (starting.pid == 0) {
    // Quit when it fits, keep colours, leave the screen as it is; unless the user has said else.
    ::setenv("LESS", "FRX", 0);
    ::setenv("LV", "-c", 0);
    ::dup2(ends[0], STDIN_FILENO);
    ::execl("/bin/sh", "sh", "-c", starting.command.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(ends[0]);
  if (starting.pid > 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGINT, SIG_IGN);  // ^C is the pager's
  }
  ::close(ends[1]);
}

/// Starts the pager at the first character, so that until then a bar has the terminal for itself
/// and an error stands alone.
class first_character final : public std::streambuf {
  int_type overflow(int_type c) override {
    begin();
    return c == traits_type::eof() ? traits_type::not_eof(c)
                                   : starting.output->sputc(traits_type::to_char_type(c));
  }
  std::streamsize xsputn(const char* text, std::streamsize n) override {
    begin();
    return starting.output->sputn(text, n);
  }
  static void begin() {
    std::cout.rdbuf(starting.output);
    start_pager();
  }
};
first_character waiting;

}  // namespace

pager::pager(bool wanted) {
  if (!wanted || ::isatty(STDOUT_FILENO) != 1 || dumb_terminal()) return;
  starting.command = variable("PAGER");
  if (std::getenv("PAGER") == nullptr && in_path("less")) starting.command = "less";
  if (starting.command.empty() || starting.command == "cat") return;
  starting.output = std::cout.rdbuf(&waiting);
}

void pager::finish() {
  if (std::cout.rdbuf() == &waiting) std::cout.rdbuf(starting.output);
  pid_ = std::exchange(starting.pid, -1);
  terminal_ = starting.terminal;
  if (pid_ <= 0) return;
  std::cout.flush();
  std::cout.clear();
  ::dup2(terminal_, STDOUT_FILENO);
  ::close(terminal_);
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  std::signal(SIGINT, SIG_DFL);
  pid_ = -1;
}

progress::progress(std::string_view what, u64 total)
    : what_(what),
      total_(total),
      terminal_(::isatty(STDERR_FILENO) == 1 && !dumb_terminal()),
      next_(clock::now() + std::chrono::milliseconds(500)) {}

progress::~progress() {
  if (shown_) std::cerr << "\r\x1b[K" << std::flush;
}

void progress::at(u64 done) {
  done_ = std::min(done, total_);
  if (!terminal_ || clock::now() < next_) return;
  next_ = clock::now() + std::chrono::milliseconds(100);
  draw();
}

void progress::draw() {
  ::winsize size{};
  u64 columns = 80;
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) columns = size.ws_col;
  const u64 taken = what_.size() + 10;
  const u64 room = columns > taken + 10 ? std::min<u64>(columns - taken, 60) : 10;
  const double share = total_ == 0 ? 1 : static_cast<double>(done_) / static_cast<double>(total_);
  const u64 full = static_cast<u64>(share * static_cast<double>(room));
  std::string percent = std::to_string(static_cast<int>(share * 100)) + "%";
  percent.insert(0, 4 - std::min<std::size_t>(percent.size(), 4), ' ');
  std::cerr << '\r' << what_ << " [" << std::string(full, '#') << std::string(room - full, '.')
            << "] " << percent << "\x1b[K" << std::flush;
  shown_ = true;
}

}  // namespace ckpt::tools
