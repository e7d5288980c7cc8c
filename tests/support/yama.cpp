// SPDX-License-Identifier: MIT
//
// yama RULE USER COMMAND ARGUMENT... [-- PROGRAM ARGUMENT...]: runs a command as that user under a rule
// of Yama's, on kernels that have none. /proc/sys/kernel/yama/ptrace_scope says the rule, and whoever
// attaches or copies memory is answered as Yama would answer (Documentation/admin-guide/LSM/Yama.rst):
// 1 root and ancestors may, 2 root, 3 nobody. The PROGRAM is a child of the command, outside the rule;
// its output goes to the file `output`, the command begins when there is a file `go`, and PID in its
// arguments is the program's. Status 77 where that cannot be set up.
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

namespace {

constexpr int cannot = 77;

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "yama: %s: %s\n", what, std::strerror(errno));
  _exit(cannot);
}

void become(unsigned user) {
  if (user == 0) return;
  if (setgroups(0, nullptr) != 0 || setresgid(user, user, user) != 0 || setresuid(user, user, user) != 0)
    give_up("another user");
}

long number_in(pid_t task, const char* key) {
  std::ifstream status("/proc/" + std::to_string(task) + "/status");
  for (std::string word; status >> word;)
    if (long value = 0; word == key && status >> value) return value;
  return -1;
}

bool may(char rule, pid_t who, pid_t target) {
  const long self = number_in(who, "Tgid:");
  long walker = number_in(target, "Tgid:");
  if (walker == self) return true;
  if (rule == '3') return false;
  if (number_in(who, "Uid:") == 0) return true;
  if (rule == '2') return false;
  for (; walker > 0; walker = number_in(static_cast<pid_t>(walker), "PPid:"))
    if (walker == self) return true;
  return false;
}

int filter() {
#define WORD(where) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(where))
#define IS(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(value), yes, no)
  sock_filter code[] = {
      WORD(offsetof(seccomp_data, nr)),
      IS(__NR_process_vm_readv, 5, 0),
      IS(__NR_process_vm_writev, 4, 0),
      IS(__NR_ptrace, 0, 4),
      WORD(offsetof(seccomp_data, args)),
      IS(PTRACE_SEIZE, 1, 0),
      IS(PTRACE_ATTACH, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
#undef WORD
#undef IS
  sock_fprog program{sizeof code / sizeof code[0], code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  return static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
}

[[noreturn]] void answer(char rule, int listener) {
  for (;;) {
    seccomp_notif asked{};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) {
      if (errno == EINTR) continue;
      // ENOENT is also for one that has died meanwhile.
      pollfd state{listener, POLLIN, 0};
      if (errno == ENOENT && poll(&state, 1, 0) >= 0 && (state.revents & POLLHUP) == 0) continue;
      _exit(0);
    }
    const bool is_ptrace = asked.data.nr == __NR_ptrace;
    const auto target = static_cast<pid_t>(asked.data.args[is_ptrace ? 1 : 0]);
    seccomp_notif_resp answered{};
    answered.id = asked.id;
    if (may(rule, static_cast<pid_t>(asked.pid), target))
      answered.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else
      answered.error = -EPERM;
    (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answered);
  }
}

void show_rule(char rule) {
  if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      mount("none", "/proc/sys/kernel", "tmpfs", 0, "mode=755") != 0 ||
      mkdir("/proc/sys/kernel/yama", 0755) != 0)
    give_up("a mount");
  std::ofstream("/proc/sys/kernel/yama/ptrace_scope") << rule << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const char rule = argv[1][0];
  const auto user = static_cast<unsigned>(std::atoi(argv[2]));
  char** command = argv + 3;
  char** program = command;
  while (*program != nullptr && std::strcmp(*program, "--") != 0) ++program;
  std::string child;
  if (*program != nullptr) {
    *program++ = nullptr;
    const pid_t pid = fork();
    if (pid < 0) give_up("fork");
    if (pid == 0) {
      become(user);
      const int output = open("output", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
      if (output < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) give_up("output");
      execv(program[0], program);
      give_up(program[0]);
    }
    child = std::to_string(pid);
    while (access("go", F_OK) != 0) usleep(1000);
  }
  show_rule(rule);
  int numbers[2], taken[2];
  if (pipe2(numbers, O_CLOEXEC) != 0 || pipe2(taken, O_CLOEXEC) != 0) give_up("pipe");
  const pid_t self = getpid();
  const pid_t supervisor = fork();
  if (supervisor < 0) give_up("fork");
  char word = 0;
  if (supervisor == 0) {
    int number = -1;
    if (read(numbers[0], &number, sizeof number) != sizeof number) _exit(1);
    const int process = static_cast<int>(syscall(SYS_pidfd_open, self, 0));
    const int listener = static_cast<int>(syscall(SYS_pidfd_getfd, process, number, 0));
    if (listener < 0 || write(taken[1], &word, 1) != 1) give_up("pidfd_getfd");
    for (const int fd : {0, 1, 2, numbers[0], numbers[1], taken[0], taken[1], process}) close(fd);
    answer(rule, listener);
  }
  close(taken[1]);
  become(user);
  const int listener = filter();
  if (listener < 0) give_up("seccomp");
  if (write(numbers[1], &listener, sizeof listener) != sizeof listener || read(taken[0], &word, 1) != 1)
    give_up("the supervisor");
  close(listener);
  for (char** each = command; *each != nullptr; ++each)
    if (std::strcmp(*each, "PID") == 0 && !child.empty()) *each = child.data();
  execv(command[0], command);
  give_up(command[0]);
}
