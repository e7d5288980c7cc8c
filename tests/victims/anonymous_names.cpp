// SPDX-License-Identifier: MIT
// Names given to anonymous memory by PR_SET_VMA, as /proc/PID/maps shows them.
//
// Fidelity: memory | names of anonymous mappings (PR_SET_VMA) | kept where the kernel has them
#include <sys/mman.h>
#include <sys/prctl.h>

#include "victim.hpp"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#define PR_SET_VMA_ANON_NAME 0
#endif

static std::string name_at(const void* address) {
  const std::string maps = victim::slurp("/proc/self/maps");
  char start[32];
  snprintf(start, sizeof start, "%lx-", reinterpret_cast<unsigned long>(address));
  size_t at = maps.rfind("\n" + std::string(start));
  if (at == std::string::npos) return "(no mapping begins there)";
  const std::string line = maps.substr(at + 1, maps.find('\n', at + 1) - at - 1);
  const size_t name = line.find('[');
  return name == std::string::npos ? "" : line.substr(name);
}

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 4 * 4096;
  const char* names[] = {"heap of the interpreter",
                         "80 characters are the most that a name may have, "
                         "this one has them all .......",
                         "a", ""};
  unsigned char* regions[4];
  for (int i = 0; i < 4; ++i) {
    auto* reserve = static_cast<unsigned char*>(
        mmap(nullptr, length + 2 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (reserve == MAP_FAILED) victim::broken("mmap");
    regions[i] = reserve + 4096;
    mprotect(regions[i], length, PROT_READ | PROT_WRITE);
    victim::fill(regions[i], length, static_cast<uint64_t>(i));
    if (*names[i] && prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, regions[i], length, names[i]) != 0 &&
        i == 0)
      victim::skip("this kernel has no names for anonymous memory");
  }
  std::string before[4];
  for (int i = 0; i < 4; ++i) before[i] = name_at(regions[i]);
  if (before[0] != "[anon:heap of the interpreter]") victim::broken("the name is not shown");
  victim::work_until_stop();
  for (int i = 0; i < 4; ++i) {
    if (name_at(regions[i]) != before[i])
      victim::lost("the name %s: now %s", before[i].c_str(), name_at(regions[i]).c_str());
    victim::expect_filled("a region", regions[i], length, static_cast<uint64_t>(i));
  }
  return victim::finish();
}
