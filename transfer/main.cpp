// SPDX-License-Identifier: MIT
//
// ckpt-transfer: brings images where their names say, outside of the program that is checkpointed. The
// agent starts it at the other end of a pipe; ckpt-restart becomes it for an image that is not a file;
// and it copies images for whoever types its name.
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

#include "ckpt/image/owner.hpp"
#include "http_client.hpp"
#include "spool.hpp"
#include "stream_check.hpp"
#include "url.hpp"
#include "wire_connection.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::transfer;

constexpr int own_failure = 125;
constexpr int usage_failure = 2;
constexpr std::size_t piece_size = 256 * 1024;

struct options {
  client_options client;
  compression compress;
  std::string token_file;
  std::string fallback;
  int status_fd = -1;
  bool quiet = false;
  bool only_new = false;   // a move replaces nothing
  bool only_head = false;  // fetch what comes before the data
  bool later = false;  // whoever started it waits only until all has been received
};

std::string shown(std::string_view name) {
  fixed_text<1400> text;
  text.append(quoted{name});
  return std::string(text.view());
}

void say(const std::string& line) {
  const std::string whole = "ckpt: " + line + "\n";
  (void)!write(2, whole.data(), whole.size());
}

// --- settings ------------------------------------------------------------------------------------

std::string token_in(const std::string& path) {
  if (path.empty()) return {};
  const sys::unique_fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) throw transfer_error("cannot open the token file " + shown(path) + ": " + std::strerror(errno));
  struct stat st{};
  if (fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode) || (st.st_mode & 077) != 0)
    throw transfer_error("the token file " + shown(path) + " is open to others; make it private (chmod 600)");
  char text[4096];
  const ssize_t n = read(fd.get(), text, sizeof text);
  std::string_view line(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  while (line.starts_with('#') && line.find('\n') != std::string_view::npos) line.remove_prefix(line.find('\n') + 1);
  line = line.substr(0, line.find_first_of(" \r\n"));
  for (const char c : line)
    if (c < 0x21 || c > 0x7e) line = {};
  if (line.empty()) throw transfer_error("the token file " + shown(path) + " has no token in its first line");
  return std::string(line);
}

/// "0" to seconds; -1 for what is no number.
int milliseconds_of(std::string_view text) {
  const auto seconds = parse_number(text);
  return seconds.ok() && *seconds <= 1'000'000 ? static_cast<int>(*seconds) * 1000 : -1;
}

/// What comes by variables. Throws transfer_error for what means nothing.
void read_variables(options& o) {
  const auto text = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  o.client.whom.ca_file = text("CKPT_CA");
  o.token_file = text("CKPT_TOKEN_FILE");
  o.fallback = text("CKPT_FALLBACK");
  if (const auto value = text("CKPT_RETRY"); !value.empty()) {
    o.client.retry_ms = milliseconds_of(value);
    if (o.client.retry_ms < 0) throw transfer_error("CKPT_RETRY=" + shown(value) + " means nothing (seconds)");
  }
  if (const auto value = text("CKPT_COMPRESS"); !value.empty() && !parse_compression(value, o.compress))
    throw transfer_error("CKPT_COMPRESS=" + shown(value) + " means nothing (lz4 or zstd, with :LEVEL)");
}

// --- who waits -----------------------------------------------------------------------------------

/// On a terminal, and only when it takes a while.
class progress_bar {
 public:
  explicit progress_bar(bool quiet) : wanted_(!quiet && isatty(2) == 1) { clock_gettime(CLOCK_MONOTONIC, &began_); }
  ~progress_bar() {
    if (drawn_) (void)!write(2, "\r\033[K", 4);
  }
  progress_bar(const progress_bar&) = delete;
  progress_bar& operator=(const progress_bar&) = delete;

