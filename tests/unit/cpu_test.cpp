// SPDX-License-Identifier: MIT
//
// What an image needs of a processor: nothing less, and nothing more.
#include "ckpt/state/cpu.hpp"

#include <fstream>
#include <sstream>
#include <string>

#include "support/catch.hpp"

namespace ckpt::state {
namespace {

cpu with(u64 extensions, u64 components) {
  cpu c{};
  c.extensions = extensions;
  c.components = components;
  return c;
}

std::string verdict(const cpu& saved, const cpu& here) {
  report why;
  return check_cpu(saved, here, why).ok() ? "" : std::string(why.line());
}

TEST_CASE("an image runs where nothing of what it had is missing") {
  CHECK(verdict(with(0b0101, 7), with(0b0101, 7)).empty());
  CHECK(verdict(with(0b0001, 3), with(0b1111, 7)).empty());
  CHECK(verdict(this_cpu(), this_cpu()).empty());
}

TEST_CASE("what is missing is named") {
  CHECK(verdict(with(0b0011, 7), with(0b0000, 7)) ==
        "this processor lacks sse3 pclmulqdq, which the program may be using (restart it on a "
        "machine that has them)");
  const auto unknown = verdict(with(u64{1} << 63, 7), with(0, 7));
  CHECK(unknown.starts_with("this processor lacks bit-63,"));
  const auto components = verdict(with(0, 0xe7), with(0, 7));
  CHECK(components.starts_with("this processor lacks state components e0,"));
}

TEST_CASE("even an image that needs everything is refused on one line") {
  const auto line = verdict(with(~u64{0}, ~u64{0}), with(0, 0));
  CHECK(line.ends_with("on a machine that has them)"));
  CHECK(line.find("rdtscp") != line.npos);
}

TEST_CASE("this processor is the one /proc/cpuinfo describes") {
  std::ifstream file("/proc/cpuinfo");
  std::string vendor, flags;
  for (std::string line; std::getline(file, line);) {
    const auto value = line.find(": ");
    if (value == line.npos) continue;
    if (line.starts_with("vendor_id")) vendor = line.substr(value + 2);
    if (line.starts_with("flags")) flags = " " + line.substr(value + 2) + " ";
  }
  const auto here = this_cpu();
  CHECK(here.vendor.view() == vendor);
  for (u32 i = 0; i < sys::arch::extension_count; ++i) {
    if ((here.extensions >> i & 1) == 0) continue;
    std::string name(sys::arch::extensions[i].name);
    if (name == "sse3") name = "pni";   // the kernel keeps Intel's first name
    if (name == "lzcnt") name = "abm";  // and AMD's
    INFO(name);
    CHECK(flags.find(" " + name + " ") != flags.npos);
  }
}

}  // namespace
}  // namespace ckpt::state
