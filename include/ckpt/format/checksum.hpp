// SPDX-License-Identifier: MIT
//
// The checksum of every part of an image: XXH3 with 64 bits and seed 0, from xxHash's header
// (github.com/Cyan4973/xxHash, packaged as libxxhash-dev), inlined so that nothing is linked.
// It finds damage; it does not prove who wrote the image.
#pragma once

#include "ckpt/base/types.hpp"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wunknown-warning-option"
#pragma GCC diagnostic ignored "-Wpedantic"
#define XXH_INLINE_ALL
#include <xxhash.h>
#pragma GCC diagnostic pop

namespace ckpt::format {

[[nodiscard]] inline u64 checksum(bytes data) { return XXH3_64bits(data.data(), data.size()); }

}  // namespace ckpt::format
