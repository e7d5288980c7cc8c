// SPDX-License-Identifier: MIT
// Pipes of which one end is closed and no other process has it: what was written before is read,
// and then comes the end; and pipes in packet mode.
//
// Fidelity: descriptors | a pipe whose other end is closed; packet mode (O_DIRECT) | kept
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  signal(SIGPIPE, SIG_IGN);
  int reader[2], writer[2], packets[2];
  if (pipe(reader) != 0 || pipe2(writer, O_NONBLOCK) != 0 ||
      pipe2(packets, O_DIRECT | O_NONBLOCK | O_CLOEXEC) != 0)
    victim::broken("pipe");
  if (write(reader[1], "rest", 4) != 4) victim::broken("write");
  close(reader[1]);
  close(writer[0]);
  const std::string page(4096, 'p');
  if (write(packets[1], "one", 3) != 3 || write(packets[1], "four", 4) != 4 ||
      write(packets[1], page.data(), page.size()) != 4096)
    victim::broken("write");
  const int queue = epoll_create1(0);
  epoll_event event{};
  event.events = EPOLLIN;
  if (epoll_ctl(queue, EPOLL_CTL_ADD, reader[0], &event) != 0) victim::broken("epoll_ctl");
  victim::work_until_stop();

  char text[8192] = {};
  epoll_event seen{};
  if (epoll_wait(queue, &seen, 1, 0) != 1 || seen.events != (EPOLLIN | EPOLLHUP))
    victim::lost("the epoll: %x", seen.events);
  if (read(reader[0], text, sizeof text) != 4 || std::string(text) != "rest")
    victim::lost("what was written before: %s", text);
  if (read(reader[0], text, sizeof text) != 0) victim::lost("the end");
  if (write(writer[1], "x", 1) != -1 || errno != EPIPE) victim::lost("EPIPE: errno %d", errno);
  victim::expect_equal("O_DIRECT", O_DIRECT | O_NONBLOCK,
                       fcntl(packets[1], F_GETFL) & (O_DIRECT | O_NONBLOCK));
  if (read(packets[0], text, sizeof text) != 3 || memcmp(text, "one", 3) != 0)
    victim::lost("the first packet");
  if (read(packets[0], text, 2) != 2 || read(packets[0], text, sizeof text) != 4096)
    victim::lost("the rest of a packet that was not read, or the third");
  if (read(packets[0], text, sizeof text) != -1 || errno != EAGAIN) victim::lost("a fourth packet");
  if (write(packets[1], "a", 1) != 1 || write(packets[1], "b", 1) != 1 ||
      read(packets[0], text, sizeof text) != 1)
    victim::lost("no packets any more");
  return victim::finish();
}
