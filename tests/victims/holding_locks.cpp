// SPDX-License-Identifier: MIT
// A program whose threads hold the loader's lock and the allocator's, and do not give them back before
// the file named by the second argument appears: whoever called dlopen or malloc in it would wait until
// then. The allocator is its own, so that it can hold it.
#include <link.h>
#include <stdlib.h>

#include "threads.hpp"

namespace {

pthread_mutex_t allocator = PTHREAD_MUTEX_INITIALIZER;
std::atomic<uint64_t> allocated{0};
alignas(64) unsigned char room[64 << 20];
size_t used = 0;

void* take(size_t size) {
  constexpr size_t head = 16;
  pthread_mutex_lock(&allocator);
  void* at = nullptr;
  if (size < sizeof room - used - head) {
    memcpy(room + used, &size, sizeof size);
    at = room + used + head;
    used += (size + 2 * head - 1) / head * head;
  }
  pthread_mutex_unlock(&allocator);
  ++allocated;
  return at;
}

bool released(const char* file) { return access(file, F_OK) == 0; }

}  // namespace

extern "C" {
void* malloc(size_t size) { return take(size); }
void free(void*) {
  pthread_mutex_lock(&allocator);
  pthread_mutex_unlock(&allocator);
}
void* calloc(size_t count, size_t size) {
  void* at = take(count * size);
  if (at != nullptr) memset(at, 0, count * size);
  return at;
}
void* realloc(void* old, size_t size) {
  void* at = take(size);
  size_t before = 0;
  if (old != nullptr) memcpy(&before, static_cast<unsigned char*>(old) - 16, sizeof before);
  if (at != nullptr) memcpy(at, old, before < size ? before : size);
  return at;
}
}

int main(int count, char** values) {
  victim::begin(count, values);
  if (count < 3) victim::broken("a file that lets the locks go");
  static const char* release = values[2];
  // The main thread is the one that whoever comes likes best: it holds one, too.
  pthread_t loader = victim::start([] {
    dl_iterate_phdr([](dl_phdr_info*, size_t, void*) {
      if (!victim::arrived) victim::arrive();
      while (!released(release)) usleep(1000);
      return 1;
    }, nullptr);
  });
  victim::gather(1);
  pthread_mutex_lock(&allocator);
  victim::ready();
  while (!released(release)) victim::compute();
  pthread_mutex_unlock(&allocator);
  victim::join_well(loader, "the loader's thread");
  while (!victim::stop_requested()) {
    void* piece = malloc(100);
    if (piece == nullptr) break;  // all of the room is used
    free(piece);
    usleep(1000);
  }
  return victim::finish();
}
