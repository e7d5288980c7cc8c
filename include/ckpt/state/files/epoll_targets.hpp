// SPDX-License-Identifier: MIT
//
// Which open file each entry of an epoll watches. The number it was registered under may be
// another file's by now; kcmp(2) tells.
#pragma once

#include "ckpt/base/sort.hpp"
#include "ckpt/state/files/program_files.hpp"

namespace ckpt::state {

/// visit(target, nth, alone) for each line of fdinfo, sorted by number: entries of one number keep
/// their order, by which kcmp(2) tells them apart. `nth` of them, or `alone`. What `room` has not the
/// space for is errc::no_memory.
// Context: helper, all threads frozen
template <class Visitor>
[[gnu::cold]] result<void> each_epoll_target(std::string_view text, mutable_bytes room, Visitor&& visit) {
  u64 count = 0;
  auto* targets = reinterpret_cast<proc::epoll_target*>(room.data());
  const u64 capacity = room.size() / 2 / sizeof(proc::epoll_target);
  CKPT_TRY(proc::for_each_epoll_target(text, [&](const proc::epoll_target& t) -> result<void> {
    if (count == capacity) return errc::no_memory;
    targets[count++] = t;
    return {};
  }));
  merge_sort(std::span(targets, count), std::span(targets + count, count),
             [](const auto& a, const auto& b) { return a.descriptor < b.descriptor; });
  u32 nth = 0;
  for (u64 i = 0; i < count; ++i) {
    const auto& t = targets[i];
    nth = i > 0 && targets[i - 1].descriptor == t.descriptor ? nth + 1 : 0;
    const bool alone = nth == 0 && (i + 1 == count || targets[i + 1].descriptor != t.descriptor);
    CKPT_TRY(visit(t, nth, alone));
  }
  return {};
}

/// The open file that an entry of the epoll on `epoll_fd` watches, for which the kernel walks through
/// the whole epoll.
// Context: helper, all threads frozen
inline result<const seen_descriptor*> find_epoll_target(program_files& files, i32 epoll_fd,
                                                        const proc::epoll_target& t, u32 nth,
                                                        report& why) {
  const auto compare = [&](i32 fd) {
    const sys::abi::kcmp_epoll_slot slot{static_cast<u32>(epoll_fd), static_cast<u32>(t.descriptor),
                                         nth};
    return sys::kcmp(files.tid(), files.tid(), sys::abi::kcmp_epoll_tfd, static_cast<u64>(fd),
                     reinterpret_cast<u64>(&slot));
  };
  const auto find = [&]() -> result<const seen_descriptor*> {
    const seen_descriptor* at_number = files.table().find(t.descriptor);
    if (at_number != nullptr && CKPT_TRY(compare(t.descriptor)) == 0) return at_number;
    return files.table().find_open_file(t.device, t.inode, compare);
  };
  const auto found = find();
  if (!found.ok())
    return why.explain(found.error(), "cannot compare what the epoll on descriptor ", epoll_fd,
                       " watches (kcmp(2) is not permitted or not in this kernel)");
  if (*found == nullptr)
    return why.refuse("the epoll on descriptor ", epoll_fd, " watches a file, registered as ",
                      t.descriptor,
                      ", that the program has closed and another process still "
                      "has; remove it (EPOLL_CTL_DEL) before it is closed");
  return found;
}

}  // namespace ckpt::state
