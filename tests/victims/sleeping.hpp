// SPDX-License-Identifier: MIT
// Victims that wait in a system call again and again. A wait that the trigger interrupts is neither
// cut short nor answered with EINTR: late, never early.
#pragma once

#include "victim.hpp"

namespace victim {

inline constexpr int64_t nap = 60'000'000;  // nanoseconds

// call() waits `nap` on that clock and returns whether its answer is the one for a full wait.
// Between a checkpoint and its restart one clock may have gone on and the other not.
template <class Call>
void sleep_once(const char* name, Call call, clockid_t clock = CLOCK_MONOTONIC) {
  errno = 0;
  int64_t start = now(clock);
  bool right = call();
  int error = errno;
  int64_t took = now(clock) - start;
  if (!right)
    lost("%s: errno %d (%s) after %lld us", name, error, strerror(error),
         static_cast<long long>(took / 1000));
  // One tick of slack for calls that count in jiffies or milliseconds.
  if (took < nap - 1'000'000)
    lost("%s: %lld us too early", name, static_cast<long long>((nap - took) / 1000));
}

template <class Call>
int sleeps(int count, char** values, const char* name, Call call) {
  begin(count, values);
  ready();
  while (!stop_requested()) sleep_once(name, call);
  return finish();
}

// One victim with several calls, named by its second argument: the entry, or the end.
template <class Entry, size_t Size>
const Entry& chosen(int count, char** values, const Entry (&table)[Size]) {
  if (count > 2)
    for (const auto& entry : table)
      if (strcmp(entry.name, values[2]) == 0) return entry;
  say("broken: name one of the calls\n");
  _exit(2);
}

inline timespec nap_spec() {
  return {0, nap};
}

}  // namespace victim
