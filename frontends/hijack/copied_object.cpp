// SPDX-License-Identifier: MIT
#include "copied_object.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "ckpt/sys/file.hpp"
#include "other_process.hpp"

namespace ckpt::hijack {
namespace {

constexpr int private_copy = MAP_PRIVATE | MAP_ANONYMOUS;

/// Code, too, which the thread itself cannot write.
result<void> write_anywhere(const tracee& t, u64 to, bytes from) {
  const sys::unique_fd memory(open(proc(t.tid(), "mem").c_str(), O_RDWR | O_CLOEXEC));
  if (memory && pwrite(memory.get(), from.data(), from.size(), static_cast<off_t>(to)) ==
                    static_cast<ssize_t>(from.size()))
    return {};
  for (u64 i = 0; i < from.size(); i += sizeof(u64)) {
    u64 word = 0;
    std::memcpy(&word, from.data() + i, sizeof word);
    CKPT_TRY(t.poke(remote_ptr<u64>(to + i), word));
  }
  return {};
}

}  // namespace

copied_object::copied_object(const shared_object& object) : object_(object) {
  const range relro = object.read_only_after_relocation();
  u64 end = 0;
  for (const auto& s : object.segments()) {
    end = std::max(end, page_up(s.file_end));
    range rest = s.memory;
    if (!relro.empty() && relro.begin == rest.begin) rest.begin = std::min(relro.end, rest.end);
    if (s.protection != PROT_READ && !rest.empty()) runs_.push_back({rest, s.protection});
  }
  bytes_.resize(end);
  for (const auto& s : object.segments())
    object.relocated(s, 0, s.memory.begin,
                     std::span(bytes_).subspan(s.memory.begin, page_up(s.file_end) - s.memory.begin));
}

result<void> copied_object::fill(tracee& t, remote_caller& caller, u64 base, u64 extra) {
  for (const run& r : runs_) {
    // What is behind the last one may be written as well.
    const bool last = r.memory.end == length() && r.protection == (PROT_READ | PROT_WRITE);
    CKPT_TRY(caller.system_call(SYS_mmap, base + r.memory.begin, r.memory.length() + (last ? extra : 0),
                                r.protection, private_copy | MAP_FIXED, -1, 0));
    if (last) extra = 0;
  }
  if (extra != 0)
    CKPT_TRY(caller.system_call(SYS_mmap, base + length(), extra, PROT_READ | PROT_WRITE,
                                private_copy | MAP_FIXED, -1, 0));
  for (const auto& s : object_.segments())
    if ((s.protection & PROT_WRITE) != 0)
      object_.relocated(s, base, s.memory.begin,
                        std::span(bytes_).subspan(s.memory.begin, page_up(s.file_end) - s.memory.begin));
  return write_anywhere(t, base, bytes_);
}

result<u64> copied_object::map(tracee& t, remote_caller& caller, u64 extra) {
  const u64 base =
      CKPT_TRY(caller.system_call(SYS_mmap, 0, length() + extra, PROT_READ, private_copy, -1, 0));
  const auto filled = fill(t, caller, base, extra);
  if (filled.ok()) return base;
  (void)caller.system_call(SYS_munmap, base, length() + extra);
  return filled.error();
}

}  // namespace ckpt::hijack
