// SPDX-License-Identifier: MIT
//
// What the kernel remembers of a program's layout beside the mappings: where the heap ends and may
// grow (brk), where arguments, environment and auxiliary vector are (so that ps shows them).
// Source: prctl(2) PR_SET_MM_MAP, proc(5) fields 26–28 and 45–51 of stat.
#pragma once

#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

struct memory_layout {
  static constexpr auto record = format::record_type::memory_layout;
  wire::le<u64> start_code, end_code, start_data, end_data, start_brk, brk, start_stack, arg_start,
      arg_end, env_start, env_end;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::memory_layout, start_code, end_code, start_data, end_data,
                        start_brk, brk, start_stack, arg_start, arg_end, env_start, env_end);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::memory_layout> = description<11>{
    "memory_layout",
    "Addresses as PR_SET_MM_MAP takes them.",
    {"first byte of the program's text", "end of it", "first byte of its data", "end of it",
     "where the heap begins", "where the heap ends", "bottom of the main stack",
     "first byte of the arguments", "end of them", "first byte of the environment", "end of it"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<memory_layout, 88>());

/// An unprivileged PR_SET_MM_MAP without an exe_fd; needs CONFIG_CHECKPOINT_RESTORE. Without it
/// the heap cannot grow by brk (allocators then use mmap) and ps shows the image's name.
/// Must come before resource limits: it refuses when RLIMIT_DATA is already below the heap.
/// `program` is what /proc/self/exe is to point to, where the caller may change that
/// (CAP_CHECKPOINT_RESTORE) and nothing of the file it points to now is mapped.
// Context: agent, in restored memory
inline result<void> restore_memory_layout(const memory_layout& m, bytes auxiliary_vector,
                                          const char* program = nullptr) {
  sys::abi::prctl_mm_map map{};
  map.start_code = m.start_code;
  map.end_code = m.end_code;
  map.start_data = m.start_data;
  map.end_data = m.end_data;
  map.start_brk = m.start_brk;
  map.brk = m.brk;
  map.start_stack = m.start_stack;
  map.arg_start = m.arg_start;
  map.arg_end = m.arg_end;
  map.env_start = m.env_start;
  map.env_end = m.env_end;
  map.auxv = reinterpret_cast<u64>(auxiliary_vector.data());
  map.auxv_size = static_cast<u32>(auxiliary_vector.size());
  if (program != nullptr) {
    const sys::unique_fd fd(
        sys::openat(sys::abi::at_fdcwd, program,
                    sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock)
            .value_or(-1));
    map.exe_fd = static_cast<u32>(fd.get());
    if (fd && sys::prctl(sys::abi::pr_set_mm, sys::abi::pr_set_mm_map, &map, sizeof map, 0).ok())
      return {};
  }
  map.exe_fd = ~u32{0};
  if (auto r = sys::prctl(sys::abi::pr_set_mm, sys::abi::pr_set_mm_map, &map, sizeof map, 0);
      !r.ok())
    return r.error();
  return {};
}

}  // namespace ckpt::state
