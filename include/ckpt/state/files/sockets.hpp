// SPDX-License-Identifier: MIT
//
// Sockets of socketpair(2) within the program: who belongs to whom, what is on the way between
// them, and how far each is closed. The kernel tells whose peer a socket is through sock_diag(7);
// what has been sent and not yet received is peeked, and stays.
#pragma once

#include <cstring>

#include "ckpt/base/sort.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

struct socket_end {
  static constexpr auto record = format::record_type::socket_end;
  wire::le<u32> open_file;
  wire::le<u32> peer;
  wire::le<u32> type;
  wire::le<u32> shut;
  wire::le<u32> reset;
  wire::le<i32> send_buffer;
  wire::le<i32> receive_buffer;
  wire::le<i32> low_water;
  wire::le<i32> pass_credentials;
  wire::le<i32> peek_offset;
  wire::le<i64> receive_timeout_us;
  wire::le<i64> send_timeout_us;
};

/// The peer of a socket whose other end has been closed.
inline constexpr u32 no_peer = 0xffffffff;
inline constexpr u32 shut_for_receiving = 1, shut_for_sending = 2;

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::socket_end, open_file, peer, type, shut, reset, send_buffer,
                        receive_buffer, low_water, pass_credentials, peek_offset,
                        receive_timeout_us, send_timeout_us);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::socket_end> = description<12>{
    "socket_end",
    "One socket of a socketpair(2). The tail is what it can receive: for each message its length, "
    "4 bytes, and its bytes. A SOCK_STREAM has no messages, only bytes in such pieces.",
    {"id of its open_file", "id of the open_file at the other end, 0xffffffff when that is closed",
     "SOCK_STREAM 1, SOCK_DGRAM 2, SOCK_SEQPACKET 5",
     "1 nothing more will be received, 2 nothing more can be sent, or their sum",
     "1 when the next call reports ECONNRESET", "SO_SNDBUF", "SO_RCVBUF", "SO_RCVLOWAT",
     "SO_PASSCRED", "SO_PEEK_OFF", "SO_RCVTIMEO in microseconds", "SO_SNDTIMEO in microseconds"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<socket_end, 56>());

/// Calls visit(message) for each piece of a socket's tail; false when the tail is malformed.
template <class Visitor>
bool for_each_message(bytes tail, Visitor&& visit) {
  while (!tail.empty()) {
    wire::le<u32> length;
    if (tail.size() < sizeof length) return false;
    std::memcpy(&length, tail.data(), sizeof length);
    tail = tail.subspan(sizeof length);
    if (length > tail.size()) return false;
    visit(tail.first(length));
    tail = tail.subspan(length);
  }
  return true;
}

// --- which sockets there are -----------------------------------------------------------------

struct unix_socket {
  u32 inode;
  u32 peer;  // inode of the other end, 0 when it is closed
  u8 type;
  u8 shut;
  bool connected;
  bool named;
  bool listens;
};

namespace socket_detail {

/// The kernel gives a socket that asks for credentials a name of its own choice, which says
/// nothing.
[[nodiscard]] inline bool is_automatic_name(bytes name) {
  if (name.size() != 6 || name[0] != std::byte{0}) return false;
  for (const std::byte b : name.subspan(1)) {
    const char c = static_cast<char>(b);
    if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'f')) return false;
  }
  return true;
}

