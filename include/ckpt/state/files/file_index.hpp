// SPDX-License-Identifier: MIT
//
// Who belongs to whom among the records of descriptors, in memory of its own for the time of a
// restore: found by number, whatever their count.
#pragma once

#include <cstring>

#include "ckpt/base/sort.hpp"
#include "ckpt/format/walk.hpp"
#include "ckpt/state/files/epoll.hpp"
#include "ckpt/state/files/event_files.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/state/files/sockets.hpp"

namespace ckpt::state {

struct saved_pipe {
  u64 inode;
  u64 offset;  // of its record in the metadata
  u32 first_end, last_end;
};

class file_index {
 public:
  static constexpr u64 none = ~u64{0};
  static constexpr u32 no_file = 0xffffffff;

  file_index() = default;
  file_index(const file_index&) = delete;
  ~file_index() { release(); }
  /// Whoever returns to the program runs no destructor.
  // Context: agent, in restored memory
  void release() {
    if (!room_.empty()) (void)sys::munmap(reinterpret_cast<u64>(room_.data()), room_.size());
    room_ = {}, files_ = {}, nodes_ = {}, pipes_ = {};
  }

  /// `metadata` has been validated: ids count from 0 and numbers ascend.
  // Context: agent, in restored memory
  result<void> build(bytes metadata) {
    u64 files = 0;
    u64 descriptors = 0;
    u64 pipes = 0;
    format::for_each<open_file>(metadata, [&](const open_file&, bytes) { ++files; });
    format::for_each<descriptor>(metadata, [&](const descriptor&, bytes) { ++descriptors; });
    format::for_each<pipe_content>(metadata, [&](const pipe_content&, bytes) { ++pipes; });
    const u64 size = page_up(files * sizeof(file) + descriptors * sizeof(node) +
                             2 * pipes * sizeof(saved_pipe) + page_size);
    const u64 at = CKPT_TRY(sys::mmap(0, size, sys::abi::prot_read | sys::abi::prot_write,
                                      sys::abi::map_private | sys::abi::map_anonymous, -1, 0));
    room_ = {reinterpret_cast<std::byte*>(at), size};
    u64 used = 0;
    const auto carve = [&]<class T>(std::span<T>& to, u64 count) {
      to = {reinterpret_cast<T*>(room_.data() + used), count};
      used = align_up(used + count * sizeof(T), 16);
    };
    std::span<saved_pipe> spare;
    carve(files_, files);
    carve(nodes_, descriptors);
    carve(pipes_, pipes);
    carve(spare, pipes);
    for (file& f : files_) f = {no_node, no_node, no_file, false, none, none};
    u64 file_count = 0;
    u64 node_count = 0;
    u64 pipe_count = 0;
    format::record_cursor cursor(metadata);
    for (u64 offset = 0; !cursor.done(); offset = metadata.size() - cursor.left()) {
      const auto view = cursor.next();
      if (!view.ok()) return view.error();
      switch (view->type) {
        case format::record_type::open_file:
          files_[file_count++].offset = offset;
          break;
        case format::record_type::descriptor:
          add(static_cast<u32>(node_count++), *wire::decode<descriptor>(view->fixed));
          break;
        case format::record_type::pipe_content:
          pipes_[pipe_count++] = {wire::decode<pipe_content>(view->fixed)->inode, offset, no_file,
                                  no_file};
          break;
        case format::record_type::event_counter:
          note<event_counter>(*view, offset);
          break;
        case format::record_type::timer_file:
          note<timer_file>(*view, offset);
          break;
        case format::record_type::signal_file:
          note<signal_file>(*view, offset);
          break;
        case format::record_type::epoll:
          note<epoll>(*view, offset);
          break;
        case format::record_type::socket_end:
          note<socket_end>(*view, offset);
          break;
        default:
          break;
      }
    }
    merge_sort(pipes_, spare,
               [](const saved_pipe& a, const saved_pipe& b) { return a.inode < b.inode; });
    format::for_each<open_file>(metadata, [&](const open_file& f, bytes) {
      if (f.kind == file_kind::pipe) join(f);
    });
    return {};
  }

  /// Calls visit(descriptor) for those of one open file, in ascending order.
  template <class Visitor>
  void each_descriptor(u32 id, Visitor&& visit) const {
    if (id >= files_.size()) return;
    for (u32 i = files_[id].first; i != no_node; i = nodes_[i].next) visit(nodes_[i].saved);
  }
  [[nodiscard]] const descriptor* find(i32 number) const {
    const u64 i = first_not(nodes_, [&](const node& n) { return n.saved.number < number; });
    return i < nodes_.size() && nodes_[i].saved.number == number ? &nodes_[i].saved : nullptr;
  }
  /// Beyond the last number that the program uses.
  [[nodiscard]] i32 end_of_numbers() const {
    return nodes_.empty() ? 0 : nodes_.back().saved.number + 1;
  }
  /// The first number from here on that the program does not use.
  [[nodiscard]] i32 next_free(i32 number) const {
    u64 i = first_not(nodes_, [&](const node& n) { return n.saved.number < number; });
    for (; i < nodes_.size() && nodes_[i].saved.number == number; ++i) ++number;
    return number;
  }

  /// Where in the metadata the record of an open file's own kind is.
  [[nodiscard]] u64 object(u32 id) const { return id < files_.size() ? files_[id].object : none; }
  /// Where in the metadata its open_file is.
  [[nodiscard]] u64 offset(u32 id) const { return files_[id].offset; }
  /// The ends of one pipe, from its first_end on, until no_file.
  [[nodiscard]] u32 next_end(u32 id) const { return files_[id].next_end; }
  [[nodiscard]] bool is_placed(u32 id) const { return files_[id].placed; }
  void set_placed(u32 id) { files_[id].placed = true; }

  [[nodiscard]] const saved_pipe* find_pipe(u64 inode) const {
    const u64 i = place_of(inode);
    return i < pipes_.size() && pipes_[i].inode == inode ? &pipes_[i] : nullptr;
  }

 private:
  static constexpr u32 no_node = 0xffffffff;
  struct file {
    u32 first, last;  // nodes
    u32 next_end;
    bool placed;
    u64 object, offset;
  };
  struct node {
    descriptor saved;
    u32 next;
  };

  void add(u32 i, const descriptor& d) {
    nodes_[i] = {d, no_node};
    file& f = files_[d.open_file];
    (f.first == no_node ? f.first : nodes_[f.last].next) = i;
    f.last = i;
  }
  void join(const open_file& f) {
    const u64 i = place_of(f.inode);
    if (i == pipes_.size() || pipes_[i].inode != f.inode) return;
    saved_pipe& pipe = pipes_[i];
    (pipe.first_end == no_file ? pipe.first_end : files_[pipe.last_end].next_end) = f.id;
    pipe.last_end = f.id;
  }
  [[nodiscard]] u64 place_of(u64 inode) const {
    return first_not(pipes_, [&](const saved_pipe& p) { return p.inode < inode; });
  }
  template <class Record>
  void note(const format::record_view& view, u64 offset) {
    const auto record = wire::decode<Record>(view.fixed);
    if (record.ok() && record->open_file < files_.size()) files_[record->open_file].object = offset;
  }

  mutable_bytes room_;
  std::span<file> files_;
  std::span<node> nodes_;
  std::span<saved_pipe> pipes_;
};

}  // namespace ckpt::state
