// SPDX-License-Identifier: MIT
// The functions of the vDSO in a tight loop, so that a restart falls between any two of them: time
// does not run backwards by more than a boot, the processor exists, getrandom gives bytes.
//
// Fidelity: memory | functions of the vDSO right after a restart | kept
#include <elf.h>
#include <link.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/time.h>

#include "victim.hpp"

namespace {
void* vdso_symbol(const char* wanted) {
  const auto base = getauxval(AT_SYSINFO_EHDR);
  if (base == 0) return nullptr;
  const auto* elf = reinterpret_cast<const Elf64_Ehdr*>(base);
  const auto* segments = reinterpret_cast<const Elf64_Phdr*>(base + elf->e_phoff);
  const Elf64_Dyn* dynamic = nullptr;
  for (int i = 0; i < elf->e_phnum; ++i)
    if (segments[i].p_type == PT_DYNAMIC)
      dynamic = reinterpret_cast<const Elf64_Dyn*>(base + segments[i].p_offset);
  const char* strings = nullptr;
  const Elf64_Sym* symbols = nullptr;
  for (; dynamic && dynamic->d_tag != DT_NULL; ++dynamic) {
    if (dynamic->d_tag == DT_STRTAB)
      strings = reinterpret_cast<const char*>(base + dynamic->d_un.d_ptr);
    if (dynamic->d_tag == DT_SYMTAB)
      symbols = reinterpret_cast<const Elf64_Sym*>(base + dynamic->d_un.d_ptr);
  }
  if (!strings || !symbols) return nullptr;
  for (const auto* s = symbols + 1; reinterpret_cast<const char*>(s + 1) <= strings; ++s)
    if (strcmp(strings + s->st_name, wanted) == 0)
      return reinterpret_cast<void*>(base + s->st_value);
  return nullptr;
}
}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  using getrandom_type = ssize_t (*)(void*, size_t, unsigned, void*, size_t);
  auto* random = reinterpret_cast<getrandom_type>(vdso_symbol("__vdso_getrandom"));
  struct {
    uint32_t size, protection, flags, reserved[13];
  } parameters{};
  if (random) random(nullptr, 0, 0, &parameters, ~size_t{0});
  const long processors = sysconf(_SC_NPROCESSORS_CONF);
  victim::ready();
  while (!victim::stop_requested())
    for (int i = 0; i < 1000; ++i) {
      timespec t{};
      timeval v{};
      unsigned cpu = ~0u, node = 0;
      if (clock_gettime(CLOCK_MONOTONIC, &t) != 0 || t.tv_nsec >= 1'000'000'000)
        victim::lost("clock_gettime");
      if (clock_gettime(CLOCK_REALTIME, &t) != 0 || t.tv_sec < 1'500'000'000)
        victim::lost("the time of day");
      if (gettimeofday(&v, nullptr) != 0 || std::labs(v.tv_sec - t.tv_sec) > 5)
        victim::lost("gettimeofday");
      if (std::labs(time(nullptr) - t.tv_sec) > 5) victim::lost("time");
      if (getcpu(&cpu, &node) != 0 || cpu >= static_cast<unsigned>(processors))
        victim::lost("getcpu: %u", cpu);
      if (sched_getcpu() < 0 || sched_getcpu() >= processors) victim::lost("sched_getcpu");
      uint64_t bytes = 0;
      // Without a state this is the system call; it must not be -ENOSYS where it was not.
      if (random && random(&bytes, sizeof bytes, 0, nullptr, 0) != sizeof bytes)
        victim::lost("getrandom");
    }
  return victim::finish();
}
