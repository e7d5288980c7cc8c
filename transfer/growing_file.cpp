// SPDX-License-Identifier: MIT
#include "growing_file.hpp"

#include <chrono>

namespace ckpt::transfer {

growing_file::extent growing_file::now() const {
  const std::lock_guard guard(mutex_);
  return extent_;
}

growing_file::extent growing_file::beyond(u64 size) const {
  std::unique_lock guard(mutex_);
  changed_.wait(guard, [&] { return extent_.size > size || extent_.whole || extent_.torn; });
  return extent_;
}

bool growing_file::wait_for_end(long ms) const {
  std::unique_lock guard(mutex_);
  return changed_.wait_for(guard, std::chrono::milliseconds(ms), [&] { return extent_.whole || extent_.torn; });
}

template <class Change>
void growing_file::change(Change&& how) {
  {
    const std::lock_guard guard(mutex_);
    how(extent_);
  }
  changed_.notify_all();
}

void growing_file::expect(u64 size) {
  change([&](extent& e) { e.expected = size; });
}
void growing_file::grow(u64 bytes) {
  change([&](extent& e) { e.size += bytes; });
}
void growing_file::finish() {
  change([](extent& e) { e.whole = !e.torn; });
}
void growing_file::tear() {
  change([](extent& e) { e.torn = !e.whole; });
}

}  // namespace ckpt::transfer
