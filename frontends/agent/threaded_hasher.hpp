// SPDX-License-Identifier: MIT
//
// Checksums beside the writing: the program stands still and its processor is free, so a second
// thread of the helper hashes what the first hands to the kernel. One producer, one consumer, a
// ring of pieces between them.
#pragma once

#include "ckpt/image/block_hasher.hpp"
#include "second_thread.hpp"

namespace ckpt::agent {

class threaded_hasher {
 public:
  /// `thread` is 0 when the thread has ended, however it has.
  threaded_hasher(u64 block_size, std::span<wire::le<u64>> table, int& thread)
      : hasher_(block_size, table), thread_(thread) {}
  threaded_hasher(const threaded_hasher&) = delete;
  threaded_hasher& operator=(const threaded_hasher&) = delete;
  /// A write that fails leaves early; the thread must not outlive the memory it works in.
  ~threaded_hasher() { stop(); }

  /// Without it, or where no thread can be had, add() hashes by itself.
  // Context: helper
  void start() {
    threaded_ = start_second_thread(thread_, &run, this);
  }

  void add(bytes piece) {
    if (!threaded_) return hasher_.add(piece);
    while (produced_ - load(consumed_) == capacity) wait(consumed_, produced_ - capacity);
    ring_[produced_ % capacity] = piece;
    publish(produced_, produced_ + 1);
  }
  void settle() {
    if (!threaded_) return;
    for (u32 seen; (seen = load(consumed_)) != produced_;) wait(consumed_, seen);
  }
  void finish() {
    stop();
    hasher_.finish();
  }
  [[nodiscard]] u64 blocks() const { return hasher_.blocks(); }

 private:
  static constexpr u32 capacity = 1024;

  void stop() {
    if (!threaded_) return;
    settle();
    add({});  // an empty piece ends the thread
    for (int left; (left = __atomic_load_n(&thread_, __ATOMIC_ACQUIRE)) != 0;)
      (void)sys::futex_wait(reinterpret_cast<u32*>(&thread_), static_cast<u32>(left), nullptr);
    threaded_ = false;
  }

  static u32 load(const u32& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
  static void publish(u32& word, u32 value) {
    __atomic_store_n(&word, value, __ATOMIC_RELEASE);
    (void)sys::futex_wake(&word, 1);
  }
  static void wait(const u32& word, u32 seen) { (void)sys::futex_wait(&word, seen, nullptr); }

  static void run(void* self) {
    auto& me = *static_cast<threaded_hasher*>(self);
    for (;;) {
      for (u32 seen; (seen = load(me.produced_)) == me.consumed_;) wait(me.produced_, seen);
      const bytes piece = me.ring_[me.consumed_ % capacity];
      if (piece.empty()) sys::exit(0);
      me.hasher_.add(piece);
      publish(me.consumed_, me.consumed_ + 1);
    }
  }

  image::block_hasher hasher_;
  bool threaded_ = false;
  int& thread_;
  u32 produced_ = 0;
  u32 consumed_ = 0;
  bytes ring_[capacity];
};

}  // namespace ckpt::agent
