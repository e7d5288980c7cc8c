/* SPDX-License-Identifier: MIT
 * A user of ckpt_fds (ckpt.h), in plain C: functions look at the table of descriptors and say what
 * becomes of each, as the second argument asks for. It looks at itself when it has been restarted
 * or has gone on; tests/e2e/descriptors.py drives it. */
#include <ckpt.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>

#include "plain.h"

static const char* mode;
static int data, copy, logged, device, ends[2], pair[2], listener, client, datagram, notes;
static int unlinked, queue, called;
static struct ckptfdtbl* table;

static int is(const char* wanted) {
  return strcmp(mode, wanted) == 0;
}
static int is_open(int fd) {
  return fcntl(fd, F_GETFD) >= 0;
}

static struct ckptfd* entry(int fd) {
  unsigned i;
  for (i = 0; table != NULL && i < table->nfd; ++i)
    if (table->fds[i].fd == fd) return &table->fds[i];
  return NULL;
}
static void expect_type(const char* what, int fd, int type) {
  const struct ckptfd* e = entry(fd);
  expect(what, e != NULL && e->type == type && e->treatment == CKPT_FD_RESTORE);
  expect("a file and nothing else has a path",
         e != NULL && (e->u.reg != NULL) == (type == CKPT_FD_REGULAR || type == CKPT_FD_DEV));
}
static void expect_file(const char* what, int fd, int flags, off_t offset, const char* end) {
  const struct ckptfd* e = entry(fd);
  size_t length = strlen(end);
  expect(what, e != NULL && e->u.reg != NULL && e->u.reg->mode == flags &&
                   e->u.reg->offset == offset && e->u.reg->path != NULL &&
                   strlen(e->u.reg->path) >= length &&
                   strcmp(e->u.reg->path + strlen(e->u.reg->path) - length, end) == 0);
}
static void ignore(int fd) {
  struct ckptfd* e = entry(fd);
  if (e != NULL) e->treatment = CKPT_FD_IGNORE;
}
static void put_path(int fd, const char* path) {
  struct ckptfd* e = entry(fd);
  if (e == NULL || e->u.reg == NULL) return;
  free(e->u.reg->path);
  e->u.reg->path = strdup(path);
}
static void ignore_what_cannot_be_saved(void) {
  ignore(listener);
  ignore(client);
  ignore(datagram);
  ignore(notes);
}

/* `first`: of the program as it was started. */
static void look_at(int first) {
  unsigned i;
  expect("a table", table != NULL && table->nfd > 10);
  for (i = 0; table != NULL && i + 1 < table->nfd; ++i)
    expect("an ascending table", table->fds[i].fd < table->fds[i + 1].fd);
  expect_type("a file", data, CKPT_FD_REGULAR);
  expect_type("a device", device, CKPT_FD_DEV);
  expect_type("a pipe", ends[1], CKPT_FD_PIPE);
  expect_type("a pair", pair[0], CKPT_FD_UNIXSOCK);
  expect_file("path and offset", data, O_RDONLY, 5, "/data.txt");
  expect_file("of a copy", copy, O_RDONLY, 5, "/data.txt");
  expect_file("flags", logged, O_WRONLY | O_APPEND, 6, "/log.txt");
  expect_file("of a device", device, O_RDWR, 0, "/dev/null");
  /* It is made again without one. */
  expect_file("of a file without a name", unlinked, O_RDWR, 3, first ? "/gone.txt" : "");
}

static void before(void* argument) {
  expect("the argument", argument == &called);
  ++called;
  table = ckpt_fds();
  expect("the same table twice", table == ckpt_fds());
  if (is("types")) {
    look_at(ckpt_generation() == 0);
  }
  if (is("types") && ckpt_generation() == 0) {
    expect_type("a listening socket", listener, CKPT_FD_TCPSOCK);
    expect_type("a connected socket", client, CKPT_FD_TCPSOCK);
    expect_type("a datagram socket", datagram, CKPT_FD_UDPSOCK);
    expect_type("something else", notes, CKPT_FD_UNKNOWN);
  }
  if (is("close")) {
    close(listener);
    close(client);
    close(datagram);
    close(notes);
  } else if (!is("restore") && !is("option")) {
    ignore_what_cannot_be_saved();
  }
  if (is("one-end")) {  /* of a pipe, of a pair, and one of two that share a file */
    ignore(ends[1]);
    ignore(pair[1]);
    ignore(data);
  }
  if (is("path")) {
    put_path(data, "moved.txt");
    put_path(logged, "log2.txt");
    put_path(device, "device.txt");
    put_path(unlinked, "moved.txt");
  }
}
static void after(void* unused) {
  (void)unused;
  expect("a table afterwards, too", ckpt_fds() != NULL);
}
static void restarted(void* unused) {
  (void)unused;
  table = ckpt_fds();
  if (is("types") || is("restart-path")) {
    look_at(ckpt_generation() == 1);
    expect("nothing of what was ignored", entry(listener) == NULL && entry(notes) == NULL);
  }
  if (is("restart-path")) {
    put_path(copy, "moved.txt");
    put_path(logged, "log2.txt");
    put_path(unlinked, "moved.txt");
    ignore(device);
    ignore(pair[0]);
  }
}

