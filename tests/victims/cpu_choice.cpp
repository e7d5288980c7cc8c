// SPDX-License-Identifier: MIT
// What glibc has chosen for this processor when it started: the first bytes of memcpy, and which
// extensions it uses. Afterwards its functions still work.
#include <dlfcn.h>

#include <cmath>

#include "victim.hpp"

namespace {

struct leaf {
  unsigned int found[4], active[4];
};

void tell(const char* name, const leaf* at, unsigned word, unsigned bit) {
  char line[64];
  snprintf(line, sizeof line, "%s %u\n", name, at->active[word] >> bit & 1);
  victim::say(line);
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  // glibc 2.33 and later say what they use (sys/platform/x86.h).
  using ask = const leaf* (*)(unsigned);
  if (auto* leaves = reinterpret_cast<ask>(dlsym(RTLD_DEFAULT, "__x86_get_cpuid_feature_leaf"))) {
    tell("SSE4_2", leaves(0), 2, 20);
    tell("AVX2", leaves(1), 1, 5);
    tell("BMI2", leaves(1), 1, 8);
    tell("AVX512F", leaves(1), 1, 16);
    tell("AVX512VL", leaves(1), 1, 31);
  }
  unsigned char code[96];
  memcpy(code, reinterpret_cast<const void*>(&memcpy), sizeof code);
  char hex[2 * sizeof code + 16] = "memcpy ";
  for (unsigned char byte : code) snprintf(hex + strlen(hex), 3, "%02x", byte);
  victim::say(strcat(hex, "\n"));
  static unsigned char from[100'000], to[100'000];
  victim::fill(from, sizeof from, 7);
  victim::ready();
  volatile double x = 0.5;
  while (!victim::stop_requested())
    for (size_t n : {size_t{0}, size_t{7}, size_t{33}, size_t{65}, size_t{300}, size_t{5000}, sizeof to}) {
      memset(to, 0, sizeof to);
      memcpy(to, from, n);
      if (memcmp(to, from, n) != 0 || (n < sizeof to && memchr(to + n, 1, sizeof to - n) != nullptr))
        victim::lost("memcpy of %zu", n);
      if (std::fabs(std::sin(x) * std::sin(x) + std::cos(x) * std::cos(x) - 1) > 1e-12 ||
          std::floor(x) != 0 || std::fabs(std::exp(std::log(x)) - x) > 1e-12)
        victim::lost("arithmetic");
    }
  return victim::finish();
}