/// One message of sock_diag(7), from after its nlmsghdr.
[[nodiscard]] inline result<unix_socket> parse_unix_socket(bytes message) {
  sys::abi::unix_diag_msg head{};
  if (message.size() < sizeof head) return errc::malformed;
  std::memcpy(&head, message.data(), sizeof head);
  message = message.subspan(sizeof head);
  unix_socket s{};
  s.inode = head.ino;
  s.type = head.type;
  s.listens = head.state == sys::abi::tcp_listen;
  while (message.size() >= 4) {
    u16 length = 0;
    u16 type = 0;
    std::memcpy(&length, message.data(), sizeof length);
    std::memcpy(&type, message.data() + 2, sizeof type);
    if (length < 4 || length > message.size()) return errc::malformed;
    const bytes value = message.subspan(4, length - 4u);
    if (type == sys::abi::unix_diag_peer && value.size() == sizeof s.peer) {
      std::memcpy(&s.peer, value.data(), sizeof s.peer);
      s.connected = true;
    } else if (type == sys::abi::unix_diag_name) {
      s.named = !is_automatic_name(value);
    } else if (type == sys::abi::unix_diag_shutdown && value.size() == 1) {
      s.shut = static_cast<u8>(value[0]);
    }
    const u64 padded = align_up(u64{length}, 4);
    message = message.subspan(padded < message.size() ? padded : message.size());
  }
  return s;
}

}  // namespace socket_detail

/// Every AF_UNIX socket of this network namespace, as far as the caller wants them.
// Context: helper, all threads frozen
template <class Visitor>
result<void> for_each_unix_socket(mutable_bytes room, Visitor&& visit) {
  using namespace sys::abi;
  const sys::unique_fd fd(
      CKPT_TRY(sys::socket(af_netlink, sock_raw | sock_cloexec, netlink_sock_diag)));
  struct {
    nlmsghdr head;
    unix_diag_req body;
  } ask{};
  ask.head.nlmsg_len = sizeof ask;
  ask.head.nlmsg_type = sock_diag_by_family;
  ask.head.nlmsg_flags = nlm_f_request | nlm_f_dump;
  ask.body.family = af_unix;
  ask.body.states = ~u32{0};
  ask.body.show = udiag_show_name | udiag_show_peer;
  CKPT_TRY(sys::sendto(fd.get(), &ask, sizeof ask, 0));
  for (;;) {
    const u64 got = CKPT_TRY(sys::recvfrom(fd.get(), room.data(), room.size(), 0));
    if (got == 0) return errc::io;
    for (bytes rest = bytes(room).first(got); rest.size() >= sizeof(nlmsghdr);) {
      nlmsghdr head{};
      std::memcpy(&head, rest.data(), sizeof head);
      if (head.nlmsg_len < sizeof head || head.nlmsg_len > rest.size()) return errc::malformed;
      if (head.nlmsg_type == nlmsg_done) return {};
      const bytes body = rest.subspan(sizeof head, head.nlmsg_len - sizeof head);
      if (head.nlmsg_type == nlmsg_error) {
        i32 error = 0;
        if (body.size() >= sizeof error) std::memcpy(&error, body.data(), sizeof error);
        return error < 0 ? static_cast<errc>(-error) : errc::io;
      }
      visit(CKPT_TRY(socket_detail::parse_unix_socket(body)));
      const u64 padded = align_up(u64{head.nlmsg_len}, 4);
      rest = rest.subspan(padded < rest.size() ? padded : rest.size());
    }
  }
}

// --- capture ---------------------------------------------------------------------------------

inline errc refuse_carried(report& why) {
  return why.refuse(
      "descriptors are on the way through it (SCM_RIGHTS); let the program "
      "receive them first");
}

namespace socket_detail {

/// struct timeval, as microseconds.
inline result<i64> timeout_of(int fd, int option) {
  sys::abi::timeval t{};
  CKPT_TRY(sys::getsockopt(fd, option, t));
  return t.tv_sec * 1'000'000 + t.tv_usec;
}

/// True when a message carries descriptors; those that arrive with it are ours to close.
inline bool carries_descriptors(const sys::abi::msghdr& m, std::byte* control) {
  bool found = false;
  for (u64 at = 0; at + sizeof(sys::abi::cmsghdr) <= m.msg_controllen;) {
    sys::abi::cmsghdr c{};
    std::memcpy(&c, control + at, sizeof c);
    if (c.cmsg_len < sizeof c || c.cmsg_len > m.msg_controllen - at) break;
    if (c.cmsg_level == sys::abi::sol_socket && c.cmsg_type == sys::abi::scm_rights) {
      found = true;
      for (u64 i = sizeof c; i + sizeof(i32) <= c.cmsg_len; i += sizeof(i32)) {
        i32 fd = -1;
        std::memcpy(&fd, control + at + i, sizeof fd);
        (void)sys::close(fd);
      }
    }
    at += align_up(c.cmsg_len, 8);
  }
  return found;
}

}  // namespace socket_detail

