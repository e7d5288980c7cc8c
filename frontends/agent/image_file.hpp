// SPDX-License-Identifier: MIT
//
// An image under its name only when it is whole: written under a temporary name beside it, synced,
// renamed, the directory synced. A temporary file that a dead writer left is swept by the next.
#pragma once

#include "ckpt/format/checksum.hpp"
#include "session.hpp"

namespace ckpt::agent {

/// DIR/.BASE.ckpt-partial; a base that would grow too long is replaced by its checksum.
// Context: triggering thread
inline void name_temporary(session& s) {
  const auto whole = s.final_name.view();
  const auto slash = whole.rfind('/');
  const auto directory = slash == std::string_view::npos ? std::string_view() : whole.substr(0, slash + 1);
  const auto base = whole.substr(directory.size());
  s.temporary_name.clear();
  s.temporary_name.append(directory).append('.');
  if (base.size() > 200)
    s.temporary_name.append(hex{format::checksum(bytes_of_text(base))});
  else
    s.temporary_name.append(base);
  s.temporary_name.append(".ckpt-partial");
}

// Context: helper, or the triggering thread when the helper is dead
inline void remove_temporary(session& s) {
  if (s.temporary_exists)
    (void)sys::unlinkat(sys::abi::at_fdcwd, s.temporary_name.c_str(), 0);
  s.temporary_exists = false;
}

/// The lock says that somebody is writing: it dies with its holder, so a file that can be locked
/// was left by a dead one.
// Context: helper
inline result<int> create_temporary(session& s) {
  constexpr int flags = sys::abi::o_wronly | sys::abi::o_creat | sys::abi::o_excl |
                        sys::abi::o_nofollow | sys::abi::o_cloexec;
  const char* name = s.temporary_name.c_str();
  const auto refuse = [&](errc error) {
    return s.why.explain(error, "cannot create ", quoted{s.temporary_name.view()});
  };
  auto made = sys::openat(sys::abi::at_fdcwd, name, flags, 0700);
  if (!made.ok() && made.error() == errc::exists) {
    const sys::unique_fd stale(
        sys::openat(sys::abi::at_fdcwd, name,
                    sys::abi::o_wronly | sys::abi::o_nofollow | sys::abi::o_nonblock |
                        sys::abi::o_cloexec)
            .value_or(-1));
    if (stale && !sys::flock(stale.get(), sys::abi::lock_ex | sys::abi::lock_nb).ok())
      return s.why.refuse("another checkpoint is writing ", quoted{s.final_name.view()});
    (void)sys::unlinkat(sys::abi::at_fdcwd, name, 0);
    made = sys::openat(sys::abi::at_fdcwd, name, flags, 0700);
  }
  if (!made.ok()) return refuse(made.error());
  s.temporary_exists = true;
  (void)sys::flock(*made, sys::abi::lock_ex | sys::abi::lock_nb);
  if (auto r = sys::fchmod(*made, 0700); !r.ok()) return refuse(r.error());
  return made;
}

// Context: helper
inline result<void> publish(session& s, int fd) {
  if (auto r = sys::fdatasync(fd); !r.ok())
    return s.why.explain(r.error(), "cannot write ", quoted{s.final_name.view()});
  if (auto r = sys::renameat(sys::abi::at_fdcwd, s.temporary_name.c_str(), sys::abi::at_fdcwd,
                             s.final_name.c_str());
      !r.ok())
    return s.why.explain(r.error(), "cannot create ", quoted{s.final_name.view()});
  s.temporary_exists = false;
  const auto whole = s.final_name.view();
  const auto slash = whole.rfind('/');
  fixed_text<4200> directory;
  directory.append(slash == std::string_view::npos ? std::string_view(".") : whole.substr(0, slash + 1));
  const sys::unique_fd dir(sys::openat(sys::abi::at_fdcwd, directory.c_str(),
                                       sys::abi::o_rdonly | sys::abi::o_directory |
                                           sys::abi::o_cloexec)
                               .value_or(-1));
  if (dir) (void)sys::fsync(dir.get());
  return {};
}

}  // namespace ckpt::agent
