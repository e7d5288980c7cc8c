// SPDX-License-Identifier: MIT
//
// A program of the core alone. It reads about itself from /proc and checks that what it reads is
// about itself; whatever is not so is one line on standard error and the exit status 1.
#include "ckpt/base/text.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"
#include "ckpt/proc/fdinfo.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/sys/calls.hpp"
#include "ckpt/sys/file.hpp"

namespace {

using namespace ckpt;

template <class... Parts>
[[noreturn]] void fail(const Parts&... parts) {
  fixed_text<256> line;
  line.append("lint.freestanding: ");
  (line.append(parts), ...);
  line.append('\n');
  sys::linux_files kernel;
  (void)sys::write_all(kernel, 2, bytes_of_text(line.view()));
  sys::exit_group(1);
}

void expect(bool so, std::string_view what) {
  if (!so) fail(what);
}

template <class T>
T value(result<T> r, std::string_view what) {
  if (!r.ok()) fail(what, ": ", r.error());
  return r.value();
}

sys::unique_fd opened(const char* path) {
  return sys::unique_fd(value(sys::openat(sys::abi::at_fdcwd, path, sys::abi::o_rdonly), path));
}

char text_buffer[8192];

std::string_view text_of(const char* path) {
  const sys::unique_fd fd = opened(path);
  sys::linux_files kernel;
  const u64 n = value(
      sys::read_up_to(kernel, fd.get(), std::as_writable_bytes(std::span(text_buffer))), path);
  return {text_buffer, n};
}

// Finds the code and the stack of this program among its mappings.
struct self_finder : maps::ignore_the_rest {
  u64 code;
  u64 stack;
  bool code_found = false;
  bool stack_found = false;
  bool stack_named = false;
  bool in_stack = false;
  unsigned mappings = 0;
  maps::vm_flags stack_flags;
  char name[32] = {};
  std::size_t name_size = 0;

  result<void> on_mapping(const maps::mapping_head& head) {
    ++mappings;
    name_size = 0;
    in_stack = head.where.contains(stack);
    if (in_stack) stack_found = (head.protection & sys::abi::prot_write) != 0;
    if (head.where.contains(code)) code_found = (head.protection & sys::abi::prot_exec) != 0;
    return {};
  }
  result<void> on_name(std::string_view piece) {
    for (const char c : piece)
      if (name_size < sizeof name) name[name_size++] = c;
    return {};
  }
  result<void> on_flags(maps::vm_flags flags) {
    if (in_stack) stack_flags = flags;
    return {};
  }
  result<void> on_mapping_end() {
    if (in_stack) stack_named = maps::special_of({name, name_size}) == maps::special::stack;
    return {};
  }
};

}  // namespace

extern "C" [[noreturn]] void ckpt_main(const u64* stack) {
  using namespace ckpt;
  sys::linux_files kernel;
  for (const bool small : {true, false}) {
    self_finder finder;
    finder.code = reinterpret_cast<u64>(&ckpt_main);
    finder.stack = reinterpret_cast<u64>(stack);
    char buffer[512];
    const sys::unique_fd fd = opened(small ? "/proc/self/maps" : "/proc/self/smaps");
    const auto parsed =
        maps::parse_file(kernel, fd.get(), std::span(buffer, small ? 1 : sizeof buffer), finder);
    if (!parsed.ok()) fail("maps: ", parsed.error());
    expect(finder.mappings >= 3, "fewer mappings than any program has");
    expect(finder.code_found, "own code is not mapped executable");
    expect(finder.stack_found && finder.stack_named, "own stack is not [stack]");
    if (!small)
      expect(finder.stack_flags.has(maps::vm_flag::grows_down), "own stack does not grow");
  }

  const proc::stat_fields stat = value(proc::parse_stat(text_of("/proc/self/stat")), "stat");
  expect(stat.pid == sys::getpid(), "stat is of another process");
  expect(stat.start_stack == reinterpret_cast<u64>(stack), "start_stack is not the first stack");

  const std::string_view status = text_of("/proc/self/status");
  expect(value(proc::status_threads(status), "Threads") == 1, "more than one thread");
  expect(value(proc::status_innermost_pid(status), "NSpid") == sys::getpid(), "NSpid is not ours");
  const u32 mask = value(proc::status_umask(status), "Umask");
  expect(value(sys::umask(mask), "umask") == mask, "Umask is not the umask");

  const sys::unique_fd fd = opened("/proc/self/stat");
  fixed_text<64> path;
  path.append("/proc/self/fdinfo/").append(fd.get());
  const std::string_view info_text = text_of(path.c_str());
  expect(value(proc::parse_fdinfo(info_text), "fdinfo").position == 0, "read from the future");
  unsigned locks = 0;
  const auto count = [&](const proc::file_lock&) -> result<void> {
    ++locks;
    return {};
  };
  expect(proc::for_each_lock(info_text, count).ok() && locks == 0, "locked by nobody");
  sys::exit_group(0);
}
