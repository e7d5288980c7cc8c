// SPDX-License-Identifier: MIT
//
// interpose OUT ERR PROGRAM ARGUMENT...: runs a program, with descriptors OUT and ERR as its output,
// and answers its system calls in the kernel's place. A seccomp filter, which the tasks that the
// program makes inherit, sends all calls here (SECCOMP_RET_USER_NOTIF) but those that cannot fail; one
// of a checkpoint or restart can be told to fail, to move half of its bytes, or to be the moment of a
// death.
//
// A test talks to it in lines, on standard input and output. Requests:
//   start             lets the program run
//   go SIGNAL FAULT   sends the signal and watches the calls that follow, until the program is back
//                     from its handler; SIGCONT (18) instead of start: the calls of a restart
//   quit              kills the program
// FAULT is `none`, or a call and what to do at it:
//   ROLE:CALL:K errno NUMBER | short | kill program|helper|both | hold MS program|helper|none
// ROLE: program, starter, helper, hasher; in a restart started, guardian, program; in both thread, for all
// threads of the program but its first. K counts that call of that role from 0. `hold` keeps the call
// waiting while the one named is killed.
// Answers: `call ROLE:CALL:K PID ARGUMENTS... [what was done]`, `killed WHO NANOSECONDS`, and at the
// end `end returned`, `end died STATUS` or `end hang ROLE:CALL:K`. A call that the test has not asked
// for goes to the kernel as it is.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

struct call {
  long number;
  const char* name;
};
#define CALL(name) {__NR_##name, #name}
// What agent and restarter use. Another call is seen by its number, so that a test can ask for its name.
constexpr call calls[] = {
    CALL(openat),        CALL(read),          CALL(pread64),       CALL(readv),
    CALL(write),         CALL(pwrite64),      CALL(writev),        CALL(lseek),
    CALL(newfstatat),    CALL(fstat),         CALL(ftruncate),     CALL(fchmod),
    CALL(fsync),         CALL(fdatasync),     CALL(renameat),      CALL(unlinkat),
    CALL(readlinkat),    CALL(getdents64),    CALL(flock),         CALL(fcntl),
    CALL(dup3),          CALL(ioctl),         CALL(umask),         CALL(chdir),
    CALL(pipe2),         CALL(tee),           CALL(poll),          CALL(close_range),
    CALL(mmap),          CALL(munmap),        CALL(mremap),        CALL(mprotect),
    CALL(madvise),       CALL(brk),           CALL(mlock2),        CALL(process_vm_readv),
    CALL(process_vm_writev),
    CALL(rt_sigaction),  CALL(rt_sigprocmask), CALL(rt_sigpending), CALL(rt_sigqueueinfo),
    CALL(rt_tgsigqueueinfo), CALL(rt_sigtimedwait), CALL(sigaltstack), CALL(clone),
    CALL(wait4),         CALL(waitid),        CALL(ptrace),        CALL(prctl),
    CALL(arch_prctl),    CALL(kcmp),          CALL(pidfd_open),    CALL(get_robust_list),
    CALL(set_robust_list), CALL(rseq),        CALL(personality),   CALL(prlimit64),
    CALL(execve),        CALL(nanosleep),     CALL(uname),         CALL(getrandom),
    CALL(getitimer),     CALL(setitimer),     CALL(timer_create),  CALL(timer_settime),
    CALL(timer_delete),  CALL(memfd_create),  CALL(statx),         CALL(setpriority),
    CALL(sched_setattr), CALL(sched_setaffinity), CALL(ioprio_set), CALL(syncfs),
    CALL(clone3),        CALL(unshare),       CALL(mount),         CALL(socketpair),
    CALL(setsockopt),    CALL(sendto),        CALL(recvmsg),       CALL(signalfd4),
    CALL(pidfd_send_signal), CALL(capset),
    CALL(kill),          CALL(tgkill),        CALL(mincore),       CALL(membarrier),    CALL(modify_ldt),
    CALL(fstatfs),       CALL(sched_getattr), CALL(sched_getaffinity), CALL(ioprio_get),
    CALL(capget),        CALL(getgroups),     CALL(setpgid),       CALL(setsid),
    CALL(rt_sigreturn),  // the way back into the program
};
#undef CALL

// What cannot fail or only waits; close(2) has closed even when it fails. access(2) is the program's own.
constexpr long not_asked[] = {
    __NR_access,    __NR_futex,     __NR_restart_syscall, __NR_sched_yield, __NR_exit,
    __NR_exit_group, __NR_close,    __NR_clock_gettime,   __NR_getpid,      __NR_getppid,
    __NR_gettid,    __NR_getuid,    __NR_geteuid,         __NR_getgid,      __NR_getegid,
    __NR_getresuid, __NR_getresgid, __NR_setfsuid,        __NR_setfsgid,    __NR_set_tid_address,
};

