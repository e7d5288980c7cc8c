// SPDX-License-Identifier: MIT
#include "spool.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "wire_connection.hpp"

namespace ckpt::transfer {

sys::unique_fd open_spool(bool runs) {
  const char* chosen = std::getenv("TMPDIR");
  for (const char* directory : {chosen, "/var/tmp", "/tmp"}) {
    if (directory == nullptr || *directory != '/') continue;
    struct statvfs st{};
    if (runs && (statvfs(directory, &st) != 0 || (st.f_flag & ST_NOEXEC) != 0)) continue;
    sys::unique_fd fd(open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0700));
    if (fd) return fd;
  }
  sys::unique_fd fd(memfd_create("ckpt-transfer", MFD_CLOEXEC));
  if (!fd) throw transfer_error("no place for a temporary file (TMPDIR): " + std::string(std::strerror(errno)));
  return fd;
}

void write_all(int fd, bytes piece) {
  while (!piece.empty()) {
    const ssize_t n = write(fd, piece.data(), piece.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw transfer_error("cannot write: " + std::string(std::strerror(errno)));
    piece = piece.subspan(static_cast<std::size_t>(n));
  }
}

}  // namespace ckpt::transfer
