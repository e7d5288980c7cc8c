// SPDX-License-Identifier: MIT
// What every victim shares. A victim sets a state up, prints "ready", works until the file named by
// its first argument appears, and then checks itself: "ok" and 0, or what was lost and 1. It looks
// for the file with access(), so that waiting holds no descriptor.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>

namespace victim {

inline constexpr int skipped = 77;

inline const char* stop_file = nullptr;
inline std::atomic<int> losses = 0;  // threads may find them at one time

inline void say(const char* text) {
  // write() and not stdio: a buffer would be printed once more by each restart of one image.
  size_t length = strlen(text);
  while (length != 0) {
    ssize_t done = write(1, text, length);
    if (done < 0) _exit(3);
    text += done;
    length -= static_cast<size_t>(done);
  }
}

[[gnu::format(printf, 1, 2)]] inline void lost(const char* format, ...) {
  char text[1024] = "lost: ";
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text + 6, sizeof text - 8, format, arguments);
  va_end(arguments);
  strcat(text, "\n");
  if (++losses <= 20) say(text);
}

[[noreturn]] inline void skip(const char* why) {
  say("skip: ");
  say(why);
  say("\n");
  _exit(skipped);
}

// A fault of the set-up and not of a checkpoint.
[[noreturn]] inline void broken(const char* what) {
  char text[512];
  snprintf(text, sizeof text, "broken: %s: %s\n", what, strerror(errno));
  say(text);
  _exit(2);
}

inline void begin(int count, char** values) {
  if (count < 2) {
    say("broken: give the name of the stop file\n");
    _exit(2);
  }
  stop_file = values[1];
}

inline void ready() {
  say("ready\n");
}

inline bool stop_requested() {
  return access(stop_file, F_OK) == 0;
}

inline void compute() {
  static volatile uint64_t sink;
  for (uint64_t i = 0; i < 200'000; ++i) sink = sink + i;
}

inline void work_until_stop() {
  ready();
  while (!stop_requested()) compute();
}

inline int finish() {
  if (losses == 0) say("ok\n");
  return losses == 0 ? 0 : 1;
}

inline int64_t now(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time{};
  clock_gettime(clock, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

// A deterministic byte for an offset, different for each seed.
inline unsigned char pattern(uint64_t seed, uint64_t offset) {
  uint64_t mixed = (offset + 1) * 0x9e3779b97f4a7c15 ^ (seed + 7) * 0xd6e8feb86659fd93;
  return static_cast<unsigned char>(mixed >> 56 ^ mixed >> 24);
}

inline void fill(void* memory, size_t length, uint64_t seed) {
  auto* bytes = static_cast<unsigned char*>(memory);
  for (size_t i = 0; i < length; ++i) bytes[i] = pattern(seed, i);
}

inline bool expect_filled(const char* what, const void* memory, size_t length, uint64_t seed) {
  auto* bytes = static_cast<const volatile unsigned char*>(memory);
  for (size_t i = 0; i < length; ++i)
    if (bytes[i] != pattern(seed, i)) {
      lost("%s: byte %zu is %02x instead of %02x", what, i, bytes[i], pattern(seed, i));
      return false;
    }
  return true;
}

inline void expect_equal(const char* what, uint64_t wanted, uint64_t got) {
  if (wanted != got)
    lost("%s: %#llx instead of %#llx", what, static_cast<unsigned long long>(got),
         static_cast<unsigned long long>(wanted));
}

inline std::string slurp(const char* path) {
  std::string text;
  FILE* file = fopen(path, "re");
  if (!file) broken(path);
  char buffer[4096];
  size_t count;
  while ((count = fread(buffer, 1, sizeof buffer, file)) != 0) text.append(buffer, count);
  fclose(file);
  return text;
}

// The line of /proc/self/maps, or the block of smaps, that covers an address; empty when none does.
struct mapping {
  uintptr_t begin = 0, end = 0;
  std::string permissions, flags;
};

inline mapping mapping_of(const void* address) {
  mapping found;
  auto wanted = reinterpret_cast<uintptr_t>(address);
  FILE* file = fopen("/proc/self/smaps", "re");
  if (!file) broken("/proc/self/smaps");
  char* line = nullptr;
  size_t size = 0;
  bool inside = false;
  while (getline(&line, &size, file) > 0) {
    unsigned long begin = 0, end = 0;
    char permissions[8] = "";
    if (sscanf(line, "%lx-%lx %4s", &begin, &end, permissions) == 3) {
      inside = begin <= wanted && wanted < end;
      if (inside) found = {begin, end, permissions, ""};
    } else if (inside && strncmp(line, "VmFlags:", 8) == 0) {
      found.flags = line + 8;
      while (!found.flags.empty() && found.flags.back() == '\n') found.flags.pop_back();
      found.flags += ' ';
    }
  }
  free(line);
  fclose(file);
  return found;
}

}  // namespace victim
