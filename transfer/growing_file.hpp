// SPDX-License-Identifier: MIT
//
// A file that one thread fills while another follows it. Whoever fills it never waits for whoever
// follows; who follows can go back to any byte, and knows the end of the whole from the end of what has
// come so far.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>

#include "ckpt/sys/file.hpp"

namespace ckpt::transfer {

class growing_file {
 public:
  struct extent {
    u64 size = 0;
    u64 expected = 0;    // of the whole; 0 while nobody knows
    bool whole = false;  // nothing follows
    bool torn = false;   // it will never be whole
  };

  explicit growing_file(sys::unique_fd file) : file_(std::move(file)) {}

  [[nodiscard]] int descriptor() const { return file_.get(); }
  [[nodiscard]] extent now() const;
  /// Waits for more than `size` bytes, or for the end.
  [[nodiscard]] extent beyond(u64 size) const;
  /// Waits for the end, whichever it is, and no longer than that; whether it has come.
  bool wait_for_end(long ms) const;

  void expect(u64 size);
  void grow(u64 bytes);
  void finish();
  void tear();

 private:
  template <class Change>
  void change(Change&& how);

  sys::unique_fd file_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  extent extent_;
};

}  // namespace ckpt::transfer
