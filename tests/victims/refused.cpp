// SPDX-License-Identifier: MIT
// Holds one thing that cannot be saved, named by the second argument, uses it as long as it runs,
// and checks at the end that a refused checkpoint has left it alone.
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstddef>

#include "victim.hpp"

static void announce(const char* format, long value) {
  char text[128];
  snprintf(text, sizeof text, format, value);
  victim::say(text);
}


static int finish_socket(int* pair) {
  char byte = 0;
  if (write(pair[0], "x", 1) != 1 || read(pair[1], &byte, 1) != 1 || byte != 'x')
    victim::lost("the socket");
  return victim::finish();
}

int main(int count, char** values) {
  victim::begin(count, values);
  const std::string kind = count > 2 ? values[2] : "";
  if (kind == "child" || kind == "zombie") {
    pid_t child = fork();
    if (child == 0) {
      if (kind == "zombie") _exit(5);
      while (!victim::stop_requested()) usleep(2000);
      _exit(5);
    }
    if (kind == "zombie") {
      siginfo_t info{};
      waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
    }
    announce("child %ld\n", child);
    victim::work_until_stop();
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 5)
      victim::lost("the child: status %#x", static_cast<unsigned>(status));
    if (waitpid(-1, &status, __WALL) != -1 || errno != ECHILD)
      victim::lost("a child that the program has not started");
    return victim::finish();
  }
  if (kind == "shm") {
    int id = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
    if (id < 0) victim::skip("no System V shared memory here");
    auto* memory = static_cast<unsigned char*>(shmat(id, nullptr, 0));
    victim::fill(memory, 8192, 1);
    victim::work_until_stop();
    victim::expect_filled("the segment", memory, 8192, 1);
    shmctl(id, IPC_RMID, nullptr);
    return victim::finish();
  }
  if (kind == "rights" || kind == "empty-message" || kind == "urgent") {
    int pair[2];
    if (socketpair(AF_UNIX, kind == "empty-message" ? SOCK_DGRAM : SOCK_STREAM, 0, pair) != 0)
      victim::broken("socketpair");
    announce("fd %ld\n", pair[1]);
    char text[8] = {}, control[CMSG_SPACE(sizeof(int))] = {};
    iovec part{text, 1};
    msghdr message{};
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (kind == "rights") {
      message.msg_control = control;
      message.msg_controllen = sizeof control;
      cmsghdr* head = CMSG_FIRSTHDR(&message);
      head->cmsg_level = SOL_SOCKET, head->cmsg_type = SCM_RIGHTS;
      head->cmsg_len = CMSG_LEN(sizeof(int));
      memcpy(CMSG_DATA(head), &pair[0], sizeof(int));
    }
    if (kind == "empty-message") part.iov_len = 0;
    if (sendmsg(pair[0], &message, kind == "urgent" ? MSG_OOB : 0) < 0)
      victim::skip("no such message here");
    if (kind == "empty-message" && recv(pair[1], text, 1, MSG_PEEK) != 0) victim::broken("recv");
    victim::work_until_stop();
    part.iov_len = 8;
    message.msg_control = control;
    message.msg_controllen = kind == "rights" ? sizeof control : 0;
    const ssize_t wanted = kind == "empty-message" ? 0 : 1;
    if (recvmsg(pair[1], &message, MSG_DONTWAIT | (kind == "urgent" ? MSG_OOB : 0)) != wanted)
      victim::lost("the message");
    if (kind == "rights" &&
        (CMSG_FIRSTHDR(&message) == nullptr || CMSG_FIRSTHDR(&message)->cmsg_type != SCM_RIGHTS))
      victim::lost("the descriptor in it");
    if (send(pair[0], "x", 1, 0) != 1 || recv(pair[1], text, 8, 0) != 1) victim::lost("the pair");
    int offset = 0;
    socklen_t size = sizeof offset;
    getsockopt(pair[1], SOL_SOCKET, SO_PEEK_OFF, &offset, &size);
    victim::expect_equal("SO_PEEK_OFF", ~uint64_t{0}, static_cast<uint64_t>(offset));
    return victim::finish();
  }
  if (kind == "listening" || kind == "bound") {
    const int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string abstract = "ckpt-victim-" + std::to_string(getpid());
    memcpy(name.sun_path + 1, abstract.data(), abstract.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + abstract.size());
    const auto* address = reinterpret_cast<const sockaddr*>(&name);
    if (bind(listener, address, size) != 0 || listen(listener, 4) != 0) victim::broken("bind");
    int ends[2] = {-1, listener};
    if (kind == "bound") {
      ends[0] = socket(AF_UNIX, SOCK_STREAM, 0);
      if (connect(ends[0], address, size) != 0) victim::broken("connect");
      ends[1] = accept(listener, nullptr, nullptr);
      close(listener);
    }
    announce("fd %ld\n", kind == "bound" ? std::min(ends[0], ends[1]) : listener);
    victim::work_until_stop();
    if (kind == "bound") return finish_socket(ends);
    const int client = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(client, address, size) != 0) victim::lost("the listening socket");
    return victim::finish();
  }
  if (kind == "other-process") {
    // The other end is with a process that is nobody's child.
    int pair[2], told[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 || pipe(told) != 0) victim::broken("pair");
    const pid_t child = fork();
    if (child == 0) {
      if (fork() != 0) _exit(0);
      close(pair[0]);
      close(told[0]);
      close(told[1]);
      char byte;
      while (read(pair[1], &byte, 1) == 1)
        if (write(pair[1], &byte, 1) != 1) break;
      _exit(0);
    }
    waitpid(child, nullptr, 0);
    close(pair[1]);
    close(told[0]);
    close(told[1]);
    announce("fd %ld\n", pair[0]);
    victim::work_until_stop();
    int ends[2] = {pair[0], pair[0]};
    return finish_socket(ends);
  }
  if (kind == "internet") {
    const int own = socket(AF_INET, SOCK_STREAM, 0);
    announce("fd %ld\n", own);
    victim::work_until_stop();
    return victim::finish();
  }
  if (kind == "other-name") {
    const int file = open("first.bin", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file < 0 || link("first.bin", "second.bin") != 0 || unlink("first.bin") != 0)
      victim::broken("second.bin");
    announce("fd %ld\n", file);
    victim::work_until_stop();
    if (write(file, "abc", 3) != 3 || victim::slurp("second.bin") != "abc")
      victim::lost("what was written");
    return victim::finish();
  }
  if (kind == "namespace") {
    const int file = open("/proc/self/ns/uts", O_RDONLY);
    if (file < 0) victim::skip("no namespaces here");
    announce("fd %ld\n", file);
    victim::work_until_stop();
    return victim::finish();
  }
  if (kind == "descriptor-table") {
    // A data segment of the program's own: entry 3, at 4096, 32 bits, in pages.
    const unsigned entry[4] = {3, 4096, 0xfffff, 0x51};
    if (syscall(SYS_modify_ldt, 1, entry, sizeof entry) != 0) victim::skip("no modify_ldt here");
    victim::work_until_stop();
    return victim::finish();
  }
  if (kind == "page-zero") {
    void* zero = mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zero == MAP_FAILED) victim::skip("page 0 cannot be mapped here");
    victim::work_until_stop();
    return victim::finish();
  }
  int fd = -1;
  if (kind == "inotify") {
    fd = inotify_init1(0);
    if (inotify_add_watch(fd, ".", IN_CREATE) < 0) victim::skip("no inotify here");
  } else if (kind == "mqueue") {
    mq_attr limits{};
    limits.mq_maxmsg = 1, limits.mq_msgsize = 8;
    const std::string name = "/ckpt-victim-" + std::to_string(getpid());
    fd = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &limits);
    if (fd < 0 || mq_send(fd, "12345678", 8, 0) != 0) victim::skip("no POSIX message queues here");
    mq_unlink(name.c_str());
  }
  if (fd < 0) victim::broken("what to hold");
  announce("fd %ld\n", fd);
  victim::work_until_stop();
  if (kind == "mqueue") {
    char text[8];
    if (mq_receive(fd, text, sizeof text, nullptr) != 8 || memcmp(text, "12345678", 8) != 0)
      victim::lost("what it holds");
  }
  return victim::finish();
}
