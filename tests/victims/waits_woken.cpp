// SPDX-License-Identifier: MIT
// Calls that wait for somebody outside, each named by the argument; tests/e2e/calls.py is the other
// side. The program has no handlers, so it sees no EINTR; everything arrives once and in order.
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "sleeping.hpp"

static int identifier;  // of what the test has made outside
static const char* name;

static void wrong(long result) {
  victim::lost("%s: %ld, errno %d (%s)", name, result, errno, strerror(errno));
}

// --- records from outside ----------------------------------------------------------------------
static unsigned expected;
static void check_record(const char* record) {
  char wanted[16];
  snprintf(wanted, sizeof wanted, "%07u\n", expected++);
  if (memcmp(record, wanted, 8) != 0)
    victim::lost("%s: record '%.7s', not %.7s", name, record, wanted);
}
static void read_record(int fd, size_t wanted = 8) {
  char record[64];
  ssize_t got = read(fd, record, wanted);
  got == 8 ? check_record(record) : wrong(got);
}
static void readv_record() {
  char record[8];
  iovec parts[2] = {{record, 3}, {record + 3, 5}};
  ssize_t got = readv(0, parts, 2);
  got == 8 ? check_record(record) : wrong(got);
}
static void read_terminal() {
  read_record(0, 64);  // a terminal gives one line
}
static void poll_record() {
  pollfd fd{0, POLLIN, 0};
  int got = poll(&fd, 1, -1);
  got == 1 ? read_record(0) : wrong(got);
}
static void select_record() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(0, &set);
  int got = select(1, &set, nullptr, nullptr, nullptr);
  got == 1 ? read_record(0) : wrong(got);
}
// Who opens a fifo again may still meet the last writer, and who writes the last reader: only the
// order of the records is certain.
static void open_fifo() {
  int fd = open("fifo", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return wrong(fd);
  char record[9] = {};
  ssize_t got = read(fd, record, 8);
  close(fd);
  if (got == 0) return;
  unsigned number = static_cast<unsigned>(atoi(record));
  if (got != 8 || number < expected) wrong(got);
  expected = number + 1;
}
struct message {
  long type;
  char text[4096];
};
static void receive_message() {
  message m{};
  ssize_t got = msgrcv(identifier, &m, sizeof m.text, 0, 0);
  got == 8 ? check_record(m.text) : wrong(got);
}
static void take_semaphore() {
  sembuf take{0, -1, 0};
  int got = semop(identifier, &take, 1);
  if (got != 0) wrong(got);
}

// --- records to outside ------------------------------------------------------------------------
static void send_message() {
  message m{};
  m.type = 1;
  snprintf(m.text, sizeof m.text, "%07u", expected);
  int got = msgsnd(identifier, &m, sizeof m.text, 0);
  got == 0 ? void(++expected) : wrong(got);
}
static uint64_t sent;
static constexpr size_t block = 150'000;  // more than a pipe holds
static unsigned char bytes[block + 256];
static void prepare_bytes() {
  for (size_t i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<unsigned char>(i % 251);
}
static void advance(ssize_t got) {
  got > 0 ? void(sent += static_cast<uint64_t>(got)) : wrong(got);
}
static unsigned char* next_bytes() {
  return bytes + sent % 251;
}
static void write_block() {
  advance(write(0, next_bytes(), block));
}
static void writev_block() {
  iovec parts[2] = {{next_bytes(), 1000}, {next_bytes() + 1000, block - 1000}};
  advance(writev(0, parts, 2));
}
static int source = -1;
static void prepare_source() {
  prepare_bytes();
  source = open("source", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (source < 0 || write(source, bytes, sizeof bytes) != sizeof bytes) victim::broken("source");
}
static void send_file() {
  off_t from = static_cast<off_t>(sent % 251);
  advance(sendfile(0, source, &from, block));
}
static void splice_file() {
  off_t from = static_cast<off_t>(sent % 251);
  advance(splice(source, &from, 0, nullptr, block, 0));
}

// --- a lock that somebody else has -------------------------------------------------------------
static int lock = -1;
static void prepare_lock() {
  lock = open("lock", O_RDWR | O_CLOEXEC);
  if (lock < 0) victim::broken("lock");
}
static void check_alone() {
  char state = 0;
  if (pread(lock, &state, 1, 0) != 1 || state != ' ')
    victim::lost("%s: somebody else has it", name);
}
static void rest() {
  usleep(2000);
}
static void lock_whole() {
  int got = flock(lock, LOCK_EX);
  got == 0 ? check_alone() : wrong(got);
  flock(lock, LOCK_UN);
  rest();
}
static void lock_range(int command, int unlock) {
  struct flock range {};
  range.l_type = F_WRLCK;
  int got = fcntl(lock, command, &range);
  got == 0 ? check_alone() : wrong(got);
  range.l_type = F_UNLCK;
  fcntl(lock, unlock, &range);
  rest();
}
static void lock_posix() {
  lock_range(F_SETLKW, F_SETLK);
}
static void lock_description() {
  lock_range(F_OFD_SETLKW, F_OFD_SETLK);
}

// --- a child -----------------------------------------------------------------------------------
static pid_t child() {
  pid_t made = fork();
  if (made == 0) {
    usleep(static_cast<useconds_t>(victim::nap / 1000));
    _exit(7);
  }
  return made;
}
static void wait_for_child() {
  pid_t made = child();
  int status = 0;
  pid_t got = wait4(-1, &status, 0, nullptr);
  if (got != made || !WIFEXITED(status) || WEXITSTATUS(status) != 7) wrong(got);
}
static void waitid_for_child() {
  pid_t made = child();
  siginfo_t info{};
  int got = waitid(P_PID, static_cast<id_t>(made), &info, WEXITED);
  if (got != 0 || info.si_pid != made || info.si_status != 7) wrong(got);
}

static void nothing() {}

struct woken_call {
  const char* name;
  void (*prepare)();
  void (*call)();
};
static const woken_call calls[] = {
    {"readv", nothing, readv_record},
    {"read_terminal", nothing, read_terminal},
    {"poll_for_ever", nothing, poll_record},
    {"select_for_ever", nothing, select_record},
    {"open_fifo", nothing, open_fifo},
    {"msgrcv", nothing, receive_message},
    {"msgsnd", nothing, send_message},
    {"semop", nothing, take_semaphore},
    {"write", prepare_bytes, write_block},
    {"writev", prepare_bytes, writev_block},
    {"sendfile", prepare_source, send_file},
    {"splice", prepare_source, splice_file},
    {"flock", prepare_lock, lock_whole},
    {"setlkw", prepare_lock, lock_posix},
    {"ofd_setlkw", prepare_lock, lock_description},
    {"wait4", nothing, wait_for_child},
    {"waitid", nothing, waitid_for_child},
};

int main(int count, char** values) {
  victim::begin(count, values);
  const auto& chosen = victim::chosen(count, values, calls);
  name = chosen.name;
  if (count > 3) identifier = atoi(values[3]);
  chosen.prepare();
  victim::ready();
  while (!victim::stop_requested()) {
    errno = 0;
    chosen.call();
  }
  return victim::finish();
}
