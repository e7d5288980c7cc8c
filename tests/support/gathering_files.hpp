// SPDX-License-Identifier: MIT
//
// The kernel for tests of whoever writes an image: faulty_files with writev(2), which may be cut
// in the middle of any of its pieces.
#pragma once

#include <algorithm>
#include <string>

#include "ckpt/image/writer.hpp"
#include "support/faulty_files.hpp"

namespace ckpt::test {

class gathering_files : public faulty_files {
 public:
  [[nodiscard]] int most_pieces() const { return most_pieces_; }

  result<u64> writev(int fd, const sys::abi::iovec* pieces, int n) {
    most_pieces_ = std::max(most_pieces_, n);
    std::string all;
    for (int i = 0; i < n; ++i)
      all.append(reinterpret_cast<const char*>(pieces[i].base), pieces[i].length);
    return write(fd, all.data(), all.size());
  }

 private:
  int most_pieces_ = 0;
};
static_assert(image::gather_kernel<gathering_files>);

}  // namespace ckpt::test
