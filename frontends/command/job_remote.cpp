// SPDX-License-Identifier: MIT
#include "job_remote.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "ckpt/base/text.hpp"
#include "ckpt/format/checksum.hpp"
#include "launch.hpp"

namespace ckpt::command {
namespace {

constexpr int no_program = 127;

/// ckpt-transfer with these words; `input` and `status` are its descriptors 0 and 3.
class carrier {
 public:
  carrier(std::vector<std::string> words, int input, int status) {
    const char* chosen = std::getenv("CKPT_TRANSFER");
    std::string program = chosen != nullptr ? chosen : transfer_path();
    if (program.empty()) program = "ckpt-transfer";
    words.insert(words.begin(), "ckpt-transfer");
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ != 0) return;
    // What this one takes for itself, that one dies of.
    struct sigaction standard {};
    for (int signal = 1; signal <= SIGRTMAX; ++signal) (void)sigaction(signal, &standard, nullptr);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    // Out of the way of what it gets as its own.
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    const int in = fcntl(input >= 0 ? input : null, F_DUPFD_CLOEXEC, 10);
    const int out = status >= 0 ? fcntl(status, F_DUPFD_CLOEXEC, 10) : -1;
    if (dup2(in, 0) < 0 || dup2(null, 1) < 0 || (out >= 0 && dup2(out, 3) < 0)) _exit(no_program);
    (void)syscall(SYS_close_range, out >= 0 ? 4 : 3, ~0u, 0);
    unsetenv("LD_PRELOAD");  // nobody checkpoints it
    execvp(program.c_str(), arguments.data());
    _exit(no_program);
  }
  ~carrier() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    (void)status();
  }
  carrier(const carrier&) = delete;
  carrier& operator=(const carrier&) = delete;

  [[nodiscard]] bool started() const { return pid_ > 0; }
  /// Of its end, -1 for a signal.
  int status() {
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t pid_ = 0;
};

constexpr auto not_there =
    "there is no ckpt-transfer, which brings it, beside ckpt or in PATH; install it, or say where it is with CKPT_TRANSFER";

changed change(std::vector<std::string> words) {
  carrier c(std::move(words), -1, -1);
  if (!c.started()) return changed::failed;
  switch (c.status()) {
    case 0: return changed::yes;
    case 1: return changed::absent;
    case 3: return changed::occupied;
    default: return changed::failed;
  }
}

bool private_pipe(sys::unique_fd& read, sys::unique_fd& write) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return false;
  // Away from standard input, output and error, which may be closed.
  read = sys::unique_fd(fcntl(ends[0], F_DUPFD_CLOEXEC, 3));
  write = sys::unique_fd(fcntl(ends[1], F_DUPFD_CLOEXEC, 3));
  close(ends[0]);
  close(ends[1]);
  return read && write;
}

}  // namespace

remote_image fetch(const std::string& name, bool only_head, const std::function<bool()>& stop) {
  using outcome = remote_image::outcome;
  remote_image image;
  sys::unique_fd its_input, hold, answer, its_status;
  if (!private_pipe(its_input, hold) || !private_pipe(answer, its_status)) {
    image.why = std::strerror(errno);
    return image;
  }
  std::vector<std::string> words{"--status-fd=3", "fetch", name};
  if (only_head) words.insert(words.begin(), "--only-head");
  carrier c(std::move(words), its_input.get(), its_status.get());
  its_input.reset();
  its_status.reset();
  std::string said;
  while (c.started()) {
    pollfd p{answer.get(), POLLIN, 0};
    const int ready = poll(&p, 1, 20);
    if (stop()) {
      image.state = outcome::interrupted;
      return image;
    }
    if (ready <= 0) continue;
    char room[1024];
    const ssize_t n = read(answer.get(), room, sizeof room);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    said.append(room, static_cast<std::size_t>(n));
    if (said[0] == 'D') break;  // the rest of the path came with it
  }
  const char letter = said.empty() ? '\0' : said[0];
  if (letter != '\0') said.erase(0, 1);
  if (letter == 'D') {
    image.file = sys::unique_fd(open(said.c_str(), O_RDONLY | O_CLOEXEC));
    if (image.file && image.file.get() < 3)
      image.file = sys::unique_fd(fcntl(image.file.get(), F_DUPFD_CLOEXEC, 3));
    if (image.file) image.state = outcome::there;
    else image.why = "cannot open what was fetched: " + std::string(std::strerror(errno));
    hold.reset();
    (void)c.status();
    return image;
  }
  image.why = said;
  if (letter == 'N') image.state = outcome::absent;
  if (letter == 'B') image.state = outcome::damaged;
  if (letter == '\0') {
    const int ended = c.started() ? c.status() : no_program;
    image.why = ended == no_program ? not_there : "ckpt-transfer has died (out of memory, or killed)";
  }
  return image;
}

changed remove_remote(const std::string& name) { return change({"remove", name}); }

changed move_remote(const std::string& name, const std::string& to, bool replace) {
  if (replace) return change({"move", name, to});
  return change({"--no-replace", "move", name, to});
}

std::string fallback_of(const std::string& name) {
  const char* directory = std::getenv("CKPT_FALLBACK");
  if (directory == nullptr || *directory == '\0') return {};
  return std::string(directory) + "/" + name.substr(name.rfind('/') + 1);
}

std::string lock_place_of(const std::string& name) {
  fixed_text<64> mark;
  mark.append(hex{format::checksum(bytes_of_text(name))});
  const std::string file = std::string(mark.view()) + "-" + name.substr(name.rfind('/') + 1).substr(0, 100);
  const auto variable = [](const char* which) {
    const char* value = std::getenv(which);
    return std::string(value != nullptr && *value == '/' ? value : "");
  };
  std::string state = variable("XDG_STATE_HOME");
  if (state.empty() && !variable("HOME").empty()) state = variable("HOME") + "/.local/state";
  if (!state.empty()) {
    const mode_t mask = umask(077);
    std::error_code failed;
    std::filesystem::create_directories(state += "/ckpt", failed);
    umask(mask);
    if (access(state.c_str(), W_OK | X_OK) == 0) return state + "/" + file;
  }
  std::string shared = variable("TMPDIR");
  if (shared.empty() || access(shared.c_str(), W_OK | X_OK) != 0) shared = "/tmp";
  return shared + "/ckpt-" + std::to_string(getuid()) + "-" + file;
}

}  // namespace ckpt::command
