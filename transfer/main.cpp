// SPDX-License-Identifier: MIT
//
// ckpt-transfer: brings images where their names say, outside of the program that is checkpointed. The
// agent starts it at the other end of a pipe; ckpt-restart becomes it for an image that is not a file;
// and it copies images for whoever types its name.
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "fetch.hpp"
#include "report.hpp"
#include "send.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::transfer;

constexpr int own_failure = 125;
constexpr int usage_failure = 2;

/// Becomes the program in the image.
int restart(const std::string& name, const std::vector<char*>& words, char** environment, const settings& s,
            const struct sigaction (&before)[2]) {
  const auto image = fetch_to_run(name_of_image(name), s);
  const std::string path = "/proc/self/fd/" + std::to_string(image.get());
  sigaction(SIGPIPE, &before[0], nullptr);
  sigaction(SIGXFSZ, &before[1], nullptr);
  execve(path.c_str(), words.data(), environment);
  throw transfer_error("cannot run what was fetched: " + std::string(std::strerror(errno)));
}

/// 1: there is none; 3: there is another of that name.
int move_image(const url& from, const std::string& name, const settings& s) {
  const auto to = name_of_image(name);
  if (to.scheme != from.scheme || to.host != from.host || to.port != from.port)
    throw transfer_error("the other name is at another server, " + shown(name));
  switch (transfer::move(from, to, !s.only_new, s.client)) {
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
  settings s;
  std::string bad_variable;  // said where all else is
  try {
    read_variables(s);
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
      case 'c': s.client.whom.ca_file = optarg; break;
      case 't': s.token_file = optarg; break;
      case 'f': s.fallback = optarg; break;
      case 'q': s.quiet = true; break;
      case 'l': s.later = true; break;
      case 'n': s.only_new = true; break;
      case 'o': s.only_head = true; break;
      case 's': s.status_fd = std::atoi(optarg); break;
      case 'r':
        s.client.retry_ms = milliseconds_of(optarg);
        if (s.client.retry_ms < 0) usage(stderr, usage_failure);
        break;
      case 'z':
        if (!parse_compression(optarg, s.compress)) usage(stderr, usage_failure);
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
  if (s.status_fd >= 0) fcntl(s.status_fd, F_SETFD, FD_CLOEXEC);
  bool all_received = false;
  try {
    if (!bad_variable.empty()) throw transfer_error(bad_variable);
    s.client.token = token_in(s.token_file);
    const auto u = name_of_image(name);
    const bool over_net = u.scheme != url::scheme_kind::exec;
    if (what == "put") {
      send_image(u, shown(name), words[1], s, [&] {
        all_received = true;
        tell_agent(s.status_fd, 'R');
      });
    } else if (what == "get") {
      fetch_to_file(u, words[2], s);
    } else if (what == "fetch") {
      fetch_and_hold(u, s);
      return 0;
    } else if (!over_net) {
      throw transfer_error("a command can only take an image, or give one");
    } else if (what == "move") {
      return move_image(u, words[2], s);
    } else if (!(what == "remove" ? transfer::remove(u, s.client) : exists(u, s.client))) {
      return 1;
    }
    if (!s.later) tell_agent(s.status_fd, 'D');
    return 0;
  } catch (const transfer_error& error) {
    // Whoever has it fetched names it.
    const bool bare = what == "fetch" && s.status_fd >= 0;
    const std::string line =
        (bare ? std::string()
              : (what == "put"                        ? "cannot send the image to "
                 : what == "get" || what == "fetch" ? "cannot fetch "
                                                    : "cannot reach ") + shown(name) + ": ") + error.what();
    const bool absent = dynamic_cast<const absent_error*>(&error) != nullptr;
    const bool damaged = dynamic_cast<const damaged_error*>(&error) != nullptr;
    const bool agent_tells = s.status_fd >= 0 && !(s.later && all_received);
    const bool heard = agent_tells && tell_agent(s.status_fd, absent ? 'N' : damaged ? 'B' : 'F', line);
    // The copy of a program that goes on may have been killed: then nobody else says it.
    if (!agent_tells || (s.later && !heard)) say(line);
    return own_failure;
  }
}

/// Called by another name it is what ckpt-restart has become: with that one's words.
int serve_restart(int argc, char** argv, const struct sigaction (&before)[2]) {
  settings s;
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
    read_variables(s);
    s.client.token = token_in(s.token_file);
    return restart(name, words, environ, s, before);
  } catch (const transfer_error& error) {
    say("cannot restart from " + shown(name) + ": " + error.what());
    return own_failure;
  }
}

}  // namespace

int main(int argc, char** argv) {
  // Both are errors of a call as well, and as such they get a line.
  struct sigaction ignored {}, before[2] {};
  ignored.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignored, &before[0]);
  sigaction(SIGXFSZ, &ignored, &before[1]);
  std::string_view called = argc > 0 ? argv[0] : "";
  if (const auto slash = called.rfind('/'); slash != std::string_view::npos) called.remove_prefix(slash + 1);
  int status = own_failure;
  try {
    status = called == "ckpt-transfer" ? serve(argc, argv) : serve_restart(argc, argv, before);
  } catch (const std::exception& error) {
    say(std::string("cannot carry the image: ") + error.what());
  }
  // A sender that was given up may still wait for a network, with all that the end of main would take away.
  std::fflush(nullptr);
  _exit(status);
}
