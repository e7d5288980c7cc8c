// SPDX-License-Identifier: MIT
#include "send.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <vector>

#include "command.hpp"
#include "fallback.hpp"
#include "report.hpp"
#include "sender.hpp"
#include "spool.hpp"
#include "stream_check.hpp"

namespace ckpt::transfer {
namespace {

constexpr std::size_t piece_size = 256 * 1024;
constexpr int pipe_size = 1 << 20;

/// A stream from a descriptor to its end, verified while it passes.
void read_image(int from, const std::string& what, stream_check& check, const sink& out) {
  std::vector<std::byte> room(piece_size);
  for (;;) {
    const ssize_t n = read(from, room.data(), room.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw transfer_error("cannot read " + what + ": " + std::strerror(errno));
    if (n == 0) break;
    const bytes piece(room.data(), static_cast<std::size_t>(n));
    if (!check.add(piece)) throw transfer_error(what + " is no whole image: " + check.why());
    if (!out(piece)) throw transfer_error("nobody takes " + what);
  }
  if (!check.finish()) throw transfer_error(what + " is no whole image: " + check.why());
}

unsigned threads_for(const compression& c) {
  return c.how == encoding::zstd ? std::max(1u, std::min(4u, std::thread::hardware_concurrency())) : 0;
}

/// An image into a sink, compressed as wanted.
void pack(int from, const std::string& what, const compression& how, stream_check& check, const sink& out) {
  const auto packer = make_encoder(how, threads_for(how));
  read_image(from, what, check, [&](bytes piece) { return packer->add(piece, out); });
  if (!packer->finish(out)) throw transfer_error(packer->why());
}

int open_input(const std::string& file) {
  if (file == "-") return 0;
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw transfer_error("cannot open " + shown(file) + ": " + std::strerror(errno));
  return fd;
}

void feed(command& sinks, int spool) {
  std::vector<std::byte> room(piece_size);
  for (off_t at = 0;;) {
    const ssize_t n = pread(spool, room.data(), room.size(), at);
    if (n < 0) throw transfer_error("cannot read back what is to be sent: " + std::string(std::strerror(errno)));
    if (n == 0) break;
    at += n;
    sinks.feed({room.data(), static_cast<std::size_t>(n)});
  }
  sinks.finish();
}
/// Straight from where it comes.
void give(const url& to, int from, const std::string& what, const compression& how) {
  command sinks(to.name, true);
  stream_check check;
  pack(from, what, how, check, [&](bytes piece) {
    sinks.feed(piece);
    return true;
  });
  sinks.finish();
}

}  // namespace

void send_image(const url& to, const std::string& shown_to, const std::string& file, const settings& s,
                const std::function<void()>& received) {
  const int from = open_input(file);
  const std::string what = file == "-" ? "what comes" : shown(file);
  const bool to_command = to.scheme == url::scheme_kind::exec;
  // Whoever waits for the command anyway needs no room for a second image.
  if (to_command && !s.later && s.fallback.empty()) return give(to, from, what, s.compress);
  struct stat st{};
  // A file can be read twice as it is.
  const bool is_file = s.compress.how == encoding::identity && fstat(from, &st) == 0 && S_ISREG(st.st_mode) &&
                       lseek(from, 0, SEEK_CUR) == 0;
  const auto spool =
      std::make_shared<growing_file>(is_file ? sys::unique_fd(fcntl(from, F_DUPFD_CLOEXEC, 3)) : open_spool(false));
  // A command takes an end for the end: it gets nothing before all is known to be whole.
  std::optional<sender> on_its_way;
  // A bar is for whoever waits; a program that goes on has the terminal for itself.
  if (!to_command) on_its_way.emplace(to, spool, s.compress.how, s.client, s.quiet || s.later);
  // Fewer turns of whoever writes and us; where that is not allowed, it is as it was.
  if (!is_file) (void)fcntl(from, F_SETPIPE_SZ, pipe_size);
  stream_check check;
  pack(from, what, s.compress, check, [&](bytes piece) {
    if (!is_file) write_all(spool->descriptor(), piece);
    if (s.compress.how == encoding::identity) spool->expect(check.size());
    spool->grow(piece.size());
    if (on_its_way && on_its_way->is_over() && s.fallback.empty()) on_its_way->wait();
    return true;
  });
  spool->finish();
  received();
  try {
    if (to_command) {
      command sinks(to.name, true);
      feed(sinks, spool->descriptor());
    } else {
      on_its_way->wait();
    }
  } catch (const transfer_error& error) {
    if (s.fallback.empty()) throw;
    std::string kept;
    try {
      kept = keep_locally(spool->descriptor(), s.compress.how, to_command ? std::string_view() : to.name, s.fallback);
    } catch (const transfer_error& second) {
      throw transfer_error(std::string(error.what()) + "; and " + second.what());
    }
    say("cannot send the image to " + shown_to + ": " + error.what() + "; it is kept in " + shown(kept));
  }
}

}  // namespace ckpt::transfer