std::string name_of(long number) {
  for (const auto& c : calls)
    if (c.number == number) return c.name;
  return "call-" + std::to_string(number);
}

[[noreturn]] void die(const char* what) {
  fprintf(stderr, "interpose: %s: %s\n", what, strerror(errno));
  _exit(99);
}

void say(const std::string& line) {
  const std::string text = line + "\n";
  for (size_t done = 0; done < text.size();) {
    const ssize_t n = write(1, text.data() + done, text.size() - done);
    if (n < 0 && errno != EINTR) _exit(98);  // nobody listens any more
    if (n > 0) done += static_cast<size_t>(n);
  }
}

long long now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

int install_filter() {
  std::vector<sock_filter> code;
  const auto field = [&](size_t offset) {
    code.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<unsigned>(offset)));
  };
  const auto unless = [&](long value, unsigned char past) {
    code.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(value), 0, past));
  };
  const auto end = [&](unsigned action) { code.push_back(BPF_STMT(BPF_RET | BPF_K, action)); };
  field(offsetof(seccomp_data, nr));
  for (const long number : not_asked) {
    unless(number, 1);
    end(SECCOMP_RET_ALLOW);
  }
  // The stop below comes before there is anybody to ask.
  unless(__NR_kill, 3);
  field(offsetof(seccomp_data, args[1]));
  unless(SIGSTOP, 1);
  end(SECCOMP_RET_ALLOW);
  end(SECCOMP_RET_USER_NOTIF);
  const sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) die("no_new_privs");
  const long fd = syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER,
                          &program);
  if (fd < 0) die("seccomp");
  return static_cast<int>(fd);
}

struct fault {
  std::string at;      // ROLE:CALL:K, empty for none
  std::string action;  // errno, short, kill, hold
  int number = 0;      // the errno, or milliseconds
  std::string who;
  bool done = false;
};

class supervisor {
 public:
  supervisor(int listener, pid_t program) : listener_(listener), program_(program) {
    pidfd_ = static_cast<int>(syscall(__NR_pidfd_open, program, 0));
    if (pidfd_ < 0) die("pidfd_open");
  }

  int run() {
    for (;;) {
      pollfd fds[] = {{listener_, POLLIN, 0}, {pidfd_, POLLIN, 0}, {0, POLLIN, 0}};
      if (dead_) fds[1].fd = -1;
      const int timeout = waiting_.id != 0 ? 1 : watching_ || held_ ? 5 : 1000;
      if (poll(fds, 3, timeout) < 0 && errno != EINTR) die("poll");
      if ((fds[0].revents & POLLIN) != 0) serve();
      if ((fds[0].revents & POLLHUP) != 0) listener_ = -1;  // the last task is gone
      bury();
      if (held_ && now() >= release_at_) release();
      if (waiting_.id != 0 && has_bytes(waiting_)) {
        const auto n = std::exchange(waiting_, {});
        do_half(n);
      }
      if (watching_ && now() > deadline_) end("hang " + last_);
      if ((fds[2].revents & (POLLIN | POLLHUP)) != 0 && !listen()) break;
    }
    if (!dead_) kill(program_, SIGKILL);
    for (const auto& [tid, role] : roles_)
      if (role == "helper" || role == "guardian" || role == "program") kill(tid, SIGKILL);
    return 0;
  }

 private:
  bool listen() {
    char buffer[4096];
    const ssize_t n = read(0, buffer, sizeof buffer);
    if (n <= 0) return false;
    input_.append(buffer, static_cast<size_t>(n));
    for (size_t end; (end = input_.find('\n')) != std::string::npos; input_.erase(0, end + 1))
      if (!obey(input_.substr(0, end))) return false;
    return true;
  }

