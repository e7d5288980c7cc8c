// SPDX-License-Identifier: MIT
//
// What an image is called until it is whole.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/checksum.hpp"

namespace ckpt::image {

/// DIR/.BASE.ckpt-partial; a base that would grow too long is replaced by its checksum.
// Context: any, no libc
template <class Text>
void append_temporary_name(Text& out, std::string_view whole) {
  const auto slash = whole.rfind('/');
  const auto directory = slash == std::string_view::npos ? std::string_view() : whole.substr(0, slash + 1);
  const auto base = whole.substr(directory.size());
  out.append(directory).append('.');
  // Some file systems take 143 characters and no more.
  if (base.size() > 120)
    out.append(hex{format::checksum(bytes_of_text(base))});
  else
    out.append(base);
  out.append(".ckpt-partial");
}

}  // namespace ckpt::image
