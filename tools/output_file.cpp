// SPDX-License-Identifier: MIT
//
// A file without a name (O_TMPFILE) leaves nothing behind, whatever ends the program; where a file
// system has none it is a temporary one beside the final name.
#include "output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "image_error.hpp"

namespace ckpt::tools {

namespace {

constexpr u64 page = 4096;
constexpr std::array<std::byte, 64 * 1024> zeros{};

std::string directory_of(const std::string& name) {
  const auto slash = name.rfind('/');
  if (slash == name.npos) return ".";
  return slash == 0 ? "/" : name.substr(0, slash);
}

bool all_zero(bytes what) {
  return std::ranges::all_of(what, [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

output_file::output_file(const std::string& name) : name_(name), shown_(name) {
  struct ::stat about {};
  if (name_.empty() || name_ == "-") {
    shown_ = "standard output";
    std::cout.flush();
    fd_ = STDOUT_FILENO;
    if (::fstat(fd_, &about) == 0 && S_ISREG(about.st_mode)) {
      const auto at = ::lseek(fd_, 0, SEEK_CUR);
      const int flags = ::fcntl(fd_, F_GETFL);
      // Zeros in the middle of a file that has bytes there already would not be holes.
      seeks_ = at >= 0 && at >= about.st_size && flags >= 0 && (flags & O_APPEND) == 0;
      start_ = at < 0 ? 0 : static_cast<u64>(at);
    }
    return;
  }
  if (::stat(name_.c_str(), &about) == 0 && !S_ISREG(about.st_mode)) {
    if (S_ISDIR(about.st_mode)) fail(EISDIR);
    owned_ = sys::unique_fd(::open(name_.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY));
    if (!owned_) fail(errno);
    fd_ = owned_.get();
    return;
  }
  replaces_ = seeks_ = true;
  const std::string directory = directory_of(name_);
  owned_ = sys::unique_fd(::open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (!owned_) {
    temporary_ = name_ + ".XXXXXX";
    owned_ = sys::unique_fd(::mkostemp(temporary_.data(), O_CLOEXEC));
    if (!owned_) {
      temporary_.clear();
      fail(errno);
    }
  }
  fd_ = owned_.get();
}

output_file::~output_file() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void output_file::write(bytes what) {
  while (!what.empty()) {
    // Whole pages of zeros are holes; anything finer a file system would fill anyway.
    const u64 n = std::min<u64>(what.size(), page - position_ % page);
    const bytes piece = what.first(n);
    if (seeks_ && n == page && all_zero(piece)) {
      position_ += n;
      what = what.subspan(n);
      continue;
    }
    u64 length = n;
    while (length < what.size()) {
      const u64 more = std::min<u64>(page, what.size() - length);
      if (seeks_ && more == page && all_zero(what.subspan(length, more))) break;
      length += more;
    }
    if (written_ < position_) fill(position_ - written_);
    write_through(what.first(length));
    position_ += length;
    what = what.subspan(length);
  }
}

void output_file::skip(u64 count) {
  position_ += count;
  if (!seeks_) fill(count);
}

void output_file::fill(u64 count) {
  if (seeks_) {
    written_ += count;
    if (::lseek(fd_, static_cast<::off_t>(start_ + written_), SEEK_SET) < 0) fail(errno);
    return;
  }
  while (count > 0) {
    const u64 n = std::min<u64>(count, zeros.size());
    write_through(bytes(zeros).first(n));
    count -= n;
  }
}

void output_file::write_through(bytes what) {
  while (!what.empty()) {
    const auto n = ::write(fd_, what.data(), std::min<std::size_t>(what.size(), 1u << 30));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(errno);
    written_ += static_cast<u64>(n);
    what = what.subspan(static_cast<std::size_t>(n));
  }
}

void output_file::finish() {
  if (seeks_ && written_ < position_ &&
      ::ftruncate(fd_, static_cast<::off_t>(start_ + position_)) != 0)
    fail(errno);
  if (!replaces_) return;
  if (temporary_.empty()) {
    // A name for it beside the final one, which it then replaces.
    const std::string own = "/proc/self/fd/" + std::to_string(fd_);
    for (int i = 0; temporary_.empty(); ++i) {
      const std::string candidate =
          name_ + "." + std::to_string(::getpid()) + (i == 0 ? "" : "." + std::to_string(i));
      if (::linkat(AT_FDCWD, own.c_str(), AT_FDCWD, candidate.c_str(), AT_SYMLINK_FOLLOW) == 0)
        temporary_ = candidate;
      else if (errno != EEXIST || i == 100)
        fail(errno);
    }
  }
  if (::rename(temporary_.c_str(), name_.c_str()) != 0) fail(errno);
  temporary_.clear();
}

void output_file::fail(int error) const {
  const std::string why = "cannot write it: " + text_of(static_cast<errc>(error));
  throw named_error(shown_, why);
}

}  // namespace ckpt::tools
