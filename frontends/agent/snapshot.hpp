// SPDX-License-Identifier: MIT
//
// The program as it is at one moment, while it goes on: a fork of its memory, which both share until one
// of them writes. What a fork does not keep apart is copied before it.
// Source: fork(2), madvise(2), proc(5) on VmFlags and MemAvailable.
#pragma once

#include "ckpt/image/metadata_view.hpp"
#include "ckpt/proc/cursor.hpp"
#include "ckpt/state/files/capture.hpp"
#include "environment.hpp"
#include "shared_objects.hpp"

namespace ckpt::agent {

/// What shared objects hold, in the order of the image.
class kept_contents {
 public:
  // Context: helper, all threads frozen
  [[gnu::cold]] result<void> keep(arena& from, bytes metadata, shared_objects& objects) {
    u64 size = 0;
    each_table(metadata, [&](const state::extents&, bytes tail) { size += length_of(tail); });
    if (size == 0) return {};
    if (size > most) return errc::no_memory;
    sink to{CKPT_TRY(from.take(size)), 0};
    room_ = to.room;
    result<void> outcome;
    each_table(metadata, [&](const state::extents& t, bytes tail) {
      if (outcome.ok()) outcome = objects.write(t.object, tail, data_sink(to));
    });
    if (outcome.ok() && to.used != size) return errc::io;
    return outcome;
  }
  /// The next object's.
  [[nodiscard]] bytes next(bytes extents) {
    const u64 length = length_of(extents);
    const bytes piece = bytes(room_).subspan(given_, length);
    given_ += length;
    return piece;
  }

 private:
  /// A program with more of it stands still while it is written: it would be copied while it stands.
  static constexpr u64 most = u64{128} << 20;

  struct sink {
    mutable_bytes room;
    u64 used;
    result<void> put_data(bytes piece) {
      if (piece.size() > room.size() - used) return errc::io;
      std::memcpy(room.data() + used, piece.data(), piece.size());
      used += piece.size();
      return {};
    }
    static result<void> settle() { return {}; }
  };

  static u64 length_of(bytes extents) {
    u64 length = 0;
    for (u64 i = 0; i < extents.size() / sizeof(state::extent); ++i)
      length += image::extent_at(extents, i).length;
    return length;
  }
  template <class Visitor>
  static void each_table(bytes metadata, Visitor&& visit) {
    image::for_each<state::extents>(metadata, [&](const state::extents& t, bytes tail) {
      if (t.object != 0) visit(t, tail);
    });
  }

  mutable_bytes room_;
  u64 given_ = 0;
};

/// Whether a fork shows all of these segments as they are now, and there is memory for the pages that the
/// program writes meanwhile.
// Context: helper, all threads frozen
[[gnu::cold]] inline bool fork_keeps(bytes segments, const state::files_capture& files, u64 data_size) {
  bool keeps = true;
  image::for_each<state::segment>(segments, [&](const state::segment& s, bytes) {
    const auto flags = maps::vm_flags::from_bits(s.vm_flags);
    // Not there, or, when pages for both cannot be had, taken from the copy.
    if (flags.has(maps::vm_flag::dont_copy) || flags.has(maps::vm_flag::huge_tlb)) keeps = false;
    // What the program writes to the file shows in both.
    if (s.kind == state::segment_kind::private_file || s.kind == state::segment_kind::shared_file)
      keeps = keeps && !files.is_open_for_writing(s.inode);
  });
  if (!keeps) return false;
  char text[1024];
  const auto memory = read_text("/proc/meminfo", text);
  const auto kilobytes = memory.ok() ? proc::number_of<u64>(*memory, "MemAvailable") : memory.error();
  return kilobytes.ok() && data_size / 1024 < *kilobytes;
}

/// In the copy: it is the one to go when memory runs out.
// Context: the forked process
[[gnu::cold]] inline void become_snapshot() {
  (void)sys::prctl(sys::abi::pr_set_name, "ckpt-snapshot");
  const sys::unique_fd score(
      sys::openat(sys::abi::at_fdcwd, "/proc/self/oom_score_adj", sys::abi::o_wronly | sys::abi::o_cloexec)
          .value_or(-1));
  sys::linux_files kernel;
  if (score) (void)sys::write_all(kernel, score.get(), bytes_of_text("1000"));
}

}  // namespace ckpt::agent