/// The memory that what a socket has sent takes until it is received.
inline result<i32> sent_by(int fd) {
  i32 size = 0;
  CKPT_TRY(sys::ioctl(fd, sys::abi::tiocoutq, &size));
  return size;
}

/// Sends messages as they are looked at through a pair that takes the same memory for them. An
/// empty message can be peeked only once, by whomever: then it is there and nothing but this shows
/// it.
class same_memory {
 public:
  // Context: helper, all threads frozen
  result<void> begin(int type, i32 buffer) {
    int ends[2] = {-1, -1};
    CKPT_TRY(sys::socketpair(type | sys::abi::sock_cloexec, ends));
    from_ = sys::unique_fd(ends[0]);
    to_ = sys::unique_fd(ends[1]);
    const i32 half = buffer / 2;
    (void)sys::setsockopt(from_.get(), sys::abi::so_sndbuf, half);
    return {};
  }
  /// One that does not fit is not compared.
  void send(bytes message) {
    complete_ =
        complete_ &&
        sys::sendto(from_.get(), message.data(), message.size(), sys::abi::msg_dontwait).ok();
  }
  [[nodiscard]] bool differs(int sender) const {
    const auto own = sent_by(from_.get());
    const auto theirs = sent_by(sender);
    return complete_ && own.ok() && theirs.ok() && *own != *theirs;
  }

 private:
  sys::unique_fd from_, to_;
  bool complete_ = true;
};

/// All that waits at `fd`, ours and of the same open file, becomes the tail of the open record.
/// `sender` is the other end, -1 when it is closed.
// Context: helper, all threads frozen
inline result<void> peek_messages(int fd, int sender, const socket_end& s, mutable_bytes room,
                                  format::metadata_builder& out, report& why) {
  using namespace sys::abi;
  i32 held = 0;  // of a SOCK_DGRAM the first message's
  CKPT_TRY(sys::ioctl(fd, fionread, &held));
  const bool stream = s.type == u32{sock_stream};
  const u64 all = stream || s.type == u32{sock_seqpacket} ? static_cast<u64>(held) : ~u64{0};
  // To look beyond the end of the queue takes an error that waits there.
  if (s.reset != 0 && !stream)
    return why.refuse("an error waits on it; let the program receive it first");
  const bool compares = !stream && sender >= 0;
  same_memory copy;
  if (compares) {
    i32 buffer = 0;
    CKPT_TRY(sys::getsockopt(sender, so_sndbuf, buffer));
    CKPT_TRY(copy.begin(static_cast<int>(s.type.get()), buffer));
  }
  for (u64 total = 0; total < all || !stream;) {
    iovec part{reinterpret_cast<u64>(room.data()), room.size()};
    alignas(8) std::byte control[2048];
    msghdr m{};
    m.msg_iov = &part;
    m.msg_iovlen = 1;
    m.msg_control = &control[0];
    m.msg_controllen = sizeof control;
    const auto got = sys::recvmsg(fd, m, msg_peek | msg_dontwait | msg_cmsg_cloexec);
    if (!got.ok() && got.error() == errc::again) break;
    if (!got.ok()) return got.error();
    if (socket_detail::carries_descriptors(m, &control[0]) || (m.msg_flags & msg_ctrunc) != 0)
      return refuse_carried(why);
    if ((m.msg_flags & msg_trunc) != 0)
      return why.refuse("a message of more than ", room.size(), " bytes waits in it");
    // The end, or an empty message, which nothing tells apart once there is an end.
    if (*got == 0 && (stream || ((s.shut & shut_for_receiving) != 0 && total >= all))) break;
    const wire::le<u32> length = static_cast<u32>(*got);
    CKPT_TRY(out.append(bytes_of(length)));
    CKPT_TRY(out.append(bytes(room).first(*got)));
    if (compares) copy.send(bytes(room).first(*got));
    total += *got;
  }
  if (compares && copy.differs(sender))
    return why.refuse(
        "an empty message waits in it that has been looked at before; let the "
        "program receive it first");
  return {};
}

