// SPDX-License-Identifier: MIT
//
// The image: found, opened, and read up to its metadata.
#pragma once

#include "ckpt/image/window.hpp"
#include "ckpt/options/name_pattern.hpp"
#include "work.hpp"

namespace ckpt::restart {
namespace {

void open_image(const char* path) {
  int fd = 0;
  if (std::string_view(path) != "-") {
    const auto opened =
        sys::openat(sys::abi::at_fdcwd, path, sys::abi::o_rdonly | sys::abi::o_cloexec);
    if (!opened.ok()) require(opened.error(), "cannot open the image");
    fd = *opened;
  }
  // Out of the way of 0, 1 and 2, which the program will want as they are now.
  const auto moved = sys::fcntl(fd, sys::abi::f_dupfd_cloexec, 3);
  if (!moved.ok()) require(moved.error(), "cannot open the image");
  if (fd > 2) (void)sys::close(fd);
  global.stream = image_stream(static_cast<int>(*moved));
}

/// An image that is no file: ckpt-transfer, beside this command, fetches and verifies it and becomes it.
void fetch_elsewhere(const char* name) {
  const std::string_view text(name);
  if (!options::goes_elsewhere(text)) return;
  fixed_text<4200> path;
  char link[4096];
  const auto size = sys::readlinkat(sys::abi::at_fdcwd, "/proc/self/exe", link, sizeof link);
  std::string_view self(link, size.value_or(0));
  path.append(self.substr(0, self.rfind('/') + 1)).append("ckpt-transfer");
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &global.signal_mask, nullptr);
  require(sys::execve(path.c_str(), global.argv, global.envp), "cannot start ckpt-transfer, which fetches it");
}

/// Reads up to the metadata, checking the header and the bytes of the restarter around it.
void read_head() {
  auto& stream = global.stream;
  XXH3_state_t hash;
  XXH3_64bits_reset(&hash);
  std::byte head[format::header_offset];
  auto outcome = stream.read(head);
  if (outcome.ok()) {
    XXH3_64bits_update(&hash, head, sizeof head);
    outcome = stream.read(std::as_writable_bytes(std::span(&global.header, 1)));
  }
  if (!outcome.ok()) {
    (void)(outcome.error() == errc::end_of_input
               ? global.why.refuse("not a ckpt image (too short)")
               : global.why.explain(outcome.error(), "cannot read the image"));
    fail();
  }
  sys::abi::stat st{};
  u64 size = global.header.image_size;
  if (sys::fstat(stream.fd(), st).ok() && (st.st_mode & sys::abi::s_ifmt) == sys::abi::s_ifreg) {
    size = static_cast<u64>(st.st_size);
    global.restart_again_possible = true;
  }
  if (!image::validate_header(global.header, size, global.why).ok()) fail();
  while (stream.position() < global.header.metadata_offset) {
    std::byte piece[4096];
    const u64 left = global.header.metadata_offset - stream.position();
    const mutable_bytes part(piece, left < sizeof piece ? left : sizeof piece);
    require(stream.read(part), "cannot read the image");
    XXH3_64bits_update(&hash, part.data(), part.size());
  }
  if (XXH3_64bits_digest(&hash) != global.header.restarter_checksum) {
    (void)global.why.refuse("the restarter in the image is damaged (checksum mismatch)");
    fail();
  }
}

}  // namespace
}  // namespace ckpt::restart
