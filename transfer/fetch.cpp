// SPDX-License-Identifier: MIT
#include "fetch.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <functional>
#include <vector>

#include "command.hpp"
#include "progress_bar.hpp"
#include "report.hpp"
#include "spool.hpp"
#include "stream_check.hpp"

namespace ckpt::transfer {
namespace {

constexpr std::size_t piece_size = 256 * 1024;

/// What says that no more is wanted.
struct enough {};

void fetch(const url& from, const settings& s, const std::function<void(bytes)>& out, bool only_head = false) {
  stream_check check;
  const auto take = [&](bytes piece) {
    if (!check.add(piece)) throw damaged_error("it is no whole image: " + check.why());
    out(piece);
    if (only_head && check.has_metadata()) throw enough();
    return true;
  };
  progress_bar bar(s.quiet);
  if (from.scheme == url::scheme_kind::exec) {
    command source(from.name, false);
    std::vector<std::byte> room(piece_size);
    for (;;) {
      const ssize_t n = read(source.end(), room.data(), room.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      take({room.data(), static_cast<std::size_t>(n)});
    }
    source.finish();
  } else {
    get(from, s.client, take, bar.teller());
  }
  if (!check.finish()) throw damaged_error("it is no whole image: " + check.why());
}

sys::unique_fd fetch_to_spool(const url& from, const settings& s, bool only_head) {
  auto spool = open_spool(true);
  try {
    fetch(from, s, [&](bytes piece) { write_all(spool.get(), piece); }, only_head);
  } catch (const enough&) {
  }
  if (fchmod(spool.get(), 0700) != 0) throw transfer_error(std::strerror(errno));
  const std::string path = "/proc/self/fd/" + std::to_string(spool.get());
  sys::unique_fd image(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!image) throw transfer_error("cannot open what was fetched: " + std::string(std::strerror(errno)));
  return image;
}

}  // namespace

sys::unique_fd fetch_to_run(const url& from, const settings& s) { return fetch_to_spool(from, s, false); }

void fetch_to_file(const url& from, const std::string& file, const settings& s) {
  if (file == "-") return fetch(from, s, [](bytes piece) { write_all(1, piece); });
  const std::string temporary = file + ".ckpt-partial";
  const sys::unique_fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700));
  if (!fd) throw transfer_error("cannot create " + shown(temporary) + ": " + std::strerror(errno));
  try {
    fetch(from, s, [&](bytes piece) { write_all(fd.get(), piece); });
    if (fdatasync(fd.get()) != 0 || rename(temporary.c_str(), file.c_str()) != 0)
      throw transfer_error("cannot create " + shown(file) + ": " + std::strerror(errno));
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
}

void fetch_and_hold(const url& from, const settings& s) {
  const auto image = fetch_to_spool(from, s, s.only_head);
  char self[32] = {};
  if (readlink("/proc/self", self, sizeof self - 1) <= 0) throw transfer_error("/proc is not mounted");
  tell_agent(s.status_fd, 'D', "/proc/" + std::string(self) + "/fd/" + std::to_string(image.get()));
  for (char end = 0;;) {
    const ssize_t n = read(0, &end, 1);
    if (n == 0 || (n < 0 && errno != EINTR)) return;
  }
}

}  // namespace ckpt::transfer
