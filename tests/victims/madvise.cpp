// SPDX-License-Identifier: MIT
// Flags of a mapping that /proc/PID/maps does not show: what madvise and mlock have asked for.
//
// Fidelity: memory | MADV_DONTFORK, DONTDUMP, HUGEPAGE, NOHUGEPAGE, MERGEABLE, SEQUENTIAL, RANDOM | kept
// Fidelity: memory | MADV_WIPEONFORK | kept; the pages are wiped in a restart, as in any copy
// Fidelity: memory | mlock, mlock2(MLOCK_ONFAULT) | kept as far as RLIMIT_MEMLOCK allows; a line otherwise
#include <sys/mman.h>

#include <sstream>
#include <vector>

#include "victim.hpp"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

static std::string relevant(const std::string& flags) {
  std::istringstream words(flags);
  std::string word, kept;
  while (words >> word)
    for (const char* each :
         {"dc", "wf", "dd", "hg", "nh", "mg", "lo", "lf", "sr", "rr", "nr", "gd"})
      if (word == each) kept += word + " ";
  return kept;
}

int main(int count, char** values) {
  victim::begin(count, values);
  struct advised {
    const char* name;
    int advice;
    unsigned char* memory;
    std::string before;
  };
  std::vector<advised> regions = {
      {"MADV_DONTFORK", MADV_DONTFORK, nullptr, ""},
      {"MADV_WIPEONFORK", MADV_WIPEONFORK, nullptr, ""},
      {"MADV_DONTDUMP", MADV_DONTDUMP, nullptr, ""},
      {"MADV_HUGEPAGE", MADV_HUGEPAGE, nullptr, ""},
      {"MADV_NOHUGEPAGE", MADV_NOHUGEPAGE, nullptr, ""},
      {"MADV_MERGEABLE", MADV_MERGEABLE, nullptr, ""},
      {"MADV_SEQUENTIAL", MADV_SEQUENTIAL, nullptr, ""},
      {"MADV_RANDOM", MADV_RANDOM, nullptr, ""},
      {"mlock", -1, nullptr, ""},
      {"nothing", -2, nullptr, ""},
  };
  constexpr size_t length = 8 * 4096;
  for (advised& each : regions) {
    each.memory = static_cast<unsigned char*>(
        mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (each.memory == MAP_FAILED) victim::broken("mmap");
    victim::fill(each.memory, 4096, 5);
    // What this kernel does not know is not there to be lost.
    if (each.advice >= 0)
      madvise(each.memory, length, each.advice);
    else if (each.advice == -1)
      mlock(each.memory, length);
  }
  for (advised& each : regions) each.before = relevant(victim::mapping_of(each.memory).flags);
  victim::work_until_stop();
  for (advised& each : regions) {
    std::string after = relevant(victim::mapping_of(each.memory).flags);
    if (after != each.before)
      victim::lost("%s: flags '%s' instead of '%s'", each.name, after.c_str(), each.before.c_str());
    // Wiped in every copy of the program, and a restarted one is a copy; whole in one that went on.
    if (each.advice == MADV_WIPEONFORK && each.memory[0] != victim::pattern(5, 0)) {
      for (size_t i = 0; i < length; ++i)
        if (each.memory[i] != 0)
          victim::lost("%s: byte %zu is neither kept nor wiped", each.name, i);
    } else {
      victim::expect_filled(each.name, each.memory, 4096, 5);
    }
  }
  return victim::finish();
}