/// Writes the record of one socket. The offset of MSG_PEEK moves while this looks, and is put back.
// Context: helper, all threads frozen
inline result<void> capture_socket(int fd, int sender, const unix_socket& seen, u32 id, u32 peer,
                                   mutable_bytes room, format::metadata_builder& out, report& why) {
  using namespace sys::abi;
  socket_end s{};
  s.open_file = id;
  s.peer = peer;
  s.type = seen.type;
  s.shut = seen.shut & 3u;
  const auto option = [&](int name) -> result<i32> {
    i32 value = 0;
    CKPT_TRY(sys::getsockopt(fd, name, value));
    return value;
  };
  s.send_buffer = CKPT_TRY(option(so_sndbuf));
  s.receive_buffer = CKPT_TRY(option(so_rcvbuf));
  s.low_water = CKPT_TRY(option(so_rcvlowat));
  s.pass_credentials = CKPT_TRY(option(so_passcred));
  s.peek_offset = CKPT_TRY(option(so_peek_off));
  s.receive_timeout_us = CKPT_TRY(socket_detail::timeout_of(fd, so_rcvtimeo));
  s.send_timeout_us = CKPT_TRY(socket_detail::timeout_of(fd, so_sndtimeo));
  pollfd p{fd, 0, 0};
  s.reset = sys::poll(&p, 1, 0).ok() && (p.revents & poll_err) != 0 ? 1u : 0u;
  char urgent = 0;
  if (sys::recvfrom(fd, &urgent, 1, msg_oob | msg_peek | msg_dontwait).ok())
    return why.refuse("an urgent byte waits in it (MSG_OOB); let the program receive it first");
  CKPT_TRY(out.begin(s));
  const i32 from_the_start = 0;
  CKPT_TRY(sys::setsockopt(fd, so_peek_off, from_the_start));
  const auto peeked = peek_messages(fd, sender, s, room, out, why);
  const i32 before = s.peek_offset;
  (void)sys::setsockopt(fd, so_peek_off, before);
  CKPT_TRY(peeked);
  return out.end();
}

// --- restore ---------------------------------------------------------------------------------

namespace socket_detail {

/// What getsockopt(2) gives is twice what setsockopt(2) took.
inline void set_buffer(int fd, int option, int forced, i32 wanted) {
  i32 now = 0;
  if (sys::getsockopt(fd, option, now).ok() && now == wanted) return;
  const i32 half = wanted / 2;
  if (!sys::setsockopt(fd, forced, half).ok()) (void)sys::setsockopt(fd, option, half);
}

inline void set_options(int fd, const socket_end& s) {
  using namespace sys::abi;
  const auto set = [&](int option, i32 value) {
    i32 now = 0;
    if (sys::getsockopt(fd, option, now).ok() && now != value)
      (void)sys::setsockopt(fd, option, value);
  };
  const auto set_timeout = [&](int option, i64 us) {
    if (us != 0) (void)sys::setsockopt(fd, option, timeval{us / 1'000'000, us % 1'000'000});
  };
  set_buffer(fd, so_sndbuf, so_sndbufforce, s.send_buffer);
  set_buffer(fd, so_rcvbuf, so_rcvbufforce, s.receive_buffer);
  set(so_rcvlowat, s.low_water);
  set(so_passcred, s.pass_credentials);
  set(so_peek_off, s.peek_offset);
  set_timeout(so_rcvtimeo, s.receive_timeout_us);
  set_timeout(so_sndtimeo, s.send_timeout_us);
}

/// Sends what the other end is to find.
inline result<void> refill(int from, bytes tail, bool stream) {
  result<void> outcome;
  const bool whole = for_each_message(tail, [&](bytes message) {
    do {
      if (!outcome.ok()) return;
      const auto sent = sys::sendto(from, message.data(), message.size(),
                                    sys::abi::msg_dontwait | sys::abi::msg_nosignal);
      if (!sent.ok())
        outcome = sent.error();
      else if (*sent < message.size() && (!stream || *sent == 0))
        outcome = errc::io;
      else
        message = message.subspan(*sent);
    } while (!message.empty());
  });
  return whole ? outcome : result<void>(errc::malformed);
}

}  // namespace socket_detail

