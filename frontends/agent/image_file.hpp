// SPDX-License-Identifier: MIT
//
// An image under its name only when it is whole: written under a temporary name beside it, synced,
// renamed, the directory synced. A temporary file that a dead writer left is swept by the next.
#pragma once

#include "ckpt/image/temporary_name.hpp"
#include "session.hpp"

namespace ckpt::agent {

// Context: triggering thread
inline void name_temporary(session& s) {
  s.temporary_name.clear();
  image::append_temporary_name(s.temporary_name, s.final_name.view());
}

/// Whether the temporary name leads to this open file.
// Context: helper, or the triggering thread when the helper is dead
inline result<bool> has_temporary_name(session& s, int fd) {
  sys::abi::stat mine{};
  sys::abi::stat named{};
  CKPT_TRY(sys::fstat(fd, mine));
  const auto found = sys::newfstatat(sys::abi::at_fdcwd, s.temporary_name.c_str(), named,
                                     sys::abi::at_symlink_nofollow);
  if (!found.ok() && found.error() != errc::no_entry) return found.error();
  return found.ok() && mine.st_dev == named.st_dev && mine.st_ino == named.st_ino;
}

/// Removes what a dead writer has left; errc::again when somebody is alive and writes. Who holds the
/// lock of the file that has the name may remove the name, and nobody else: between two looks at a
/// name, others may have put another file there.
// Context: helper, or the triggering thread when the helper is dead
inline result<void> sweep_temporary(session& s) {
  const char* name = s.temporary_name.c_str();
  const auto opened = sys::openat(sys::abi::at_fdcwd, name,
                                  sys::abi::o_wronly | sys::abi::o_nofollow | sys::abi::o_nonblock |
                                      sys::abi::o_cloexec);
  if (!opened.ok() && opened.error() == errc::no_entry) return {};
  // One that cannot be opened is no file of ours: removed where that is permitted.
  if (const sys::unique_fd stale(opened.value_or(-1)); stale) {
    const auto locked = sys::flock(stale.get(), sys::abi::lock_ex | sys::abi::lock_nb);
    if (!locked.ok() && locked.error() == errc::again) return errc::again;
    if (!CKPT_TRY(has_temporary_name(s, stale.get()))) return errc::again;
    return sys::unlinkat(sys::abi::at_fdcwd, name, 0);
  }
  return sys::unlinkat(sys::abi::at_fdcwd, name, 0);
}

/// What the dead helper was writing. It is dead a moment before its lock is.
// Context: triggering thread, the helper is dead
inline void sweep_after_helper(session& s) {
  if (!s.temporary_exists) return;
  for (int tries = 0; tries < 100; ++tries) {
    if (const auto r = sweep_temporary(s); r.ok() || r.error() != errc::again) break;
    (void)sys::nanosleep({0, 1'000'000});
  }
  s.temporary_exists = false;
}

/// While the file is open and so locked.
// Context: helper
inline void remove_temporary(session& s) {
  (void)sys::unlinkat(sys::abi::at_fdcwd, s.temporary_name.c_str(), 0);
  s.temporary_exists = false;
}

/// The lock says that somebody is writing: it dies with its holder, so a file that can be locked
/// was left by a dead one. errc::again when another checkpoint is writing under this name.
// Context: helper
inline result<int> create_temporary(session& s) {
  constexpr int flags = sys::abi::o_wronly | sys::abi::o_creat | sys::abi::o_excl |
                        sys::abi::o_nofollow | sys::abi::o_cloexec;
  const char* name = s.temporary_name.c_str();
  const auto refuse = [&](errc error) {
    return s.why.explain(error, "cannot create ", quoted{s.temporary_name.view()});
  };
  auto made = result<int>(errc::exists);
  for (int tries = 0; tries < 2 && !made.ok(); ++tries) {
    // Before the call: whoever survives looks, wherever this one ends.
    s.temporary_exists = true;
    made = sys::openat(sys::abi::at_fdcwd, name, flags, 0700);
    if (made.ok()) break;
    s.temporary_exists = false;
    if (made.error() != errc::exists) return refuse(made.error());
    if (tries != 0) return errc::again;  // swept, and somebody was faster
    if (auto r = sweep_temporary(s); !r.ok())
      return r.error() == errc::again ? r.error() : refuse(r.error());
  }
  sys::unique_fd file(*made);
  const auto locked = sys::flock(file.get(), sys::abi::lock_ex | sys::abi::lock_nb);
  const auto named = has_temporary_name(s, file.get());
  // Another one may have found it before it was locked, and taken it for a dead one's.
  if ((!locked.ok() && locked.error() == errc::again) || (named.ok() && !*named)) {
    s.temporary_exists = false;
    return errc::again;
  }
  const auto private_to_owner = sys::fchmod(file.get(), 0700);
  if (!named.ok() || !private_to_owner.ok()) {
    remove_temporary(s);
    return refuse(named.ok() ? private_to_owner.error() : named.error());
  }
  return file.release();
}

/// The same file for reading only, locked without a moment in between: nobody can run an image that
/// somebody has open for writing.
// Context: helper
inline result<void> stop_writing(session& s, sys::unique_fd& file) {
  sys::unique_fd reader(CKPT_TRY(sys::openat(
      sys::abi::at_fdcwd, s.temporary_name.c_str(),
      sys::abi::o_rdonly | sys::abi::o_nofollow | sys::abi::o_cloexec)));
  (void)sys::flock(file.get(), sys::abi::lock_sh | sys::abi::lock_nb);
  (void)sys::flock(reader.get(), sys::abi::lock_sh | sys::abi::lock_nb);
  file = std::move(reader);
  return {};
}

/// `watch` says whether the image is still wanted when it is on the disk; `sync` makes a call that waits
/// for the disk: result<void> operator()(result<void> (*)(int), int fd).
// Context: helper
template <class Watch, class Sync>
result<void> publish(session& s, sys::unique_fd& file, Watch&& watch, Sync&& sync) {
  const auto cannot = [&](errc error, std::string_view what) {
    return s.why.explain(error, what, quoted{s.final_name.view()});
  };
  if (auto r = sync(&sys::fdatasync, file.get()); !r.ok()) return cannot(r.error(), "cannot write ");
  CKPT_TRY(watch());
  if (auto r = stop_writing(s, file); !r.ok()) return cannot(r.error(), "cannot read back ");
  if (auto r = sys::renameat(sys::abi::at_fdcwd, s.temporary_name.c_str(), sys::abi::at_fdcwd,
                             s.final_name.c_str());
      !r.ok())
    return cannot(r.error(), "cannot create ");
  s.temporary_exists = false;
  const auto whole = s.final_name.view();
  const auto slash = whole.rfind('/');
  fixed_text<4200> directory;
  directory.append(slash == std::string_view::npos ? std::string_view(".") : whole.substr(0, slash + 1));
  const sys::unique_fd dir(sys::openat(sys::abi::at_fdcwd, directory.c_str(),
                                       sys::abi::o_rdonly | sys::abi::o_directory |
                                           sys::abi::o_cloexec)
                               .value_or(-1));
  if (dir) (void)sync(&sys::fsync, dir.get());
  return {};
}

}  // namespace ckpt::agent
