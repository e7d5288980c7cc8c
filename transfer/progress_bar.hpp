// SPDX-License-Identifier: MIT
//
// How far it is, for whoever waits: on a terminal, and only when it takes a while.
#pragma once

#include <time.h>
#include <unistd.h>

#include <cstdio>

#include "http_client.hpp"

namespace ckpt::transfer {

class progress_bar {
 public:
  explicit progress_bar(bool quiet) : wanted_(!quiet && isatty(2) == 1) { clock_gettime(CLOCK_MONOTONIC, &began_); }
  ~progress_bar() {
    if (drawn_) (void)!write(2, "\r\033[K", 4);
  }
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;

  void tell(u64 done, u64 whole) {
    if (!wanted_) return;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const i64 ms = (now.tv_sec - began_.tv_sec) * 1000 + (now.tv_nsec - began_.tv_nsec) / 1'000'000;
    if (ms < 1000 || ms - last_ms_ < 200) return;
    last_ms_ = ms;
    char line[120];
    const double rate = static_cast<double>(done) / 1048.576 / static_cast<double>(ms);
    const int n = whole == 0
                      ? std::snprintf(line, sizeof line, "\rckpt: %llu MiB, %.0f MiB/s\033[K", static_cast<unsigned long long>(done >> 20), rate)
                      : std::snprintf(line, sizeof line, "\rckpt: %llu of %llu MiB, %llu %%, %.0f MiB/s\033[K",
                                      static_cast<unsigned long long>(done >> 20), static_cast<unsigned long long>(whole >> 20),
                                      static_cast<unsigned long long>(done * 100 / whole), rate);
    (void)!write(2, line, static_cast<std::size_t>(n));
    drawn_ = true;
  }
  progress teller() {
    return [this](u64 done, u64 whole) { tell(done, whole); };
  }

 private:
  bool wanted_;
  bool drawn_ = false;
  i64 last_ms_ = 0;
  timespec began_{};
};

}  // namespace ckpt::transfer
