// SPDX-License-Identifier: MIT
#include "fallback.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "ckpt/image/owner.hpp"
#include "report.hpp"
#include "spool.hpp"
#include "wire_connection.hpp"

namespace ckpt::transfer {
namespace {

constexpr std::size_t piece_size = 256 * 1024;

/// Whether the file is an image of a process that lives and is not the one whose image is in `mine`.
bool belongs_to_another(const std::string& path, int mine, pid_t& writer) {
  format::file_header h{};
  if (pread(mine, &h, sizeof h, format::header_offset) != static_cast<ssize_t>(sizeof h)) return false;
  const auto who = image::writer_of(h);
  writer = who.pid;
  return image::belongs_to_another(path.c_str(), {}, who, who.pid).value_or(true);
}

}  // namespace

std::string keep_locally(int spool, encoding how, std::string_view name, const std::string& directory) {
  std::string base(name);
  if (const auto slash = base.rfind('/'); slash != std::string::npos) base.erase(0, slash + 1);
  if (base.empty() || base == "." || base == ".." || base.find(' ') != std::string::npos) base = "program.ckpt";
  std::string path = directory + "/" + base;
  const std::string temporary = directory + "/." + base + "." + std::to_string(getpid()) + ".ckpt-partial";
  sys::unique_fd fd(open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700));
  if (!fd) throw transfer_error("cannot create " + shown(temporary) + ": " + std::strerror(errno));
  try {
    const auto unpack = make_decoder(how);
    std::vector<std::byte> room(piece_size), plain(piece_size);
    for (off_t at = 0;;) {
      const ssize_t n = pread(spool, room.data(), room.size(), at);
      if (n < 0) throw transfer_error(std::strerror(errno));
      if (n == 0) break;
      at += n;
      if (!unpack->add({room.data(), static_cast<std::size_t>(n)}, plain, [&](bytes piece) {
            write_all(fd.get(), piece);
            return true;
          }))
        throw transfer_error(unpack->why());
    }
    if (fdatasync(fd.get()) != 0) throw transfer_error(std::strerror(errno));
    if (pid_t writer = 0; belongs_to_another(path, fd.get(), writer)) path += "." + std::to_string(writer);
    fd.reset();
    if (rename(temporary.c_str(), path.c_str()) != 0) throw transfer_error(std::strerror(errno));
  } catch (const transfer_error& error) {
    unlink(temporary.c_str());
    throw transfer_error("cannot keep it in " + shown(path) + ": " + error.what());
  }
  const sys::unique_fd held(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (held) fsync(held.get());
  return path;
}

}  // namespace ckpt::transfer
