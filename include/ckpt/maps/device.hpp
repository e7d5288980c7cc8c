// SPDX-License-Identifier: MIT
//
// Device numbers as text and as stat(2) has them: /proc writes fe:00, st_dev is 0xfe00.
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt::maps {

/// st_dev from its two parts, as makedev(3) does it.
[[nodiscard]] constexpr u64 device_number(u64 major, u64 minor) {
  return (major & 0xfff) << 8 | (major & 0xfffff000) << 32 | (minor & 0xff) |
         (minor & 0xffffff00) << 12;
}

}  // namespace ckpt::maps
