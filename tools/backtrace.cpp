// SPDX-License-Identifier: MIT
//
// The part that needs no library: the process of its own, what it may use, and what comes back.
#include "backtrace.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <iostream>

#include "image_error.hpp"
#include "record_json.hpp"
#include "unwinder.hpp"

namespace ckpt::tools {

namespace {

constexpr ::rlim_t processor_seconds = 60;
constexpr ::rlim_t memory_bytes = ::rlim_t{4} << 30;
constexpr auto patience = std::chrono::seconds(120);
constexpr std::size_t longest_line = 4 << 20;
constexpr int most_failures = 4;

void limit(decltype(RLIMIT_CPU) resource, ::rlim_t most) {
  ::rlimit now{};
  if (::getrlimit(resource, &now) != 0) return;
  now.rlim_cur = std::min(most, now.rlim_max);
  now.rlim_max = now.rlim_cur;
  (void)::setrlimit(resource, &now);
}

std::string line_of(const thread_trace& trace) {
  json frames = json::array();
  for (const auto& f : trace.frames)
    frames.push_back({f.address, text_json(f.function), f.offset, text_json(f.module),
                      text_json(f.source)});
  return json{{"tid", trace.tid}, {"frames", frames}, {"end", text_json(trace.end)}}.dump() + "\n";
}

std::string plain(const json& text) {
  return text.is_string() ? text.get<std::string>() : std::string("?");
}

thread_trace trace_of(const json& line) {
  thread_trace trace{line.at("tid").get<i32>(), {}, plain(line.at("end"))};
  for (const auto& f : line.at("frames"))
    trace.frames.push_back({f.at(0).get<u64>(), plain(f.at(1)), f.at(2).get<u64>(), plain(f.at(3)),
                            plain(f.at(4))});
  return trace;
}

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) ::_exit(1);
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Never returns: its own standard input, output and error are of no use to a library.
[[noreturn]] void be_the_child(int to, image_file& image, program_memory& memory,
                               const std::vector<elf_module>& modules, std::size_t first) {
  for (const int signal : {SIGPIPE, SIGINT, SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL})
    std::signal(signal, SIG_DFL);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_CPU, processor_seconds);
  limit(RLIMIT_DATA, memory_bytes);
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd <= 2; ++fd) ::dup2(nothing, fd);
  ::unsetenv("DEBUGINFOD_URLS");  // no network unasked, and none that one has to wait for
  try {
    unwind_all(image, memory, modules, first,
               [&](const thread_trace& trace) { write_all(to, line_of(trace)); });
    write_all(to, "{\"done\":true}\n");
  } catch (const image_error& e) {
    write_all(to, json{{"error", e.what()}}.dump() + "\n");
  } catch (...) {
    ::_exit(1);
  }
  ::_exit(0);
}

class child {
 public:
  child(image_file& image, program_memory& memory, const std::vector<elf_module>& modules,
        std::size_t first) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw image_error(text_of(static_cast<errc>(errno)));
    std::cout.flush();
    pid_ = ::fork();
    if (pid_ == 0) be_the_child(ends[1], image, memory, modules, first);
    from_ = sys::unique_fd(ends[0]);
    ::close(ends[1]);
    if (pid_ < 0) throw image_error(text_of(static_cast<errc>(errno)));
  }
  child(const child&) = delete;
  child& operator=(const child&) = delete;
  ~child() {
    ::kill(pid_, SIGKILL);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

  /// Empty when it has ended, or will not.
  std::string next_line() {
    const auto until = std::chrono::steady_clock::now() + patience;
    for (;;) {
      if (const auto end = text_.find('\n'); end != text_.npos) {
        std::string line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          until - std::chrono::steady_clock::now());
      ::pollfd ready{from_.get(), POLLIN, 0};
      const int n = left.count() <= 0 ? 0 : ::poll(&ready, 1, static_cast<int>(left.count()));
      if (n < 0 && errno == EINTR) continue;
      char piece[65536];
      const auto got = n > 0 ? ::read(from_.get(), piece, sizeof piece) : 0;
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0 || text_.size() > longest_line) return {};
      text_.append(piece, static_cast<std::size_t>(got));
    }
  }

 private:
  ::pid_t pid_ = -1;
  sys::unique_fd from_;
  std::string text_;
};

}  // namespace

void backtrace(image_file& image, program_memory& memory, const std::vector<elf_module>& modules,
               const std::function<void(const thread_trace&)>& visit) {
  const auto threads = image.all<state::thread>();
  if (!can_backtrace()) {
    for (const auto& t : threads)
      visit({t.fields.tid, {}, "this readckpt is built without libdw"});
    return;
  }
  std::size_t next = 0;
  for (int failures = 0; next < threads.size();) {
    child worker(image, memory, modules, next);
    for (std::string line = worker.next_line(); !line.empty(); line = worker.next_line()) {
      const json said = json::parse(line, nullptr, false);
      if (said.is_discarded() || said.contains("done")) break;
      if (said.contains("error")) throw image_error(said["error"].get<std::string>());
      visit(trace_of(said));
      ++next;
    }
    if (next == threads.size()) return;
    const bool last = ++failures == most_failures;
    do
      visit({threads[next].fields.tid, {}, "the unwinder failed on what is there"});
    while (++next < threads.size() && last);
  }
}

std::vector<std::string> files_that_differ(const std::vector<elf_module>& modules) {
  std::vector<std::string> lines;
  for (const auto& m : modules) {
    if (m.kernels || m.path.empty()) continue;
    const auto file = look_at_file(m);
    if (file.state == file_state::same) continue;
    std::string line = printable(m.path);
    switch (file.state) {
      case file_state::other: line += " has changed since"; break;
      case file_state::unreadable: line += " cannot be read"; break;
      default: line += " is gone"; break;
    }
    if (!m.build_id.empty()) line += " (the image has build id " + m.build_id + ")";
    lines.push_back(line + ": symbols are those in memory");
  }
  return lines;
}

}  // namespace ckpt::tools
