// SPDX-License-Identifier: MIT
//
// The frozen program's descriptors as /proc/PID/fd and fdinfo show them. Nothing of the program's
// own table is touched: opening and closing a file in that table would drop its POSIX locks.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/proc/fdinfo.hpp"
#include "ckpt/state/files/open_files.hpp"
#include "ckpt/state/files/wishes.hpp"

namespace ckpt::state {

class program_files {
 public:
  using entry = seen_descriptor;

  /// `task` is "/proc/PID/task/TID" of one of the program's threads; `pid` and `tid` are its numbers
  /// for calls. `scratch` holds the names and tables of the walk.
  program_files(std::string_view task, int pid, int tid, mutable_bytes scratch)
      : task_(task), pid_(pid), tid_(tid), table_(tid, scratch) {}

  /// All of them, and which belong together. What is wished to be ignored is looked at, too: the other
  /// end of a pipe must be known.
  // Context: helper, all threads frozen
  result<void> find(const descriptor_wishes& wishes, report& why) {
    return find(wishes, why, [](entry&, errc) { return false; });
  }
  /// The same where the program runs on: gone(entry, errc) says whether one that cannot be looked at
  /// is left as it is.
  template <class Gone>
  result<void> find(const descriptor_wishes& wishes, report& why, Gone&& gone) {
    CKPT_TRY(list(why));
    for (entry& e : table_.all()) {
      e.ignored = wishes.ignores(e.fd);
      if (auto r = look_at(e, why); !r.ok() && !gone(e, r.error())) return r;
    }
    return table_.find_groups(why);
  }

  [[nodiscard]] open_files& table() { return table_; }
  [[nodiscard]] const open_files& table() const { return table_; }
  [[nodiscard]] int tid() const { return tid_; }
  [[nodiscard]] std::string_view task() const { return task_; }

  const char* path_of(std::string_view directory, i64 number = -1) {
    path_.clear();
    path_.append(task_).append(directory);
    if (number >= 0) path_.append(number);
    return path_.c_str();
  }

  /// The text of fdinfo; of what is longer than `to` its beginning.
  result<std::string_view> read_info(i32 fd, mutable_bytes to) {
    const sys::unique_fd info(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path_of("/fdinfo/", fd),
                                                   sys::abi::o_rdonly | sys::abi::o_cloexec)));
    sys::linux_files kernel;
    const u64 size = CKPT_TRY(sys::read_up_to(kernel, info.get(), to));
    return text_of_bytes(to.first(size));
  }
  result<std::string_view> read_info(i32 fd) {
    return read_info(fd, std::as_writable_bytes(std::span(text_)));
  }
  /// The same in what is left to work in, which holds any.
  result<std::string_view> read_long_info(i32 fd) {
    const auto text = CKPT_TRY(read_info(fd, table_.left()));
    if (text.size() == table_.left().size()) return errc::no_memory;
    return text;
  }

  /// Until the next question; terminated.
  result<std::string_view> link_of(i32 fd) {
    const u64 size = CKPT_TRY(sys::readlinkat(sys::abi::at_fdcwd, path_of("/fd/", fd), link_,
                                              sizeof link_ - 1));
    link_[size] = '\0';
    return std::string_view(link_, size);
  }

  /// Opens the file behind a descriptor of the program for reading.
  // Context: helper, all threads frozen
  result<int> reopen(i32 fd) {
    return sys::openat(sys::abi::at_fdcwd, path_of("/fd/", fd),
                       sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock |
                           sys::abi::o_noctty);
  }
  // Context: helper, all threads frozen
  result<void> stat_of(i32 fd, sys::abi::stat& st) {
    return sys::newfstatat(sys::abi::at_fdcwd, path_of("/fd/", fd), st, 0);
  }

  /// The program's open file as a descriptor of ours. Where the kernel does not hand it out, our
  /// copy of the program's table has it, unless the program has put another there since.
  // Context: helper, all threads frozen
  result<int> borrow(i32 fd) {
    if (!program_) program_ = sys::unique_fd(sys::pidfd_open(pid_, 0).value_or(-1));
    if (program_)
      if (const auto got = sys::pidfd_getfd(program_.get(), fd); got.ok()) return got;
    const auto same = sys::kcmp(tid_, sys::getpid(), sys::abi::kcmp_file, static_cast<u64>(fd),
                                static_cast<u64>(fd));
    if (same.value_or(1) != 0) return errc::access;
    const auto copy = sys::fcntl(fd, sys::abi::f_dupfd_cloexec, 0);
    if (!copy.ok()) return copy.error();
    return static_cast<int>(*copy);
  }

  errc refuse(const entry& e, report& why, std::string_view what, std::string_view cure) {
    const auto link = link_of(e.fd);
    return why.refuse("descriptor ", e.fd, " is ", what, " (",
                      quoted{link.ok() ? *link : std::string_view("?")}, "); ", cure);
  }

 private:
  result<void> list(report& why) {
    const auto opened = sys::openat(sys::abi::at_fdcwd, path_of("/fd"),
                                    sys::abi::o_rdonly | sys::abi::o_directory | sys::abi::o_cloexec);
    if (!opened.ok()) return why.explain(opened.error(), "cannot list ", path_.view());
    const sys::unique_fd dir(*opened);
    return table_.list(dir.get(), why);
  }
  result<void> look_at(entry& e, report& why) {
    const auto text = read_info(e.fd);
    if (!text.ok()) return why.explain(text.error(), "cannot look at descriptor ", e.fd);
    const auto info = proc::parse_fdinfo(*text);
    if (!info.ok()) return why.explain(info.error(), "cannot read fdinfo of descriptor ", e.fd);
    e.info = *info;
    e.locked = text->find("\nlock:") != std::string_view::npos;
    sys::abi::stat st{};
    if (auto r = sys::newfstatat(sys::abi::at_fdcwd, path_of("/fd/", e.fd), st, 0); !r.ok())
      return why.explain(r.error(), "cannot look at descriptor ", e.fd);
    e.st_dev = st.st_dev, e.st_ino = st.st_ino, e.st_rdev = st.st_rdev;
    e.st_nlink = st.st_nlink, e.st_mode = st.st_mode, e.st_size = st.st_size;
    e.modified_ns = static_cast<i64>(st.st_mtime_sec * 1'000'000'000 + st.st_mtime_nsec);
    return {};
  }

  std::string_view task_;
  int pid_;
  int tid_;
  open_files table_;
  sys::unique_fd program_;
  fixed_text<96> path_;
  char link_[4200];
  char text_[8192];
};

}  // namespace ckpt::state
