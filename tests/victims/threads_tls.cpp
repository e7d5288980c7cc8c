// SPDX-License-Identifier: MIT
// Thread-local storage of a program, of its libraries and of one that is opened while it runs:
// touched by some threads before the checkpoint, by others only after it.
//
// Fidelity: thread | thread-local storage, static and of libraries opened later; libraries opened and closed afterwards | kept
#include <dlfcn.h>

#include <string>
#include <vector>

#include "threads.hpp"

namespace {

thread_local uint64_t initialised = 0xabcdef;
thread_local unsigned char large[20'000];
thread_local std::string text = "begun";

uint64_t* (*of_library)(unsigned);

void check(unsigned i, const char* when, uint64_t offset) {
  for (unsigned j = 0; j < 100; ++j)
    if (*of_library(j) != 0x5eed + j + offset) {
      victim::lost("thread %u: thread-local storage of the library %s: %llx", i, when,
                   static_cast<unsigned long long>(*of_library(j)));
      return;
    }
}

void body(unsigned i) {
  const bool early = i % 2 == 0;
  initialised += i;
  victim::fill(large, sizeof large, i);
  text += " by " + std::to_string(i);
  if (early)
    for (unsigned j = 0; j < 100; ++j) *of_library(j) += i;
  victim::arrive();
  victim::wait_for_stop();
  check(i, early ? "touched before" : "touched afterwards", early ? i : 0);
  victim::expect_equal("a thread-local number", 0xabcdef + i, initialised);
  victim::expect_filled("thread-local bytes", large, sizeof large, i);
  if (text != "begun by " + std::to_string(i)) victim::lost("thread-local text: %s", text.c_str());
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  void* library = dlopen("./threads_tls.so", RTLD_NOW);
  if (!library) victim::broken(dlerror());
  of_library = reinterpret_cast<uint64_t* (*)(unsigned)>(dlsym(library, "of_library"));
  if (!of_library) victim::broken(dlerror());
  std::vector<pthread_t> running;
  for (unsigned i = 0; i < 8; ++i) running.push_back(victim::start([i] { body(i); }));
  victim::gather(8);
  victim::rest_until_stop();
  victim::tell_all();
  for (pthread_t thread : running) victim::join_well(thread, "a thread");
  // A thread that begins now has fresh storage, and the linker still does its work.
  victim::join_well(victim::start([] { check(99, "of a new thread", 0); }), "a new thread");
  if (dlclose(library) != 0) victim::lost("dlclose: %s", dlerror());
  library = dlopen("./threads_tls.so", RTLD_NOW);
  if (!library) {
    victim::lost("dlopen: %s", dlerror());
    return victim::finish();
  }
  of_library = reinterpret_cast<uint64_t* (*)(unsigned)>(dlsym(library, "of_library"));
  victim::join_well(victim::start([] { check(98, "of the library opened again", 0); }),
                    "another thread");
  return victim::finish();
}
