// SPDX-License-Identifier: MIT
//
// Opening is where most of what users get wrong shows: a directory, a pipe, a name mistyped.
#include "byte_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "image_error.hpp"

namespace ckpt::tools {

file_source::file_source(const std::string& path) {
  // A pipe without a writer would block the open; what is not a regular file is refused below.
  fd_ = sys::unique_fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd_) throw image_error(text_of(static_cast<errc>(errno)));
  struct ::stat about {};
  if (::fstat(fd_.get(), &about) != 0) throw image_error(text_of(static_cast<errc>(errno)));
  if (S_ISDIR(about.st_mode)) throw image_error("is a directory");
  if (!S_ISREG(about.st_mode)) throw image_error("not a regular file");
  size_ = static_cast<u64>(about.st_size);
}

result<u64> file_source::read(u64 offset, mutable_bytes to) const {
  sys::linux_files kernel;
  return sys::pread_up_to(kernel, fd_.get(), to, offset);
}

result<u64> memory_source::read(u64 offset, mutable_bytes to) const {
  if (offset >= content_.size()) return u64{0};
  const u64 n = std::min<u64>(to.size(), content_.size() - offset);
  std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), n, to.begin());
  return n;
}

}  // namespace ckpt::tools