  void tell(u64 done, u64 whole) {
    if (!wanted_) return;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const i64 ms = (now.tv_sec - began_.tv_sec) * 1000 + (now.tv_nsec - began_.tv_nsec) / 1'000'000;
    if (ms < 1000 || ms - last_ms_ < 200) return;
    last_ms_ = ms;
    char line[120];
    const double rate = static_cast<double>(done) / 1048.576 / static_cast<double>(ms);
    const int n = whole == 0
                      ? std::snprintf(line, sizeof line, "\rckpt: %llu MiB, %.0f MiB/s\033[K", static_cast<unsigned long long>(done >> 20), rate)
                      : std::snprintf(line, sizeof line, "\rckpt: %llu of %llu MiB, %llu %%, %.0f MiB/s\033[K",
                                      static_cast<unsigned long long>(done >> 20), static_cast<unsigned long long>(whole >> 20),
                                      static_cast<unsigned long long>(done * 100 / whole), rate);
    (void)!write(2, line, static_cast<std::size_t>(n));
    drawn_ = true;
  }
  transfer::progress teller() {
    return [this](u64 done, u64 whole) { tell(done, whole); };
  }

 private:
  bool wanted_;
  bool drawn_ = false;
  i64 last_ms_ = 0;
  timespec began_{};
};

// --- ways ----------------------------------------------------------------------------------------