  bool obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "start") return kill(program_, SIGCONT) == 0;
    if (verb != "go") return false;
    int number = 0;
    fault_ = {};
    waiting_ = {};
    words >> number >> fault_.at >> fault_.action;
    if (fault_.at == "none") fault_.at.clear();
    if (fault_.action == "errno") words >> fault_.number;
    if (fault_.action == "kill") words >> fault_.who;
    if (fault_.action == "hold") words >> fault_.number >> fault_.who;
    roles_.clear();
    restart_ = number == SIGCONT;
    // Until there is a guardian, whoever was started may still be the one to become the program.
    roles_[program_] = restart_ ? "started" : "program";
    counts_.clear();
    starter_seen_ = false;
    last_ = "?";
    watching_ = true;
    deadline_ = now() + 15'000'000'000LL;
    if (dead_) end("died " + std::to_string(status_));
    else kill(program_, number);
    return true;
  }

  void end(const std::string& how) {
    watching_ = false;
    say("end " + how);
  }

  void bury() {
    int status = 0;
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG | __WALL)) > 0;)
      if (ended == program_) mourn(status);
  }
  void mourn(int status) {
    dead_ = true;
    status_ = status;
    status_ = WIFSIGNALED(status_) ? -WTERMSIG(status_) : WEXITSTATUS(status_);
    say("dead " + std::to_string(status_) + " " + std::to_string(now()));
    if (watching_) end("died " + std::to_string(status_));
  }

  /// The first task that the program makes is the starter, the next the helper; whoever shares the
  /// helper's thread group is its hasher.
  const std::string& role_of(pid_t tid) {
    const auto known = roles_.find(tid);
    if (known != roles_.end()) return known->second;
    const pid_t group = group_of(tid);
    if (group != tid) {
      const auto leader = roles_.find(group);
      const bool of_helper = leader != roles_.end() && leader->second == "helper";
      return roles_[tid] = of_helper ? "hasher" : "thread";
    }
    std::string role = starter_seen_ ? "helper" : "starter";
    if (restart_) role = starter_seen_ ? "program" : "guardian";
    starter_seen_ = true;
    return roles_[tid] = role;
  }

  static pid_t group_of(pid_t tid) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    FILE* file = fopen(path, "re");
    int group = tid;
    while (file && fgets(line, sizeof line, file))
      if (sscanf(line, "Tgid: %d", &group) == 1) break;
    if (file) fclose(file);
    return group;
  }

  void answer(__u64 id, int error, long long value, bool proceed) const {
    seccomp_notif_resp r{};
    r.id = id;
    r.error = -error;
    r.val = value;
    r.flags = proceed ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
    (void)ioctl(listener_, SECCOMP_IOCTL_NOTIF_SEND, &r);  // the caller may have died
  }

  void serve() {
    seccomp_notif n{};
    if (ioctl(listener_, SECCOMP_IOCTL_NOTIF_RECV, &n) != 0) return;
    if (!watching_) return answer(n.id, 0, 0, true);
    const pid_t tid = static_cast<pid_t>(n.pid);
    const auto& role = role_of(tid);
    if (n.data.nr == __NR_rt_sigreturn) {
      answer(n.id, 0, 0, true);
      if (role == "program" || (restart_ && role == "started")) end("returned");
      return;
    }
    const std::string base = role + ":" + name_of(n.data.nr);
    last_ = base + ":" + std::to_string(counts_[base]++);
    std::ostringstream line;
    line << "call " << last_ << ' ' << tid << std::hex;
    for (const auto a : {n.data.args[0], n.data.args[1], n.data.args[2], n.data.args[3]})
      line << " 0x" << a;
    line << std::dec;
    if (fault_.done || fault_.at != last_) {
      say(line.str());
      return answer(n.id, 0, 0, true);
    }
    fault_.done = true;
    if (fault_.action == "errno") {
      say(line.str() + " failed");
      return answer(n.id, fault_.number, 0, false);
    }
    say(line.str());
    if (fault_.action == "short") {
      // Who is to write what it reads may want an answer from us first.
      if (is_read(n.data.nr) && !has_bytes(n))
        waiting_ = n;
      else
        do_half(n);
      return;
    }
    strike(fault_.who);
    if (fault_.action == "hold") {
      held_ = true;
      held_id_ = n.id;
      release_at_ = now() + fault_.number * 1'000'000LL;
      return;
    }
    answer(n.id, 0, 0, true);
  }

  void release() {
    held_ = false;
    answer(held_id_, 0, 0, true);
    say("released " + std::to_string(now()));
  }

  void strike(const std::string& who) {
    if (who == "program" || who == "both") {
      say("killed program " + std::to_string(now()));
      kill(program_, SIGKILL);
    }
    for (const auto& [tid, role] : roles_)
      if ((who == "helper" || who == "both" || who == "starter") &&
          role == (who == "both" ? "helper" : who)) {
        say("killed " + role + " " + std::to_string(now()));
        kill(tid, SIGKILL);
      }
  }

  static bool is_read(long number) {
    return number == __NR_read || number == __NR_pread64 || number == __NR_readv;
  }
  static int copy_of_descriptor(const seccomp_notif& n) {
    const int group = static_cast<int>(syscall(__NR_pidfd_open, group_of(static_cast<pid_t>(n.pid)), 0));
    const int fd = static_cast<int>(syscall(__NR_pidfd_getfd, group, static_cast<int>(n.data.args[0]), 0));
    close(group);
    return fd;
  }
  /// Whether its read would not wait; one that has died meanwhile waits for nothing.
  bool has_bytes(const seccomp_notif& n) const {
    if (ioctl(listener_, SECCOMP_IOCTL_NOTIF_ID_VALID, &n.id) != 0) return true;
    pollfd p{copy_of_descriptor(n), POLLIN, 0};
    const bool has = p.fd < 0 || poll(&p, 1, 0) != 0;
    close(p.fd);
    return has;
  }
  void do_half(const seccomp_notif& n) const {
    const ssize_t moved = move_half(n);
    if (moved < 0) return answer(n.id, 0, 0, true);
    answer(n.id, 0, moved, false);
  }

  /// Half of what was asked for, moved through a copy of the caller's descriptor: its offset is the
  /// same one. Less than nothing where there is no half.
  static ssize_t move_half(const seccomp_notif& n) {
    const pid_t tid = static_cast<pid_t>(n.pid);
    const auto* a = n.data.args;
    std::vector<iovec> pieces;
    const bool vector = n.data.nr == __NR_readv || n.data.nr == __NR_writev;
    const bool in = is_read(n.data.nr);
    const bool out = n.data.nr == __NR_write || n.data.nr == __NR_pwrite64 ||
                     n.data.nr == __NR_writev;
    if (!in && !out) return -1;
    if (vector) {
      pieces.resize(a[2]);
      iovec local{pieces.data(), pieces.size() * sizeof(iovec)};
      iovec remote{reinterpret_cast<void*>(a[1]), local.iov_len};
      if (process_vm_readv(tid, &local, 1, &remote, 1, 0) != static_cast<ssize_t>(local.iov_len))
        return -1;
    } else {
      pieces.push_back({reinterpret_cast<void*>(a[1]), a[2]});
    }
    size_t total = 0;
    for (const auto& p : pieces) total += p.iov_len;
    if (total < 2) return -1;
    size_t left = total / 2;
    const size_t wanted = left;
    for (auto& p : pieces) {
      if (p.iov_len > left) p.iov_len = left;
      left -= p.iov_len;
    }
    const int fd = copy_of_descriptor(n);
    if (fd < 0) return -1;  // no such descriptor: the kernel says so, too
    std::vector<char> bytes(wanted);
    iovec local{bytes.data(), wanted};
    ssize_t moved = -1;
    if (out) {
      if (process_vm_readv(tid, &local, 1, pieces.data(), pieces.size(), 0) ==
          static_cast<ssize_t>(wanted))
        moved = n.data.nr == __NR_pwrite64 ? pwrite(fd, bytes.data(), wanted, static_cast<off_t>(a[3]))
                                           : write(fd, bytes.data(), wanted);
    } else {
      moved = n.data.nr == __NR_pread64 ? pread(fd, bytes.data(), wanted, static_cast<off_t>(a[3]))
                                        : read(fd, bytes.data(), wanted);
      local.iov_len = moved > 0 ? static_cast<size_t>(moved) : 0;
      if (moved > 0 && process_vm_writev(tid, &local, 1, pieces.data(), pieces.size(), 0) != moved)
        die("process_vm_writev");
    }
    close(fd);
    return moved;
  }

  int listener_;
  pid_t program_;
  int pidfd_ = -1;
  bool dead_ = false;
  int status_ = 0;
  bool watching_ = false;
  bool starter_seen_ = false;  // in a restart: the guardian
  bool restart_ = false;
  long long deadline_ = 0;
  bool held_ = false;
  __u64 held_id_ = 0;
  long long release_at_ = 0;
  seccomp_notif waiting_{};  // to read half, when there is something
  fault fault_;
  std::string input_, last_;
  std::map<pid_t, std::string> roles_;
  std::map<std::string, int> counts_;
};

}  // namespace

