// SPDX-License-Identifier: MIT
//
// The descriptors of the frozen program, and which of them share an open file or a file. Sorted by
// file and then by the order that kcmp(2) gives open files, so that a hundred thousand of them take
// n log n comparisons.
#pragma once

#include <cstring>

#include "ckpt/base/sort.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/proc/fdinfo.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

struct seen_descriptor {
  i32 fd;
  // Indices of the lowest descriptor with the same open file, and of the lowest of the same file,
  // opened once or twice; of those that are not ignored, if there are.
  u32 first;
  u32 first_same;
  u32 id;
  u32 stdio;
  file_kind kind;
  u8 access;  // on first_same: a bit for each access mode that any descriptor of the file has
  bool locked;
  bool ignored;  // closed after a restart; on `first`, all descriptors of the open file
  bool as_given;  // on `first`: opened by a path that the program has put there
  u32 content;    // on `first`: number of the unnamed file, counted from 1
  u32 wish;       // on `first`: with as_given, which one
  bool packets;  // on first_same: some end of the pipe is in packet mode
  proc::fdinfo info;
  u64 st_dev, st_ino, st_rdev, st_nlink;
  u32 st_mode;
  i64 st_size, modified_ns;
};

[[nodiscard]] inline bool same_file(const seen_descriptor& a, const seen_descriptor& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

class open_files {
 public:
  /// `room` holds it all, and what is left of it can be worked in.
  open_files(int pid, mutable_bytes room) : pid_(pid), room_(room) {}

  [[nodiscard]] std::span<seen_descriptor> all() { return {entries_, count_}; }
  [[nodiscard]] std::span<const seen_descriptor> all() const { return {entries_, count_}; }
  [[nodiscard]] seen_descriptor& at(u32 i) { return entries_[i]; }
  [[nodiscard]] bool is_first(const seen_descriptor& e) const { return &entries_[e.first] == &e; }
  [[nodiscard]] const seen_descriptor& file_of(const seen_descriptor& e) const {
    return entries_[e.first_same];
  }
  /// What is left to work in. What is taken of it stays; nothing when there is not so much.
  [[nodiscard]] mutable_bytes left() const { return room_; }
  [[nodiscard]] mutable_bytes take_left(u64 size) {
    return align_up(size, 16) > room_.size() ? mutable_bytes() : take(size);
  }

  /// Lists /proc/PID/fd, which `directory` is.
  // Context: helper, all threads frozen
  result<void> list(int directory, report& why) {
    constexpr u64 list_size = 8192;
    const auto names = take(list_size);
    entries_ = reinterpret_cast<seen_descriptor*>(room_.data());
    // Two tables of numbers, and something to work in.
    const u64 capacity = room_.size() / 2 / sizeof(seen_descriptor);
    for (;;) {
      const u64 got = CKPT_TRY(sys::getdents64(directory, names.data(), names.size()));
      if (got == 0) break;
      for (u64 at = 0; at < got;) {
        sys::abi::dirent64 d{};
        std::memcpy(&d, names.data() + at, sys::abi::dirent64_name_offset);
        const char* name =
            reinterpret_cast<const char*>(names.data() + at + sys::abi::dirent64_name_offset);
        at += d.d_reclen;
        const auto number = parse_number(name);
        if (!number.ok()) continue;
        if (count_ == capacity)
          return why.refuse("more than ", capacity,
                            " descriptors are open, and there is no memory to look at them");
        entries_[count_] = {};
        entries_[count_++].fd = static_cast<i32>(*number);
      }
    }
    (void)take(count_ * sizeof(seen_descriptor));
    sorted_ = numbers();
    // The kernel lists them in order; the format wants it so.
    for (u32 i = 1; i < count_; ++i)
      if (entries_[i].fd <= entries_[i - 1].fd)
        return why.refuse("the descriptors are not listed in order");
    return {};
  }

  /// dup'ed descriptors share one open file; only kcmp(2) can tell.
  // Context: helper, all threads frozen
  result<void> find_groups(report& why) {
    const mutable_bytes before = room_;
    const auto room = numbers();
    for (u32 i = 0; i < count_; ++i) sorted_[i] = i;
    merge_sort(sorted_, room, [&](u32 a, u32 b) { return order(a, b) < 0; });
    room_ = before;
    for (u32 begin = 0; begin < count_;) {
      u32 end = begin + 1;
      while (end < count_ && same_file(at(sorted_[begin]), at(sorted_[end]))) ++end;
      // One that is ignored speaks for the others only when all are.
      const auto speaks_before = [&](u32 a, u32 b) {
        return at(a).ignored != at(b).ignored ? at(b).ignored : a < b;
      };
      u32 lowest = sorted_[begin];
      for (u32 i = begin; i < end; ++i)
        if (speaks_before(sorted_[i], lowest)) lowest = sorted_[i];
      for (u32 i = begin; i < end; ++i) {
        seen_descriptor& e = at(sorted_[i]);
        e.first_same = lowest;
        at(lowest).access |= static_cast<u8>(1u << (e.info.flags & 3u));
        if ((e.info.flags & u32{sys::abi::o_direct}) != 0) at(lowest).packets = true;
      }
      for (u32 from = begin; from < end;) {  // equal ones stand together
        u32 speaker = sorted_[from];
        u32 to = from + 1;
        for (; to < end && order(sorted_[to - 1], sorted_[to]) == 0; ++to)
          if (speaks_before(sorted_[to], speaker)) speaker = sorted_[to];
        for (; from < to; ++from) at(sorted_[from]).first = speaker;
      }
      begin = end;
    }
    if (error_ != errc::none)
      return why.explain(error_, "cannot compare descriptors ", entries_[failed_[0]].fd, " and ",
                         entries_[failed_[1]].fd,
                         " (kcmp(2) is not permitted or not in this kernel)");
    return {};
  }

  /// The index of descriptor `fd`, or none.
  [[nodiscard]] const seen_descriptor* find(i32 fd) const {
    const u64 i = first_not(all(), [&](const seen_descriptor& e) { return e.fd < fd; });
    return i < count_ && entries_[i].fd == fd ? &entries_[i] : nullptr;
  }
  /// A descriptor of the file with this number, or none.
  [[nodiscard]] const seen_descriptor* find_file(u64 device, u64 inode) const {
    const auto [begin, end] = range_of(device, inode);
    return begin < end ? &entries_[entries_[sorted_[begin]].first_same] : nullptr;
  }
  /// Among the open files of one file, the one that compare(fd) puts neither before nor after: 1
  /// says that fd comes before what is sought, 2 after, as kcmp(2) does.
  template <class Compare>
  [[nodiscard]] result<const seen_descriptor*> find_open_file(u64 device, u64 inode,
                                                              Compare&& compare) const {
    auto [begin, end] = range_of(device, inode);
    while (begin < end) {
      const u64 middle = begin + (end - begin) / 2;
      const seen_descriptor& e = entries_[sorted_[middle]];
      const int order = CKPT_TRY(compare(e.fd));
      if (order == 0) return &entries_[e.first];
      if (order == 1)
        begin = middle + 1;
      else
        end = middle;
    }
    return static_cast<const seen_descriptor*>(nullptr);
  }

 private:
  mutable_bytes take(u64 size) {
    size = align_up(size, 16);
    const mutable_bytes taken = room_.first(size);
    room_ = room_.subspan(size);
    return taken;
  }
  std::span<u32> numbers() {
    return {reinterpret_cast<u32*>(take(u64{count_} * sizeof(u32)).data()), count_};
  }

  /// Before, same or after. Nothing is asked of the kernel where the files differ.
  int order(u32 a, u32 b) {
    const seen_descriptor& x = entries_[a];
    const seen_descriptor& y = entries_[b];
    if (x.st_dev != y.st_dev) return x.st_dev < y.st_dev ? -1 : 1;
    if (x.st_ino != y.st_ino) return x.st_ino < y.st_ino ? -1 : 1;
    const auto compared =
        sys::kcmp(pid_, pid_, sys::abi::kcmp_file, static_cast<u64>(x.fd), static_cast<u64>(y.fd));
    if (!compared.ok() && error_ == errc::none) {
      error_ = compared.error();
      failed_[0] = a;
      failed_[1] = b;
    }
    const int outcome = compared.value_or(0);
    return outcome == 1 ? -1 : outcome == 2 ? 1 : 0;
  }
  struct span_of_sorted {
    u64 begin, end;
  };
  [[nodiscard]] span_of_sorted range_of(u64 device, u64 inode) const {
    const auto before = [&](u64 beyond) {
      return first_not(std::span<const u32>(sorted_), [&](u32 i) {
        const seen_descriptor& e = entries_[i];
        return e.st_dev != device ? e.st_dev < device : e.st_ino < inode + beyond;
      });
    };
    return {before(0), before(1)};
  }

  int pid_;
  mutable_bytes room_;
  seen_descriptor* entries_ = nullptr;
  u32 count_ = 0;
  std::span<u32> sorted_;
  errc error_ = errc::none;
  u32 failed_[2] = {};
};

}  // namespace ckpt::state
