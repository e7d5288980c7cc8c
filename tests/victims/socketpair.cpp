// SPDX-License-Identifier: MIT
// Sockets of socketpair(2) with both ends in the program: what is on its way in both directions,
// where one message ends and the next begins, what is shut or closed already, their options.
//
// Fidelity: descriptors | a pair of sockets within the program, with what is on its way, what is shut and its options | kept
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "victim.hpp"

namespace {

struct pair_of {
  int a = -1, b = -1;
  explicit pair_of(int type) {
    int ends[2];
    if (socketpair(AF_UNIX, type, 0, ends) != 0) victim::broken("socketpair");
    a = ends[0];
    b = ends[1];
  }
};
void tell(int fd, const std::string& text) {
  if (send(fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size()))
    victim::broken("send");
}
void expect(const char* what, int fd, const std::string& wanted, size_t room = 100'000) {
  std::string text(room, '\0');
  const ssize_t got = recv(fd, text.data(), text.size(), MSG_DONTWAIT);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  if (got < 0 || text != wanted)
    victim::lost("%s: %zd bytes (%.40s) instead of %zu (%.40s), errno %d", what, got, text.c_str(),
                 wanted.size(), wanted.c_str(), errno);
}
void expect_none(const char* what, int fd, int error) {
  char byte;
  errno = 0;
  if (recv(fd, &byte, 1, MSG_DONTWAIT) != -1 || errno != error)
    victim::lost("%s: errno %d instead of %d", what, errno, error);
}
void expect_unsendable(const char* what, int fd, int error) {
  errno = 0;
  if (send(fd, "x", 1, MSG_NOSIGNAL | MSG_DONTWAIT) != -1 || errno != error)
    victim::lost("%s: errno %d instead of %d", what, errno, error);
}
void set(int fd, int option, int value) {
  if (setsockopt(fd, SOL_SOCKET, option, &value, sizeof value) != 0) victim::broken("setsockopt");
}
int get(int fd, int option) {
  int value = -1;
  socklen_t size = sizeof value;
  getsockopt(fd, SOL_SOCKET, option, &value, &size);
  return value;
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  const std::string large(60'000, 'L');
  pair_of stream(SOCK_STREAM | SOCK_CLOEXEC);
  tell(stream.a, "first ");
  tell(stream.a, "second");
  tell(stream.b, large);
  tell(stream.b, "end");
  const int copy = dup(stream.a);
  if (copy < 0 || fcntl(stream.b, F_SETFL, O_NONBLOCK) != 0) victim::broken("fcntl");

  pair_of messages(SOCK_DGRAM);
  tell(messages.a, "one");
  tell(messages.a, large);
  tell(messages.b, "back");
  pair_of packets(SOCK_SEQPACKET);
  tell(packets.a, "one");
  tell(packets.a, "two");

  pair_of half(SOCK_STREAM);
  tell(half.a, "last words");
  shutdown(half.a, SHUT_WR);
  pair_of left(SOCK_STREAM);
  tell(left.b, "left behind");
  close(left.b);
  pair_of reset(SOCK_STREAM);
  tell(reset.a, "never read");
  close(reset.b);
  pair_of left_packets(SOCK_SEQPACKET);
  tell(left_packets.b, "packet");
  close(left_packets.b);
  pair_of left_message(SOCK_DGRAM);
  tell(left_message.b, "message");
  close(left_message.b);

  pair_of options(SOCK_STREAM);
  set(options.a, SO_SNDBUF, 20'000);
  set(options.a, SO_RCVBUF, 30'000);
  set(options.b, SO_PASSCRED, 1);
  set(options.b, SO_PEEK_OFF, 0);
  set(options.b, SO_RCVLOWAT, 3);
  const timeval wait{7, 500'000};
  if (setsockopt(options.a, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0)
    victim::broken("SO_RCVTIMEO");
  tell(options.a, "abcdef");
  char peeked[2];
  if (recv(options.b, peeked, 2, MSG_PEEK) != 2) victim::broken("peek");

  const int queue = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP;
  event.data.u64 = 99;
  if (epoll_ctl(queue, EPOLL_CTL_ADD, half.b, &event) != 0) victim::broken("epoll_ctl");
  victim::work_until_stop();

  victim::expect_equal("close-on-exec", FD_CLOEXEC, fcntl(stream.a, F_GETFD));
  victim::expect_equal("close-on-exec of the dup", 0, fcntl(copy, F_GETFD));
  victim::expect_equal("O_NONBLOCK", O_NONBLOCK, fcntl(stream.b, F_GETFL) & O_NONBLOCK);
  victim::expect_equal("no O_NONBLOCK", 0, fcntl(stream.a, F_GETFL) & O_NONBLOCK);
  victim::expect_equal("the type", SOCK_SEQPACKET, get(packets.a, SO_TYPE));
  expect("stream", stream.b, "first second");
  expect("stream, the other way", stream.a, large + "end");
  tell(copy, "new");
  expect("stream, afterwards", stream.b, "new");
  expect("a message", messages.b, "one");
  expect("a large message", messages.b, large);
  expect_none("no more messages", messages.b, EAGAIN);
  expect("a message back", messages.a, "back");
  expect("a packet", packets.b, "one");
  expect("another packet", packets.b, "two");
  expect_none("no more packets", packets.b, EAGAIN);
  epoll_event seen{};
  if (epoll_wait(queue, &seen, 1, 0) != 1 || seen.data.u64 != 99 ||
      seen.events != (EPOLLIN | EPOLLRDHUP))
    victim::lost("the epoll: %x", seen.events);
  expect("before the end", half.b, "last words");
  expect("the end", half.b, "");
  expect_unsendable("the shut side", half.a, EPIPE);
  tell(half.b, "still");
  expect("the open direction", half.a, "still");
  expect("from a closed one", left.a, "left behind");
  expect("its end", left.a, "");
  expect_unsendable("to a closed one", left.a, EPIPE);
  expect_none("closed with something unread", reset.a, ECONNRESET);
  expect("then the end", reset.a, "");
  expect("a packet from a closed one", left_packets.a, "packet");
  expect("its end", left_packets.a, "");
  expect("a message from a closed one", left_message.a, "message");
  expect_unsendable("a message to a closed one", left_message.a, ECONNREFUSED);
  victim::expect_equal("SO_SNDBUF", 40'000, static_cast<uint64_t>(get(options.a, SO_SNDBUF)));
  victim::expect_equal("SO_RCVBUF", 60'000, static_cast<uint64_t>(get(options.a, SO_RCVBUF)));
  victim::expect_equal("SO_PASSCRED", 1, static_cast<uint64_t>(get(options.b, SO_PASSCRED)));
  victim::expect_equal("SO_RCVLOWAT", 3, static_cast<uint64_t>(get(options.b, SO_RCVLOWAT)));
  victim::expect_equal("SO_PEEK_OFF", 2, static_cast<uint64_t>(get(options.b, SO_PEEK_OFF)));
  victim::expect_equal("SO_PEEK_OFF of others", ~uint64_t{0},
                       static_cast<uint64_t>(get(stream.a, SO_PEEK_OFF)));
  timeval now{};
  socklen_t size = sizeof now;
  getsockopt(options.a, SOL_SOCKET, SO_RCVTIMEO, &now, &size);
  victim::expect_equal("SO_RCVTIMEO", 7'500'000,
                       static_cast<uint64_t>(now.tv_sec * 1'000'000 + now.tv_usec));
  char text[8] = {}, control[CMSG_SPACE(sizeof(ucred))] = {};
  iovec part{text, sizeof text};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  if (recvmsg(options.b, &message, MSG_DONTWAIT) != 6 || strcmp(text, "abcdef") != 0)
    victim::lost("with credentials: %s", text);
  const cmsghdr* head = CMSG_FIRSTHDR(&message);
  if (head == nullptr || head->cmsg_type != SCM_CREDENTIALS) {
    victim::lost("no credentials");
  } else {
    ucred from{};
    memcpy(&from, CMSG_DATA(head), sizeof from);
    victim::expect_equal("the sender's user", getuid(), from.uid);
  }
  return victim::finish();
}
