// SPDX-License-Identifier: MIT
//
// ps must show the program's own arguments after a restart: this moves a child's to a text of its
// own and reads them back from /proc.
#include "ckpt/state/memory_layout.hpp"

#include <sys/mman.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "ckpt/proc/stat.hpp"
#include "support/catch.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

std::string slurp(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

constexpr int not_permitted = 77;

int move_arguments() {
  constexpr char arguments[] = "restored\0program";
  constexpr char environment[] = "A=1";
  // The kernel shows arguments only from memory without a file.
  auto* page = static_cast<char*>(
      ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (page == MAP_FAILED) return 6;
  std::memcpy(page, arguments, sizeof arguments);
  std::memcpy(page + 100, environment, sizeof environment);
  const auto text = slurp("/proc/self/stat");
  const auto now = proc::parse_stat(text).value();
  const auto auxiliary = slurp("/proc/self/auxv");
  memory_layout m{};
  m.start_code = now.start_code;
  m.end_code = now.end_code;
  m.start_data = now.start_data;
  m.end_data = now.end_data;
  m.start_brk = now.start_brk;
  m.brk = sys::brk(0);
  m.start_stack = now.start_stack;
  m.arg_start = reinterpret_cast<u64>(page);
  m.arg_end = m.arg_start + sizeof arguments;
  m.env_start = reinterpret_cast<u64>(page + 100);
  m.env_end = m.env_start + sizeof environment;
  const auto outcome = restore_memory_layout(m, bytes_of_text(auxiliary));
  if (outcome.error() == errc::invalid || outcome.error() == errc::perm) return not_permitted;
  if (!outcome.ok()) return 1;
  if (slurp("/proc/self/cmdline") != std::string(arguments, sizeof arguments)) return 2;
  if (slurp("/proc/self/environ") != std::string(environment, sizeof environment)) return 3;
  if (slurp("/proc/self/auxv") != auxiliary) return 4;
  if (sys::brk(0) != m.brk) return 5;
  return 0;
}

TEST_CASE("arguments, environment, heap and auxiliary vector are where the layout says") {
  const int status = test::in_child(move_arguments);
  if (status == not_permitted) {
    WARN("this kernel was built without CONFIG_CHECKPOINT_RESTORE");
    return;
  }
  CHECK(status == 0);
}

TEST_CASE("a layout that cannot be is refused by the kernel") {
  CHECK(test::in_child([] {
          memory_layout m{};
          m.start_code = 0x1000u;
          return restore_memory_layout(m, {}).ok() ? 1 : 0;
        }) == 0);
}

}  // namespace
}  // namespace ckpt::state