static int inet(int type) {
  struct sockaddr_in address;
  int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (struct sockaddr*)&address, sizeof address) != 0) exit(2);
  return fd;
}
static void reads(const char* what, int fd, const char* wanted) {
  char got[64] = "";
  expect(what, read(fd, got, strlen(wanted)) == (ssize_t)strlen(wanted) &&
                   strcmp(got, wanted) == 0);
}
static int is_path(int fd, const char* wanted) {
  char link[64], path[4096];
  ssize_t size;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  size = readlink(link, path, sizeof path - 1);
  if (size < 0) return 0;
  path[size] = 0;
  return strlen(path) >= strlen(wanted) && strcmp(path + size - strlen(wanted), wanted) == 0;
}

static void look(int was_restarted) {
  struct epoll_event happened[4];
  expect("an epoll forgets what is ignored and knows the rest",
         epoll_wait(queue, happened, 4, 0) == 1 && happened[0].data.fd == ends[0]);
  const int closed = is("close") || was_restarted;
  expect("what is ignored is closed after a restart", is_open(listener) == !closed &&
                                                          is_open(client) == !closed &&
                                                          is_open(datagram) == !closed &&
                                                          is_open(notes) == !closed);
  if (is("restart-path") && was_restarted) {
    reads("the other file, at its offset", data, "elsewhere");
    reads("and its copy goes on there", copy, "!");
    expect("ignored in a restart", !is_open(device) && !is_open(pair[0]) && is_open(pair[1]));
    reads("the end of a pair", pair[1], "");
    expect("another log", is_path(logged, "/log2.txt") && write(logged, "more\n", 5) == 5);
    expect("in place of one without a name", is_path(unlinked, "/moved.txt"));
    return;
  }
  if (is("path") && was_restarted) {
    reads("the other file, at its offset", data, "elsewhere");
    reads("and its copy goes on there", copy, "!");
    expect("another log", is_path(logged, "/log2.txt") && write(logged, "more\n", 5) == 5);
    expect("a file in place of a device", is_path(device, "/device.txt"));
    expect("in place of one without a name", is_path(unlinked, "/moved.txt"));
    return;
  }
  if (is("one-end") && was_restarted) {
    char byte;
    expect("one of each is gone", !is_open(ends[1]) && !is_open(pair[1]) && !is_open(data));
    reads("what was in the pipe", ends[0], "pipe");
    expect("then its end", read(ends[0], &byte, 1) == 0);
    reads("what was in the pair", pair[0], "pair");
    expect("and its end", read(pair[0], &byte, 1) == 0);
    reads("the other that shares the file", copy, "and what");
    return;
  }
  reads("the file, at its offset", data, "and what");
  reads("its copy goes on there", copy, " more");
  expect("the log", is_path(logged, "/log.txt") && write(logged, "more\n", 5) == 5);
  reads("the pipe", ends[0], "pipe");
  reads("the pair", pair[0], "pair");
  reads("a file without a name", unlinked, "name");
}

int main(int count, char** values) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  struct epoll_event event;
  if (count < 3) return 2;
  stop_file = values[1];
  mode = values[2];
  data = open("data.txt", O_RDONLY);
  copy = dup(data);
  logged = open("log.txt", O_WRONLY | O_APPEND | O_CREAT, 0600);
  device = open("/dev/null", O_RDWR);
  unlinked = open("gone.txt", O_RDWR | O_CREAT, 0600);
  listener = inet(SOCK_STREAM);
  datagram = inet(SOCK_DGRAM);
  client = socket(AF_INET, SOCK_STREAM, 0);
  notes = inotify_init1(IN_CLOEXEC);
  if (data < 0 || copy < 0 || lseek(data, 5, SEEK_SET) != 5 || logged < 0 ||
      write(logged, "begun\n", 6) != 6 || unlinked < 0 || write(unlinked, "no name", 7) != 7 ||
      lseek(unlinked, 3, SEEK_SET) != 3 || unlink("gone.txt") != 0 || pipe(ends) != 0 ||
      write(ends[1], "pipe", 4) != 4 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 ||
      write(pair[1], "pair", 4) != 4 || listen(listener, 1) != 0 || notes < 0 ||
      getsockname(listener, (struct sockaddr*)&address, &size) != 0 ||
      connect(client, (struct sockaddr*)&address, size) != 0)
    return 2;
  queue = epoll_create1(EPOLL_CLOEXEC);
  event.events = EPOLLIN;
  event.data.fd = notes;
  if (epoll_ctl(queue, EPOLL_CTL_ADD, notes, &event) != 0) return 2;
  event.data.fd = ends[0];
  if (epoll_ctl(queue, EPOLL_CTL_ADD, ends[0], &event) != 0) return 2;
  expect("a table outside of functions", ckpt_fds() == NULL);
  if (!is("option")) {
    ckpt_on_preckpt(before, &called);
    ckpt_on_postckpt(after, NULL);
    ckpt_on_restart(restarted, NULL);
  }
  say("ready\n");
  while (access(stop_file, F_OK) != 0) {
    volatile unsigned i;
    for (i = 0; i < 100000; ++i) continue;
  }
  look(ckpt_restarted());
  if (losses == 0) say("ok\n");
  return losses != 0;
}
