// SPDX-License-Identifier: MIT
// A program that lives in dlopen and dlclose: four threads, each with a library of its own that comes
// and goes for good every time, and one that only looks at all that are there.
#include <dlfcn.h>
#include <link.h>

#include <fstream>
#include <vector>

#include "threads.hpp"

namespace {

constexpr unsigned openers = 4;

std::string library_of(unsigned i) {
  return "./opening_libraries." + std::to_string(i) + ".so";
}

void open_and_close(unsigned i) {
  const std::string name = library_of(i);
  uint64_t turns = 0;
  victim::arrive();
  while (victim::stopping == 0) {
    void* library = dlopen(name.c_str(), turns % 2 == 0 ? RTLD_NOW : RTLD_LAZY);
    if (library == nullptr) return victim::lost("thread %u: %s", i, dlerror());
    auto* function = reinterpret_cast<uint64_t (*)(uint64_t)>(dlsym(library, "of_library"));
    if (function == nullptr) return victim::lost("thread %u: %s", i, dlerror());
    // Its storage is new each time, and its constructor has run.
    for (uint64_t j = 1; j <= 3; ++j)
      if (const uint64_t got = function(turns); got != 0x5eed + turns + j)
        return victim::lost("thread %u, turn %llu: %#llx", i, static_cast<unsigned long long>(turns),
                            static_cast<unsigned long long>(got));
    if (dlclose(library) != 0) return victim::lost("thread %u: %s", i, dlerror());
    ++turns;
  }
}

void look_at_all() {
  victim::arrive();
  while (victim::stopping == 0) {
    int seen = 0;
    dl_iterate_phdr([](dl_phdr_info* info, size_t, void* count) {
      *static_cast<int*>(count) += info->dlpi_phnum != 0;
      return 0;
    }, &seen);
    if (seen < 3) return victim::lost("%d libraries", seen);
  }
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  for (unsigned i = 0; i < openers; ++i) {
    std::ifstream from("./opening_libraries.so", std::ios::binary);
    std::ofstream to(library_of(i), std::ios::binary | std::ios::trunc);
    to << from.rdbuf();
    if (!to.flush()) victim::broken("copying the library");
  }
  std::vector<pthread_t> running;
  for (unsigned i = 0; i < openers; ++i)
    running.push_back(victim::start([i] { open_and_close(i); }));
  running.push_back(victim::start(look_at_all));
  victim::gather(openers + 1);
  victim::rest_until_stop();
  victim::tell_all();
  for (pthread_t thread : running) victim::join_well(thread, "a thread");
  return victim::finish();
}
