// SPDX-License-Identifier: MIT
//
// epoll(7): what is registered, under which number, for which events. An entry belongs to an open
// file and not to a descriptor: the number it was registered under may be closed by now, or be
// another file's.
#pragma once

#include <cstring>

#include "ckpt/base/text.hpp"
#include "ckpt/format/record.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

struct epoll {
  static constexpr auto record = format::record_type::epoll;
  wire::le<u32> open_file;
  wire::reserved<4> reserved;
  wire::le<u64> count;
};

struct epoll_entry {
  wire::le<i32> descriptor;
  wire::le<u32> open_file;
  wire::le<u32> events;
  wire::reserved<4> reserved;
  wire::le<u64> data;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::epoll, open_file, reserved, count);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::epoll_entry, descriptor, open_file, events, reserved, data);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::epoll> =
    description<3>{"epoll",
                   "What an epoll(7) watches. The tail is an array of epoll_entry.",
                   {"id of its open_file", "zero", "number of entries in the tail"}};
template <>
inline constexpr auto describe<state::epoll_entry> = description<5>{
    "epoll_entry",
    "One file that an epoll watches.",
    {"number under which it was registered, open or not", "id of the open_file it watches",
     "EPOLL* as the kernel has them; without EPOLLERR and EPOLLHUP an EPOLLONESHOT that has fired",
     "zero", "epoll_data_t"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<epoll, 16>());
static_assert(wire::laid_out_in<epoll_entry, 24>());

/// The i-th entry of an epoll's tail.
[[nodiscard]] inline epoll_entry epoll_entry_at(bytes tail, u64 i) {
  epoll_entry e{};
  std::memcpy(&e, tail.data() + i * sizeof e, sizeof e);
  return e;
}

namespace epoll_detail {

/// An EPOLLONESHOT that has fired waits for nothing, errors included, until it is set again.
[[nodiscard]] inline bool has_fired(u32 events) {
  constexpr u32 always = u32{sys::abi::poll_err} | u32{sys::abi::poll_hup};
  return (events & sys::abi::epoll_oneshot) != 0 && (events & always) == 0;
}

/// One byte in an empty pipe, for as long as it lives. Other files need nothing of the kind: they
/// are ready for something or know neither error nor end.
class byte_in_pipe {
 public:
  explicit byte_in_pipe(int fd) {
    sys::abi::stat st{};
    if (!sys::fstat(fd, st).ok() || (st.st_mode & sys::abi::s_ifmt) != sys::abi::s_ififo) return;
    fixed_text<40> path;
    path.append("/proc/self/fd/").append(fd);
    both_ =
        sys::unique_fd(sys::openat(sys::abi::at_fdcwd, path.c_str(),
                                   sys::abi::o_rdwr | sys::abi::o_nonblock | sys::abi::o_cloexec)
                           .value_or(-1));
    i32 held = 0;
    if (!both_ || !sys::ioctl(both_.get(), sys::abi::fionread, &held).ok() || held != 0) return;
    there_ = sys::write(both_.get(), "", 1).ok();
  }
  byte_in_pipe(const byte_in_pipe&) = delete;
  ~byte_in_pipe() {
    char byte = 0;
    if (there_) (void)sys::read(both_.get(), &byte, 1);
  }

 private:
  bool there_ = false;
  sys::unique_fd both_;
};

}  // namespace epoll_detail

/// Registers the file at descriptor `fd`, which has the number that the entry wants. One that has
/// fired must come before all that have not: it fires here, and nothing else may.
// Context: agent, in restored memory
inline result<void> register_entry(int epoll, int fd, const epoll_entry& e) {
  const bool fired = epoll_detail::has_fired(e.events);
  u32 events = e.events;
  if (fired) events |= u32{sys::abi::poll_in} | u32{sys::abi::poll_out};
  CKPT_TRY(sys::epoll_ctl(epoll, sys::abi::epoll_ctl_add, fd, {events, e.data}));
  if (!fired) return {};
  sys::abi::epoll_event event{};
  if (sys::epoll_wait(epoll, &event, 1, 0).value_or(0) == 1) return {};
  {
    const epoll_detail::byte_in_pipe byte(fd);
    if (sys::epoll_wait(epoll, &event, 1, 0).value_or(0) == 1) return {};
  }
  // As quiet as it can be: only an error or the end of the other side can wake it.
  return sys::epoll_ctl(epoll, sys::abi::epoll_ctl_mod, fd, {e.events, e.data});
}

}  // namespace ckpt::state