int main(int count, char** values) {
  if (count < 4) {
    fputs("usage: interpose OUT ERR PROGRAM ARGUMENT...\n", stderr);
    return 99;
  }
  const int out = atoi(values[1]), err = atoi(values[2]);
  // What the program leaves behind comes here, so that nothing outlives the test unseen.
  prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  const pid_t program = fork();
  if (program == 0) {
    const int null = open("/dev/null", O_RDONLY);
    if (dup2(null, 0) != 0 || dup2(out, 1) != 1 || dup2(err, 2) != 2) _exit(99);
    close_range(3, ~0u, 0);
    install_filter();
    // From here on only calls that nobody need answer, until there is somebody.
    syscall(__NR_kill, syscall(__NR_getpid), SIGSTOP);
    execvp(values[3], values + 3);
    _exit(127);
  }
  close(out);
  close(err);
  int status = 0;
  if (waitpid(program, &status, WUNTRACED) != program || !WIFSTOPPED(status)) die("start");
  const int pidfd = static_cast<int>(syscall(__NR_pidfd_open, program, 0));
  // 0 to 2 are its own, so the filter's descriptor is the next.
  const int listener = static_cast<int>(syscall(__NR_pidfd_getfd, pidfd, 3, 0));
  if (listener < 0) die("pidfd_getfd");
  close(pidfd);
  say("pid " + std::to_string(program));
  return supervisor(listener, program).run();
}
