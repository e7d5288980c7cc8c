// SPDX-License-Identifier: MIT
//
// What the restarter has told, without the restarter: its own memory goes at once, because the
// kernel lets /proc/self/exe point elsewhere only when nothing of the file is mapped any more.
#pragma once

#include <cstring>

#include "ckpt/image/handover.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

class taken_handover {
 public:
  /// `given` lies in the memory that goes. A restarter of an older version tells less.
  // Context: agent, in restored memory
  explicit taken_handover(const image::handover& given) {
    h_.capabilities = ~u64{0};
    std::memcpy(&h_, &given, given.size < sizeof h_ ? given.size : sizeof h_);
    if (h_.name_length > sizeof name_) h_.name_length = sizeof name_;
    std::memcpy(name_, given.name, h_.name_length);
    h_.name = name_;
    const u64 metadata = page_down(reinterpret_cast<u64>(h_.metadata));
    if (metadata <= h_.window.begin || metadata >= h_.window.end ||
        (!h_.keep.empty() && h_.keep.begin < metadata))
      return;
    (void)sys::munmap(h_.window.begin, metadata - h_.window.begin);
    h_.window.begin = metadata;
  }
  taken_handover(const taken_handover&) = delete;
  taken_handover& operator=(const taken_handover&) = delete;

  [[nodiscard]] const image::handover& get() const { return h_; }

 private:
  image::handover h_{};
  char name_[1024];
};

}  // namespace ckpt::agent