struct saved_socket {
  socket_end fields;
  bytes tail;
};

/// Makes both sockets; ends[1] is -1 when b is none. What was on its way is sent before anything is
/// shut, and with the larger buffers: a program may have made its own smaller meanwhile.
// Context: agent, in restored memory
inline result<void> make_sockets(const saved_socket& a, const saved_socket* b, int (&ends)[2]) {
  using namespace sys::abi;
  const int type = static_cast<int>(a.fields.type.get());
  int fresh[2] = {-1, -1};
  CKPT_TRY(sys::socketpair(type | sock_cloexec, fresh));
  sys::unique_fd first(fresh[0]);
  sys::unique_fd second(fresh[1]);
  i32 standard = 0;
  CKPT_TRY(sys::getsockopt(first.get(), so_sndbuf, standard));
  const bool stream = type == sock_stream;
  // Who sends to a is b; a closed b had the buffers of any.
  if (b != nullptr && b->fields.send_buffer > standard)
    socket_detail::set_buffer(second.get(), so_sndbuf, so_sndbufforce, b->fields.send_buffer);
  if (a.fields.send_buffer > standard)
    socket_detail::set_buffer(first.get(), so_sndbuf, so_sndbufforce, a.fields.send_buffer);
  if (b == nullptr && a.fields.send_buffer > standard)
    socket_detail::set_buffer(second.get(), so_sndbuf, so_sndbufforce, a.fields.send_buffer);
  // Credentials go with a message only if somebody asks for them when it is sent.
  const auto ask_for_credentials = [&](int fd, const socket_end& end) {
    const i32 on = 1;
    if (end.pass_credentials != 0) (void)sys::setsockopt(fd, so_passcred, on);
  };
  ask_for_credentials(first.get(), a.fields);
  if (b != nullptr) ask_for_credentials(second.get(), b->fields);
  CKPT_TRY(socket_detail::refill(second.get(), a.tail, stream));
  if (b != nullptr) CKPT_TRY(socket_detail::refill(first.get(), b->tail, stream));
  if (b == nullptr) {
    // Who closes a socket with something unread in it resets the other.
    const char unread = 0;
    if (a.fields.reset != 0)
      (void)sys::sendto(first.get(), &unread, 1, msg_dontwait | msg_nosignal);
    second.reset();
  }
  const auto shut = [&](int fd, u32 how) {
    if (how == 0) return;
    const bool both = how == (shut_for_receiving | shut_for_sending);
    (void)sys::shutdown(fd, both ? shut_rdwr : how == shut_for_receiving ? shut_rd : shut_wr);
  };
  shut(first.get(), a.fields.shut);
  socket_detail::set_options(first.get(), a.fields);
  if (b != nullptr) {
    shut(second.get(), b->fields.shut);
    socket_detail::set_options(second.get(), b->fields);
  }
  ends[0] = first.release();
  ends[1] = second.release();
  return {};
}

}  // namespace ckpt::state
