// SPDX-License-Identifier: MIT
// Memory that ckpt_region keeps out of images: zero to the byte or not mapped after a restart, as it
// was in a program that goes on; whatever kind of memory it is, words over words, one generation
// after the other, while another thread says more.
//
// Fidelity: memory | memory that ckpt_region wants zero or left out: secret memory, heap, stack, private and shared mappings, memory files, in every generation | kept; zero or not mapped as asked
#include <ckpt.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <thread>
#include <vector>

#include "victim.hpp"

static constexpr size_t page = 4096;

namespace {

/// Memory, and what its bytes are to be after a restart.
struct area {
  const char* name;
  unsigned char* at;
  size_t length;
  uint64_t seed;
  int flags;  // with which it is mapped again, 0 for memory that keeps its pages
  int fd = -1;
  std::vector<unsigned char> said = std::vector<unsigned char>(length, CKPT_REGION_KEEP);

  void say(size_t begin, size_t end, int what) {
    if (ckpt_region(at + begin, end - begin, what) != 0) victim::broken("ckpt_region");
    for (size_t i = begin; i < end; ++i) said[i] = static_cast<unsigned char>(what);
  }
  bool is_gone(size_t offset) const {
    if (flags == 0) return false;
    const size_t begin = offset / page * page;
    for (size_t i = begin; i < begin + page && i < length; ++i)
      if (said[i] != CKPT_REGION_OMIT) return false;
    return true;
  }
  void check(bool restarted) const {
    for (size_t i = 0; i < length; ++i) {
      if (restarted && is_gone(i)) {
        unsigned char there;
        if (mincore(at + i, page, &there) == 0) victim::lost("%s: page %zu is mapped", name, i / page);
        i += page - 1;
        continue;
      }
      const unsigned char wanted =
          restarted && said[i] != CKPT_REGION_KEEP ? 0 : victim::pattern(seed, i);
      if (static_cast<volatile unsigned char*>(at)[i] == wanted) continue;
      victim::lost("%s: byte %zu is %02x instead of %02x", name, i, at[i], wanted);
      return;
    }
  }
  void fill(bool restarted) const {
    for (size_t i = 0; restarted && i < length; i += page)
      if (is_gone(i) && mmap(at + i, page, PROT_READ | PROT_WRITE, flags | MAP_FIXED_NOREPLACE, fd,
                             fd >= 0 ? static_cast<off_t>(i) : 0) != at + i)
        victim::lost("%s: page %zu cannot be mapped again: %s", name, i / page, strerror(errno));
    victim::fill(at, length, seed);
  }
};

unsigned char* map(size_t length, int flags, int fd = -1) {
  void* memory = mmap(nullptr, length, PROT_READ | PROT_WRITE, flags, fd, 0);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return static_cast<unsigned char*>(memory);
}

std::atomic<bool> stop = false;
alignas(4096) unsigned char talked_of[16 * page];

/// Never heard of again; the registry is in the middle of a word whenever it is.
void talk() {
  uint64_t number = 1;
  while (!stop) {
    number = number * 6364136223846793005 + 1442695040888963407;
    const size_t begin = number >> 33 & 0x7fff, length = number >> 20 & 0x3fff;
    ckpt_region(talked_of + begin, length, static_cast<int>(number >> 50) & 1);
  }
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  if (ckpt_region(nullptr, 1, 17) != -1) {
    if (count > 2) victim::broken("the library is not there");
    return 2;
  }
  constexpr int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  unsigned char* canary = map(page, anonymous);
  canary[0] = 1;
  if (ckpt_region(canary, 1, CKPT_REGION_ZERO) != 0) victim::broken("ckpt_region");

  if (count == 3 && ckpt_region(values[2], strlen(values[2]), CKPT_REGION_ZERO) != 0)
    victim::broken("ckpt_region");  // a secret on the command line
  std::vector<area> areas;
  areas.push_back({"private memory", map(64 * page, anonymous), 64 * page, 1, anonymous});
  area& memory = areas.back();
  memory.say(100, 3 * page + 50, CKPT_REGION_ZERO);
  memory.say(page + 10, page + 20, CKPT_REGION_KEEP);
  memory.say(10 * page, 12 * page, CKPT_REGION_OMIT);
  memory.say(20 * page + 7, 22 * page + 9, CKPT_REGION_OMIT);
  memory.say(30 * page, 33 * page, CKPT_REGION_OMIT);
  memory.say(31 * page, 32 * page, CKPT_REGION_ZERO);
  memory.say(32 * page, 33 * page, CKPT_REGION_KEEP);
  memory.say(40 * page, 41 * page, CKPT_REGION_ZERO);  // a page of both is mapped and zero
  memory.say(40 * page + 5, 40 * page + 9, CKPT_REGION_OMIT);

  areas.push_back({"heap", static_cast<unsigned char*>(malloc(10'000)), 10'000, 2, 0});
  areas.back().say(5000, 5037, CKPT_REGION_ZERO);
  areas.back().say(100, 9000, CKPT_REGION_OMIT);  // less than whole pages of its own
  areas.back().say(7000, 8000, CKPT_REGION_KEEP);
  for (auto& what : areas.back().said) if (what == CKPT_REGION_OMIT) what = CKPT_REGION_ZERO;
  // A page that is all the block's would be gone, and malloc's with it.
  ckpt_region(areas.back().at + 100, 6900, CKPT_REGION_ZERO);
  ckpt_region(areas.back().at + 8000, 1000, CKPT_REGION_ZERO);

  alignas(4096) unsigned char local[8 * page];
  areas.push_back({"stack", local, sizeof local, 3, 0});
  areas.back().say(33, 77, CKPT_REGION_ZERO);
  areas.back().say(2 * page, 5 * page, CKPT_REGION_OMIT);  // on the stack, as zero

  constexpr int shared = MAP_SHARED | MAP_ANONYMOUS;
  areas.push_back({"shared memory", map(8 * page, shared), 8 * page, 4, 0});
  areas.back().say(50, 2 * page + 60, CKPT_REGION_ZERO);

  const int fd = memfd_create("regions", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, 6 * page) != 0) victim::broken("memfd");
  areas.push_back({"memory file", map(6 * page, MAP_SHARED, fd), 6 * page, 5, MAP_SHARED, fd});
  areas.back().say(page + 1, 2 * page + 1, CKPT_REGION_ZERO);
  areas.back().say(4 * page, 5 * page, CKPT_REGION_OMIT);
  unsigned char* again = map(6 * page, MAP_SHARED, fd);

  const int file = open("regions.file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0 || ftruncate(file, 4 * page) != 0) victim::broken("regions.file");
  areas.push_back({"mapped file", map(4 * page, MAP_SHARED, file), 4 * page, 6, MAP_SHARED, file});
  areas.back().say(page, 2 * page, CKPT_REGION_OMIT);
  if (count == 4) areas.back().say(3 * page, 3 * page + 1, CKPT_REGION_ZERO);
  static unsigned char bytes[page];
  if (ckpt_region(bytes, page, CKPT_REGION_ZERO) != 0) victim::broken("ckpt_region");

  for (const area& a : areas) a.fill(false);
  // Memory that no image could have.
  const int secret_file = static_cast<int>(syscall(SYS_memfd_secret, 0));
  unsigned char* secret = nullptr;
  if (secret_file >= 0 && ftruncate(secret_file, page) == 0) {
    secret = map(page, MAP_SHARED, secret_file);
    victim::fill(secret, page, 8);
    if (ckpt_region(secret, page, CKPT_REGION_OMIT) != 0) victim::broken("ckpt_region");
  }
  if (secret_file >= 0) close(secret_file);
  bool never_restarted = true;
  const auto look = [&](bool restarted) {
    never_restarted = never_restarted && !restarted;
    unsigned char there;
    if (secret != nullptr && (mincore(secret, page, &there) == 0) != never_restarted)
      victim::lost("secret memory that is left out: %s", strerror(errno));
    for (const area& a : areas) a.check(restarted);
    // What is zero in one place is zero in all.
    for (size_t i = 0; i < 6 * page; ++i) {
      const bool hidden = i > page && i < 2 * page + 1;
      const bool omitted = i >= 4 * page && i < 5 * page;
      if (!restarted || (!hidden && !omitted) || again[i] == 0) continue;
      victim::lost("memory file, seen again: byte %zu is %02x", i, again[i]);
      break;
    }
    if (pread(file, bytes, page, page) != static_cast<ssize_t>(page)) victim::broken("pread");
    for (size_t i = 0; i < page; ++i)
      if (bytes[i] != victim::pattern(6, page + i)) {
        victim::lost("the file behind a mapping that is left out has changed");
        break;
      }
  };
  // Whoever uses memory that is left out holds checkpoints off meanwhile.
  sigset_t trigger, none;
  sigemptyset(&trigger);
  sigemptyset(&none);
  sigaddset(&trigger, SIGTSTP);
  pthread_sigmask(SIG_BLOCK, &trigger, nullptr);
  std::thread talker(talk);
  victim::ready();
  while (!victim::stop_requested()) {
    pthread_sigmask(SIG_SETMASK, &none, nullptr);
    victim::compute();
    pthread_sigmask(SIG_BLOCK, &trigger, nullptr);
    if (canary[0] != 0) continue;
    look(true);
    for (const area& a : areas) a.fill(true);
    canary[0] = 1;
  }
  look(canary[0] == 0);
  pthread_sigmask(SIG_SETMASK, &none, nullptr);
  stop = true;
  talker.join();
  return victim::finish();
}
