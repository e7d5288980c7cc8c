// SPDX-License-Identifier: MIT
#include "command.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "spool.hpp"
#include "wire_connection.hpp"

namespace ckpt::transfer {

command::command(const std::string& line, bool reads) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw transfer_error("no pipe: " + std::string(std::strerror(errno)));
  pid_ = fork();
  if (pid_ == 0) {
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    // What comes on standard input is the program's, or somebody waits for its end.
    if (!reads) dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    dup2(ends[reads ? 0 : 1], reads ? 0 : 1);
    execl("/bin/sh", "sh", "-c", line.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  const int mine = ends[reads ? 1 : 0];
  close(ends[reads ? 0 : 1]);
  end_ = sys::unique_fd(mine);
  if (pid_ < 0) throw transfer_error("no process: " + std::string(std::strerror(errno)));
  setpgid(pid_, pid_);
}

command::~command() {
  // It must not take the end of a torn stream for the end of a whole one.
  if (pid_ > 0) {
    kill(-pid_, SIGKILL);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

void command::feed(bytes piece) {
  try {
    write_all(end_.get(), piece);
  } catch (const transfer_error&) {
    finish();  // it has ended, and how says more
    throw transfer_error("the command has not taken all of it");
  }
}

void command::finish() {
  end_.reset();
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  pid_ = 0;
  if (WIFSIGNALED(status)) throw transfer_error("the command was killed by signal " + std::to_string(WTERMSIG(status)));
  if (WEXITSTATUS(status) != 0) throw transfer_error("the command ended with status " + std::to_string(WEXITSTATUS(status)));
}

}  // namespace ckpt::transfer
