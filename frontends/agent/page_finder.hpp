// SPDX-License-Identifier: MIT
//
// Which pages of a range exist, without touching one.
#pragma once

#include "ckpt/base/range.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::agent {

/// Which pages exist and which are guards, by PAGEMAP_SCAN (6.7) or by reading /proc/self/pagemap.
class page_finder {
 public:
  enum class what : u8 { present, swapped, guard };

  result<void> open() {
    fd_ = sys::unique_fd(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, "/proc/self/pagemap",
                                              sys::abi::o_rdonly | sys::abi::o_cloexec)));
    return {};
  }

  /// Before 6.15 nothing tells a guard page from a swapped one; then nothing is called a guard.
  [[nodiscard]] bool knows_guards() const { return !no_guards_; }

  /// Calls visit(range, what) for each run of pages that are not empty, in order.
  template <class Visitor>
  result<void> for_each(range where, Visitor&& visit) {
    if (!no_scan_) {
      const auto outcome = scan(where, visit);
      if (outcome.ok()) return {};
      if (outcome.error() != not_there_) return outcome;
      no_scan_ = true;
      no_guards_ = false;
    }
    return read_entries(where, visit);
  }

 private:
  static constexpr errc not_there_ = static_cast<errc>(25);  // ENOTTY: no such ioctl

  template <class Visitor>
  result<void> scan(range where, Visitor&& visit) {
    sys::abi::page_region regions[256];
    u64 at = where.begin;
    while (at < where.end) {
      sys::abi::pm_scan_arg arg{};
      arg.size = sizeof arg;
      arg.start = at;
      arg.end = where.end;
      arg.vec = reinterpret_cast<u64>(&regions[0]);
      arg.vec_len = 256;
      const u64 guard = no_guards_ ? 0 : sys::abi::page_is_guard;
      arg.category_anyof_mask = sys::abi::page_is_present | sys::abi::page_is_swapped | guard;
      arg.return_mask = arg.category_anyof_mask | sys::abi::page_is_pfnzero;
      const auto found = sys::ioctl(fd_.get(), sys::abi::pagemap_scan_ioctl, &arg);
      if (!found.ok()) {
        if (found.error() == errc::interrupted) continue;
        if (found.error() != errc::invalid || no_guards_) return found.error();
        no_guards_ = true;
        continue;
      }
      for (long i = 0; i < *found; ++i) {
        const auto& r = regions[i];
        if ((r.categories & sys::abi::page_is_pfnzero) != 0) continue;
        const auto is = (r.categories & sys::abi::page_is_guard) != 0     ? what::guard
                        : (r.categories & sys::abi::page_is_present) != 0 ? what::present
                                                                          : what::swapped;
        CKPT_TRY(visit(range{r.start, r.end}, is));
      }
      if (arg.walk_end <= at) break;
      at = arg.walk_end;
    }
    return {};
  }

  template <class Visitor>
  result<void> read_entries(range where, Visitor&& visit) {
    u64 entries[512];
    sys::linux_files kernel;
    range run{0, 0};
    what run_is = what::present;
    const auto flush = [&]() -> result<void> {
      if (run.empty()) return {};
      return visit(run, run_is);
    };
    for (u64 at = where.begin; at < where.end;) {
      const u64 pages = (where.end - at) / page_size;
      const u64 n = pages < 512 ? pages : 512;
      CKPT_TRY(sys::pread_up_to(kernel, fd_.get(),
                                std::as_writable_bytes(std::span(entries, n)),
                                at / page_size * sizeof(u64)));
      for (u64 i = 0; i < n; ++i, at += page_size) {
        // Bit 63 present, 62 swapped, 58 guard (since 6.15).
        if (entries[i] >> 62 == 0) continue;
        const auto is = (entries[i] >> 58 & 1) != 0   ? what::guard
                        : (entries[i] >> 63 & 1) != 0 ? what::present
                                                      : what::swapped;
        if (run.end != at || run_is != is) {
          CKPT_TRY(flush());
          run = {at, at};
          run_is = is;
        }
        run.end = at + page_size;
      }
    }
    return flush();
  }

  sys::unique_fd fd_;
  bool no_scan_ = false;
  bool no_guards_ = false;
};

}  // namespace ckpt::agent