/// A stream from a descriptor to its end, verified while it passes.
void read_image(int from, const std::string& what, const sink& out) {
  stream_check check;
  std::vector<std::byte> room(piece_size);
  for (;;) {
    const ssize_t n = read(from, room.data(), room.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw transfer_error("cannot read " + what + ": " + std::strerror(errno));
    if (n == 0) break;
    const bytes piece(room.data(), static_cast<std::size_t>(n));
    if (!check.add(piece)) throw transfer_error(what + " is no whole image: " + check.why());
    if (!out(piece)) throw transfer_error("nobody takes " + what);
  }
  if (!check.finish()) throw transfer_error(what + " is no whole image: " + check.why());
}

/// COMMAND with the stream on its standard input or output.
class command {
 public:
  command(const std::string& line, bool reads) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw transfer_error("no pipe: " + std::string(std::strerror(errno)));
    pid_ = fork();
    if (pid_ == 0) {
      setpgid(0, 0);
      signal(SIGPIPE, SIG_DFL);
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
  ~command() {
    // It must not take the end of a torn stream for the end of a whole one.
    if (pid_ > 0) {
      kill(-pid_, SIGKILL);
      while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
      }
    }
  }
  command(const command&) = delete;
  command& operator=(const command&) = delete;

  [[nodiscard]] int end() const { return end_.get(); }
  /// Throws unless it has ended well.
  void finish() {
    end_.reset();
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
    }
    pid_ = 0;
    if (WIFSIGNALED(status)) throw transfer_error("the command was killed by signal " + std::to_string(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0) throw transfer_error("the command ended with status " + std::to_string(WEXITSTATUS(status)));
  }

 private:
  pid_t pid_ = 0;
  sys::unique_fd end_;
};

unsigned threads_for(const compression& c) {
  return c.how == encoding::zstd ? std::max(1u, std::min(4u, std::thread::hardware_concurrency())) : 0;
}

/// An image into a sink, compressed as wanted.
void pack(int from, const std::string& what, const compression& how, const sink& out) {
  const auto packer = make_encoder(how, threads_for(how));
  read_image(from, what, [&](bytes piece) { return packer->add(piece, out); });
  if (!packer->finish(out)) throw transfer_error(packer->why());
}

/// Whether the file is an image of a process that lives and is not the one whose image is in `mine`.
bool belongs_to_another(const std::string& path, int mine, pid_t& writer) {
  format::file_header h{};
  if (pread(mine, &h, sizeof h, format::header_offset) != static_cast<ssize_t>(sizeof h)) return false;
  const auto who = image::writer_of(h);
  writer = who.pid;
  return image::belongs_to_another(path.c_str(), {}, who, who.pid).value_or(true);
}

/// The image under its name in DIR, as a program that runs itself.
std::string keep_locally(int spool, encoding how, std::string_view name, const std::string& directory) {
  std::string base(name);
  if (const auto slash = base.rfind('/'); slash != std::string::npos) base.erase(0, slash + 1);
  if (base.empty() || base == "." || base == ".." || base.find(' ') != std::string::npos) base = "program.ckpt";
  std::string path = directory + "/" + base;
  const std::string temporary = directory + "/." + base + "." + std::to_string(getpid()) + ".ckpt-partial";
  sys::unique_fd fd(open(temporary.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700));
  if (!fd) throw transfer_error("cannot create " + shown(temporary) + ": " + std::strerror(errno));
  try {
    const auto unpack = make_decoder(how);
    std::vector<std::byte> room(piece_size), plain(piece_size);
    for (off_t at = 0;;) {
      const ssize_t n = pread(spool, room.data(), room.size(), at);
      if (n < 0) throw transfer_error(std::strerror(errno));
      if (n == 0) break;
      at += n;
      if (!unpack->add({room.data(), static_cast<std::size_t>(n)}, plain, [&](bytes piece) {
            write_all(fd.get(), piece);
            return true;
          }))
        throw transfer_error(unpack->why());
    }
    if (fdatasync(fd.get()) != 0) throw transfer_error(std::strerror(errno));
    if (pid_t writer = 0; belongs_to_another(path, fd.get(), writer)) path += "." + std::to_string(writer);
    fd.reset();
    if (rename(temporary.c_str(), path.c_str()) != 0) throw transfer_error(std::strerror(errno));
  } catch (const transfer_error& error) {
    unlink(temporary.c_str());
    throw transfer_error("cannot keep it in " + shown(path) + ": " + error.what());
  }
  const sys::unique_fd held(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (held) fsync(held.get());
  return path;
}

void feed(command& sinks, bytes piece) {
  try {
    write_all(sinks.end(), piece);
  } catch (const transfer_error&) {
    sinks.finish();  // it has ended, and how says more
    throw transfer_error("the command has not taken all of it");
  }
}
void feed(command& sinks, int spool) {
  std::vector<std::byte> room(piece_size);
  for (off_t at = 0;;) {
    const ssize_t n = pread(spool, room.data(), room.size(), at);
    if (n < 0) throw transfer_error("cannot read back what is to be sent: " + std::string(std::strerror(errno)));
    if (n == 0) break;
    at += n;
    feed(sinks, {room.data(), static_cast<std::size_t>(n)});
  }
  sinks.finish();
}
/// Straight from where it comes.
void give(const url& to, int from, const std::string& what, const compression& how) {
  command sinks(to.name, true);
  pack(from, what, how, [&](bytes piece) {
    feed(sinks, piece);
    return true;
  });
  sinks.finish();
}

/// `received` is called when all is here, and the sender may go.
void send_image(const url& to, const std::string& shown_to, int from, const std::string& what, const options& o,
                const std::function<void()>& received) {
  const bool to_command = to.scheme == url::scheme_kind::exec;
  // Whoever waits for the command anyway needs no room for a second image.
  if (to_command && !o.later && o.fallback.empty()) return give(to, from, what, o.compress);
  struct stat st{};
  // A file can be read twice as it is.
  const bool is_file = o.compress.how == encoding::identity && fstat(from, &st) == 0 && S_ISREG(st.st_mode) &&
                       lseek(from, 0, SEEK_CUR) == 0;
  const auto spool = is_file ? sys::unique_fd(fcntl(from, F_DUPFD_CLOEXEC, 3)) : open_spool(false);
  pack(from, what, o.compress, [&](bytes piece) {
    if (!is_file) write_all(spool.get(), piece);
    return true;
  });
  received();
  if (fstat(spool.get(), &st) != 0) throw transfer_error(std::strerror(errno));
  progress_bar bar(o.quiet);
  try {
    if (to_command) {
      command sinks(to.name, true);
      feed(sinks, spool.get());
    } else {
      put(to, spool.get(), static_cast<u64>(st.st_size), o.compress.how, o.client, bar.teller());
    }
  } catch (const transfer_error& error) {
    if (o.fallback.empty()) throw;
    std::string kept;
    try {
      kept = keep_locally(spool.get(), o.compress.how, to_command ? std::string_view() : to.name, o.fallback);
    } catch (const transfer_error& second) {
      throw transfer_error(std::string(error.what()) + "; and " + second.what());
    }
    say("cannot send the image to " + shown_to + ": " + error.what() + "; it is kept in " + shown(kept));
  }
}

/// What says that no more is wanted.
struct enough {};

void fetch(const url& from, const options& o, const std::function<void(bytes)>& out, bool only_head = false) {
  stream_check check;
  const auto take = [&](bytes piece) {
    if (!check.add(piece)) throw damaged_error("it is no whole image: " + check.why());
    out(piece);
    if (only_head && check.has_metadata()) throw enough();
    return true;
  };
  progress_bar bar(o.quiet);
  if (from.scheme == url::scheme_kind::exec) {
    command source(from.name, false);
    std::vector<std::byte> room(piece_size);
    for (;;) {
      const ssize_t n = read(source.end(), room.data(), room.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) break;
      take({room.data(), static_cast<std::size_t>(n)});
    }
    source.finish();
  } else {
    get(from, o.client, take, bar.teller());
  }
  if (!check.finish()) throw damaged_error("it is no whole image: " + check.why());
}

url name_of_image(const std::string& text) {
  std::string why;
  const auto u = parse_url(text, why);
  if (!u) throw transfer_error("the name means nothing: " + why);
  return *u;
}

// --- what it is started for ----------------------------------------------------------------------

/// Into a file without a name, which can be run: nobody has it open for writing when this returns.
sys::unique_fd fetch_to_run(const url& from, const options& o, bool only_head) {
  auto spool = open_spool(true);
  try {
    fetch(from, o, [&](bytes piece) { write_all(spool.get(), piece); }, only_head);
  } catch (const enough&) {
  }
  if (fchmod(spool.get(), 0700) != 0) throw transfer_error(std::strerror(errno));
  const std::string path = "/proc/self/fd/" + std::to_string(spool.get());
  sys::unique_fd image(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!image) throw transfer_error("cannot open what was fetched: " + std::string(std::strerror(errno)));
  return image;
}

/// Becomes the program in the image.
int restart(const std::string& name, const std::vector<char*>& words, char** environment, const options& o,
            const struct sigaction& pipe_action) {
  const auto image = fetch_to_run(name_of_image(name), o, false);
  const std::string path = "/proc/self/fd/" + std::to_string(image.get());
  sigaction(SIGPIPE, &pipe_action, nullptr);
  execve(path.c_str(), words.data(), environment);
  throw transfer_error("cannot run what was fetched: " + std::string(std::strerror(errno)));
}

int open_input(const std::string& file) {
  if (file == "-") return 0;
  const int fd = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw transfer_error("cannot open " + shown(file) + ": " + std::strerror(errno));
  return fd;
}

void fetch_to_file(const url& from, const std::string& file, const options& o) {
  if (file == "-") return fetch(from, o, [](bytes piece) { write_all(1, piece); });
  const std::string temporary = file + ".ckpt-partial";
  const sys::unique_fd fd(open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0700));
  if (!fd) throw transfer_error("cannot create " + shown(temporary) + ": " + std::strerror(errno));
  try {
    fetch(from, o, [&](bytes piece) { write_all(fd.get(), piece); });
    if (fdatasync(fd.get()) != 0 || rename(temporary.c_str(), file.c_str()) != 0)
      throw transfer_error("cannot create " + shown(file) + ": " + std::strerror(errno));
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
}

/// Tells the agent: one letter, R when all has been received, then D or F and why.
void tell_agent(const options& o, char letter, const std::string& text = {}) {
  if (o.status_fd < 0) return;
  const std::string whole = letter + text;
  (void)!write(o.status_fd, whole.data(), whole.size());
}

/// For ckpt_restart and --resume: says where the file is, and holds it until they have opened it, which
/// the end of standard input says.
void fetch_and_hold(const url& from, const options& o) {
  const auto image = fetch_to_run(from, o, o.only_head);
  char self[32] = {};
  if (readlink("/proc/self", self, sizeof self - 1) <= 0) throw transfer_error("/proc is not mounted");
  tell_agent(o, 'D', "/proc/" + std::string(self) + "/fd/" + std::to_string(image.get()));
  for (char end = 0;;) {
    const ssize_t n = read(0, &end, 1);
    if (n == 0 || (n < 0 && errno != EINTR)) return;
  }
}

/// 1: there is none; 3: there is another of that name.
int move_image(const url& from, const std::string& name, const options& o) {
  const auto to = name_of_image(name);
  if (to.scheme != from.scheme || to.host != from.host || to.port != from.port)
    throw transfer_error("the other name is at another server, " + shown(name));
  switch (transfer::move(from, to, !o.only_new, o.client)) {
    case moved::absent: return 1;
    case moved::occupied: return 3;
    default: return 0;
  }
}

[[noreturn]] void usage(FILE* to, int status) {
  std::fputs(
      "usage: ckpt-transfer [OPTION]... put FILE|- NAME\n"
      "       ckpt-transfer [OPTION]... get NAME FILE|-\n"
      "       ckpt-transfer [OPTION]... remove NAME\n"
      "       ckpt-transfer [OPTION]... move NAME OTHER\n"
      "Brings a ckpt image to NAME, or from it, and verifies it on the way. NAME is\n"
      "cssrv://HOST[:PORT]/NAME, cssrvs://HOST[:PORT]/NAME or exec:COMMAND.\n\n"
      "  --ca=FILE             certificates to trust for cssrvs:// (CKPT_CA)\n"
      "  --token-file=FILE     what the server wants to see (CKPT_TOKEN_FILE)\n"
      "  --compress=HOW        lz4[:LEVEL] or zstd[:LEVEL] (CKPT_COMPRESS)\n"
      "  --fallback=DIR        put: keep it there when it cannot be sent (CKPT_FALLBACK)\n"
      "  --retry=SECONDS       how long to try again; default 10 (CKPT_RETRY)\n"
      "  --no-replace          move: not when OTHER is there\n"
      "  -q, --quiet           no progress bar\n"
      "  -h, --help, -V, --version\n",
      to);
  std::exit(status);
}

int serve(int argc, char** argv) {
  options o;
  std::string bad_variable;  // said where all else is
  try {
    read_variables(o);
  } catch (const transfer_error& error) {
    bad_variable = error.what();
  }
  static const ::option long_names[] = {{"ca", required_argument, nullptr, 'c'},
                                        {"token-file", required_argument, nullptr, 't'},
                                        {"compress", required_argument, nullptr, 'z'},
                                        {"fallback", required_argument, nullptr, 'f'},
                                        {"retry", required_argument, nullptr, 'r'},
                                        {"status-fd", required_argument, nullptr, 's'},
                                        {"later", no_argument, nullptr, 'l'},
                                        {"no-replace", no_argument, nullptr, 'n'},
                                        {"only-head", no_argument, nullptr, 'o'},
                                        {"quiet", no_argument, nullptr, 'q'},
                                        {"help", no_argument, nullptr, 'h'},
                                        {"version", no_argument, nullptr, 'V'},
                                        {nullptr, 0, nullptr, 0}};
  for (int c; (c = getopt_long(argc, argv, "+qhV", long_names, nullptr)) != -1;) switch (c) {
      case 'c': o.client.whom.ca_file = optarg; break;
      case 't': o.token_file = optarg; break;
      case 'f': o.fallback = optarg; break;
      case 'q': o.quiet = true; break;
      case 'l': o.later = true; break;
      case 'n': o.only_new = true; break;
      case 'o': o.only_head = true; break;
      case 's': o.status_fd = std::atoi(optarg); break;
      case 'r':
        o.client.retry_ms = milliseconds_of(optarg);
        if (o.client.retry_ms < 0) usage(stderr, usage_failure);
        break;
      case 'z':
        if (!parse_compression(optarg, o.compress)) usage(stderr, usage_failure);
        break;
      case 'h': usage(stdout, 0);
      case 'V': std::puts("ckpt-transfer " CKPT_VERSION); return 0;
      default: usage(stderr, usage_failure);
    }
  const std::vector<std::string> words(argv + optind, argv + argc);
  if (words.empty()) usage(stderr, usage_failure);
  const auto& what = words[0];
  const bool two_names = what == "put" || what == "get" || what == "move";
  const std::size_t wanted = two_names ? 3 : what == "remove" || what == "exists" || what == "fetch" ? 2 : 0;
  if (words.size() != wanted) usage(stderr, usage_failure);
  const std::string& name = what == "put" ? words[2] : words[1];
  if (o.status_fd >= 0) fcntl(o.status_fd, F_SETFD, FD_CLOEXEC);
  bool all_received = false;
  try {
    if (!bad_variable.empty()) throw transfer_error(bad_variable);
    o.client.token = token_in(o.token_file);
    const auto u = name_of_image(name);
    const bool over_net = u.scheme != url::scheme_kind::exec;
    if (what == "put") {
      const int from = open_input(words[1]);
      send_image(u, shown(name), from, words[1] == "-" ? std::string("what comes") : shown(words[1]), o,
                 [&] {
                   all_received = true;
                   tell_agent(o, 'R');
                 });
    } else if (what == "get") {
      fetch_to_file(u, words[2], o);
    } else if (what == "fetch") {
      fetch_and_hold(u, o);
      return 0;
    } else if (!over_net) {
      throw transfer_error("a command can only take an image, or give one");
    } else if (what == "move") {
      return move_image(u, words[2], o);
    } else if (! !(what == "remove" ? transfer::remove(u, o.client) : exists(u, o.client))) {
      return 1;
    }
    if (!o.later) tell_agent(o, 'D');
    return 0;
  } catch (const transfer_error& error) {
    // Whoever has it fetched names it.
    const bool bare = what == "fetch" && o.status_fd >= 0;
    const std::string line =
        (bare ? std::string()
              : (what == "put"                        ? "cannot send the image to "
                 : what == "get" || what == "fetch" ? "cannot fetch "
                                                    : "cannot reach ") + shown(name) + ": ") + error.what();
    const bool absent = dynamic_cast<const absent_error*>(&error) != nullptr;
    const bool damaged = dynamic_cast<const damaged_error*>(&error) != nullptr;
    if (o.status_fd >= 0 && !(o.later && all_received)) tell_agent(o, absent ? 'N' : damaged ? 'B' : 'F', line);
    else say(line);
    return own_failure;
  }
}

/// Called by another name it is what ckpt-restart has become: with that one's words.
int serve_restart(int argc, char** argv, const struct sigaction& pipe_action) {
  options o;
  std::string name;
  std::vector<char*> words{nullptr};
  for (int i = 1; i < argc; ++i) {
    std::string why;
    const std::string_view word = argv[i];
    if (word == "--" && name.empty()) continue;
    if (name.empty() && !word.starts_with('-') && (word.starts_with("exec:") || word.find("://") != std::string_view::npos))
      name = word, words[0] = argv[i];
    else
      words.push_back(argv[i]);
  }
  words.push_back(nullptr);
  try {
    read_variables(o);
    o.client.token = token_in(o.token_file);
    return restart(name, words, environ, o, pipe_action);
  } catch (const transfer_error& error) {
    say("cannot restart from " + shown(name) + ": " + error.what());
    return own_failure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  struct sigaction ignored {}, before {};
  ignored.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignored, &before);
  std::string_view called = argc > 0 ? argv[0] : "";
  if (const auto slash = called.rfind('/'); slash != std::string_view::npos) called.remove_prefix(slash + 1);
  try {
    return called == "ckpt-transfer" ? serve(argc, argv) : serve_restart(argc, argv, before);
  } catch (const std::exception& error) {
    say(std::string("cannot carry the image: ") + error.what());
    return own_failure;
  }
}
