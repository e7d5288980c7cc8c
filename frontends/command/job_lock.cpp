// SPDX-License-Identifier: MIT
#include "job_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "ckpt/image/owner.hpp"

namespace ckpt::command {
namespace {

/// What a holder writes into the lock.
std::string text_of(pid_t pid) {
  char host[128] = {};
  if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
  return "process " + std::to_string(pid) + (*host != '\0' ? " on " : "") + host;
}

/// Whether it was a process here and is no more.
bool is_dead(const std::string& holder) {
  int pid = 0;
  if (std::sscanf(holder.c_str(), "process %d", &pid) != 1 || pid <= 0 || holder != text_of(pid))
    return false;
  const auto seen = image::look_at_process(pid);
  return seen.ok() ? !seen->lives : kill(pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

bool job_lock::take(const std::string& image, std::string& holder, int& error) {
  const auto slash = image.rfind('/');
  path_ = image.substr(0, slash + 1) + "." + image.substr(slash + 1).substr(0, 200) + ".ckpt-lock";
  // A queue may start the line again before the witness of a ckpt that was killed is done: that kills
  // the program, waits a second for its end, and lets go.
  for (int patience = 150;;) {
    const int opened = open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (opened < 0) {
      error = errno;
      return false;
    }
    // In a directory that others write to the name may lead to a file of ours that is more than a lock,
    // and it will be cut to nothing.
    struct stat found {};
    if (fstat(opened, &found) != 0 || !S_ISREG(found.st_mode) || found.st_nlink > 1) {
      close(opened);
      error = EPERM;
      return false;
    }
    // Away from standard input, output and error, which may be closed.
    fd_ = sys::unique_fd(fcntl(opened, F_DUPFD_CLOEXEC, 3));
    close(opened);
    // Of the open file and not of the process: a child of ours that outlives us holds it, too.
    struct flock whole {};
    whole.l_type = F_WRLCK;
    if (fcntl(fd_.get(), F_OFD_SETLK, &whole) != 0) {
      error = errno == EACCES ? EAGAIN : errno;
      if (error != EAGAIN) return error == ENOLCK || error == EOPNOTSUPP || error == EINVAL;
      char text[256] = {};
      const ssize_t size = pread(fd_.get(), text, sizeof text - 1, 0);
      holder.assign(text, size > 0 ? static_cast<std::size_t>(size) : 0);
      if (patience-- == 0 || !is_dead(holder)) return false;
      constexpr timespec a_while{0, 10'000'000};
      nanosleep(&a_while, nullptr);
      continue;
    }
    // Whoever held it before may have removed the file that we have just locked.
    struct stat ours {}, there {};
    if (fstat(fd_.get(), &ours) == 0 && stat(path_.c_str(), &there) == 0 &&
        ours.st_ino == there.st_ino && ours.st_dev == there.st_dev)
      break;
  }
  const std::string text = text_of(getpid());
  if (ftruncate(fd_.get(), 0) != 0 || pwrite(fd_.get(), text.data(), text.size(), 0) < 0) return true;
  return true;
}

void job_lock::remove() {
  if (fd_) (void)unlink(path_.c_str());
}

}  // namespace ckpt::command
