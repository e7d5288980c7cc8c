// SPDX-License-Identifier: MIT
//
// Opening is where most of what users get wrong shows: a directory, a pipe, a name mistyped.
#include "byte_source.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "ckpt/format/header.hpp"
#include "image_error.hpp"
#include "printable.hpp"

namespace ckpt::tools {

namespace {

constexpr u64 piece_size = 64 * 1024;

/// A file without a name, where what comes through a pipe can be read in any order.
sys::unique_fd nameless_file() {
  const char* chosen = std::getenv("TMPDIR");
  // An image may be larger than what /tmp holds, which often is memory.
  const std::string directory = chosen != nullptr && *chosen != 0 ? chosen : "/var/tmp";
  sys::unique_fd fd(::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (fd) return fd;
  std::string name = directory + "/readckpt.XXXXXX";
  fd = sys::unique_fd(::mkostemp(name.data(), O_CLOEXEC));
  if (!fd)
    throw image_error("cannot keep what comes through the pipe in " + printable(directory) + ": " +
                      text_of(static_cast<errc>(errno)));
  ::unlink(name.c_str());
  return fd;
}

/// As much as can be had, up to the end.
u64 read_fully(int fd, mutable_bytes to) {
  u64 done = 0;
  while (done < to.size()) {
    const auto n = ::read(fd, to.data() + done, to.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw image_error(text_of(static_cast<errc>(errno)));
    if (n == 0) break;
    done += static_cast<u64>(n);
  }
  return done;
}

/// Copies an image to a file of its own. What is not one is not copied, and no more than the header
/// says: a pipe need not have an end.
sys::unique_fd copy_of_pipe(int from) {
  sys::unique_fd to = nameless_file();
  std::vector<std::byte> piece(piece_size);
  u64 most = ~u64{0};
  for (u64 done = 0; done < most;) {
    const u64 got = read_fully(from, piece);
    if (done == 0 && got >= format::header_offset + sizeof(format::file_header)) {
      format::file_header h;
      std::memcpy(&h, piece.data() + format::header_offset, sizeof h);
      most = h.signature == format::image_magic ? h.image_size.get() : piece_size;
      if (most < ~u64{0}) ++most;  // one more, to see that it is followed by something
    }
    for (u64 written = 0; written < got;) {
      const auto n = ::pwrite(to.get(), piece.data() + written, got - written,
                              static_cast<::off_t>(done + written));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0)
        throw image_error("cannot keep what comes through the pipe: " +
                          text_of(static_cast<errc>(errno)));
      written += static_cast<u64>(n);
    }
    done += got;
    if (got < piece.size()) break;
  }
  return to;
}

}  // namespace

file_source::file_source(const std::string& path) {
  if (path == "-") {
    if (::isatty(STDIN_FILENO) == 1)
      throw image_error("standard input is a terminal; give an image");
    struct ::stat given {};
    if (::fstat(STDIN_FILENO, &given) != 0) throw image_error(text_of(static_cast<errc>(errno)));
    if (S_ISDIR(given.st_mode)) throw image_error("is a directory");
    fd_ = S_ISREG(given.st_mode)
              ? sys::unique_fd(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3))
              : copy_of_pipe(STDIN_FILENO);
    if (!fd_ || ::fstat(fd_.get(), &given) != 0)
      throw image_error(text_of(static_cast<errc>(errno)));
    size_ = static_cast<u64>(given.st_size);
    return;
  }
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
