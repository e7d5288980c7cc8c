// SPDX-License-Identifier: MIT
#include "job_place.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "ckpt/state/host.hpp"
#include "exit_status.hpp"
#include "job_remote.hpp"
#include "job_say.hpp"

namespace ckpt::command {
namespace {

bool stands_for_several(std::string_view pattern) {
  for (std::size_t i = 0; i + 1 < pattern.size(); ++i)
    if (pattern[i] == '%' && pattern[++i] != '%') return true;
  return false;
}

std::string directory_of_ckpt() {
  char link[4096];
  const ssize_t size = readlink("/proc/self/exe", link, sizeof link);
  const std::string path(link, size > 0 ? static_cast<std::size_t>(size) : 0);
  return path.substr(0, path.rfind('/') + 1);
}

}  // namespace

bool job_place::choose_name() {
  agent::config named = config_;
  if (named.name.empty()) {
    const char* variable = std::getenv("CKPT_NAME");
    if (variable == nullptr || !named.set(options::id::name, variable)) {
      named.name.clear();
      options::append_literally(named.name, options::base_of(command_[0]));
      named.name.append(".ckpt");
    }
  }
  agent::make_absolute(named.name);
  pattern_ = named.name.view();
  if (!stands_for_several(pattern_)) {
    fixed_text<agent::name_capacity> name;
    (void)options::expand_name(pattern_, {}, name);
    image_ = name.view();
  }
  elsewhere_ = options::goes_elsewhere(pattern_);
  const bool command = pattern_.starts_with("exec:");
  if (elsewhere_ && !command && !image_.empty()) fallback_ = fallback_of(image_);
  if (!given_.resume) return true;
  if (command) {
    say("--resume needs an image that it can read again, and ", quoted{pattern_},
        " gives it to a command; give another name with -n, or restart it by ckpt-restart");
    return false;
  }
  if (named.name.truncated()) {
    say("the name of the image is too long");
    return false;
  }
  if (stands_for_several(pattern_)) {
    say("--resume needs one name for all its runs, and ", quoted{pattern_},
        " has a % in it; give another one with -n");
    return false;
  }
  return true;
}

bool job_place::take_lock(job_lock& lock) const {
  std::string holder;
  int error = 0;
  if (lock.take(elsewhere_ ? lock_place_of(image_) : image_, holder, error)) return true;
  if (error == EAGAIN)
    say(quoted{image_}, " is in use by another ckpt --resume (",
        holder.empty() ? std::string("it does not say which") : shown(holder),
        "); wait for its end, or give another name with -n");
  else
    say("cannot lock the name ", quoted{image_}, ": ", std::strerror(error),
        "; give a name in a directory where you may write");
  return false;
}

/// The newer of what the server has and what was kept here because the server did not take it;
/// `name` is what it is called.
image_look job_place::look_elsewhere(const seen_command& wanted, const interruption& stop,
                                     std::string& name) {
  auto remote = fetch(image_, false, stop);
  image_look look;
  look.why = remote.why;
  switch (remote.state) {
    case remote_image::outcome::interrupted:
      look.state = image_state::interrupted;
      return look;
    case remote_image::outcome::failed:
      look.state = image_state::unreadable;
      return look;
    case remote_image::outcome::damaged:
      look.state = image_state::bad;
      return look;
    case remote_image::outcome::absent:
      break;
    case remote_image::outcome::there:
      path_ = "/proc/self/fd/" + std::to_string(remote.file.get());
      look = look_at_image(path_, wanted, stop);
      fetched_ = std::move(remote.file);
      at_server_ = header_of(path_);
      break;
  }
  if (fallback_.empty() || (look.state != image_state::absent && look.state != image_state::good))
    return look;
  auto kept = look_at_image(fallback_, wanted, stop);
  // Another program's may have the same last part of its name.
  if (kept.state == image_state::absent || kept.state == image_state::other ||
      (kept.state == image_state::good && look.state == image_state::good &&
       kept.made_ns < look.made_ns))
    return look;
  name = path_ = fallback_;
  fetched_.reset();
  return kept;
}

job_place::start job_place::look(const interruption& stop) {
  const auto wanted = seen_by_program(command_);
  std::string looked_at = image_;
  const auto look =
      elsewhere_ ? look_elsewhere(wanted, stop, looked_at) : look_at_image(image_, wanted, stop);
  const bool at_server = elsewhere_ && looked_at == image_;
  switch (look.state) {
    case image_state::interrupted:
      return start::interrupted;
    case image_state::absent:
      return start::program;
    case image_state::good:
      return start::image;
    case image_state::unreadable:
      if (at_server)
        say("cannot go on from ", quoted{image_}, ": ", look.why,
            "; try again when the server answers",
            !fallback_.empty() && access(fallback_.c_str(), F_OK) == 0
                ? ", or run what was kept, " + shown(fallback_)
                : "");
      else
        say("cannot read ", quoted{looked_at}, ": ", look.why);
      return start::failed;
    case image_state::other:
      say("cannot go on from ", quoted{looked_at}, ": ", look.why, "; give another name with -n");
      return start::failed;
    case image_state::bad:
      break;
  }
  if (!given_.fresh_if_bad) {
    say("cannot go on from ", quoted{looked_at}, ": ", look.why,
        "; put a good one there, or start afresh with --fresh-if-bad");
    return start::failed;
  }
  fetched_.reset();
  const std::string kept = at_server ? set_aside_elsewhere() : set_aside(looked_at);
  if (kept.empty()) {
    say("cannot rename ", quoted{looked_at}, ", which is bad (", look.why,
        "): ", at_server ? "as ckpt-transfer says" : std::strerror(errno));
    return start::failed;
  }
  say("cannot go on from ", quoted{looked_at}, ": ", look.why, "; it is ", quoted{kept},
      " now, and the program starts afresh");
  return start::program;
}

/// The new name of what is at the server; empty when that cannot be done.
std::string job_place::set_aside_elsewhere() const {
  constexpr int most = 100;
  for (int number = 0; number < most; ++number) {
    const std::string to = image_ + ".bad" + (number == 0 ? "" : "." + std::to_string(number));
    const auto outcome = move_remote(image_, to, false);
    if (outcome == changed::occupied) continue;
    return outcome == changed::yes ? to : std::string();
  }
  return {};
}

void job_place::remember() {
  before_ = header_of(elsewhere_ ? fallback_ : image_);
}

void job_place::become_image() {
  if (path_.empty()) path_ = image_;
  std::vector<char*> words{path_.data()};
  // What it is called by others, and not where it lies for an instant.
  if (fetched_) words[0] = image_.data();
  std::string verbose = "--verbose";
  if (config_.verbose) words.push_back(verbose.data());
  words.push_back(nullptr);
  execv(path_.c_str(), words.data());
  // No permission to execute it, or a file system without: the restarter reads it.
  const int error = errno;
  std::string restarter = directory_of_ckpt() + "ckpt-restart";
  words[0] = path_.data();
  if (fetched_) (void)fcntl(fetched_.get(), F_SETFD, 0);
  words.insert(words.begin(), restarter.data());
  execv(restarter.c_str(), words.data());
  say("cannot run ", quoted{image_}, ": ", std::strerror(error));
  _exit(own_failure);
}

void job_place::started() {
  started_ns_ = state::nanoseconds_of(sys::abi::clock_realtime);
  fetched_.reset();
}

std::optional<bool> job_place::ended_by_checkpoint(const interruption& stop) const {
  const std::string& here = elsewhere_ ? fallback_ : image_;
  if (!here.empty() && ended_by_new_image(here, before_)) return true;
  if (!elsewhere_ || image_.empty() || pattern_.starts_with("exec:")) return false;
  const auto there = fetch(image_, true, stop);
  switch (there.state) {
    case remote_image::outcome::there:
      return ended_by_new_head(there.file.get(), at_server_, given_.resume ? 0 : started_ns_);
    case remote_image::outcome::absent:
    case remote_image::outcome::damaged:
      return false;
    case remote_image::outcome::failed:
    case remote_image::outcome::interrupted:
      break;
  }
  say("the program has ended, but whether by a checkpoint to ", quoted{image_},
      " cannot be seen: ", there.why.empty() ? std::string("a signal has come") : there.why,
      "; look there before it is started again");
  return {};
}

void job_place::finish() const {
  const auto left = [&](const std::string& name, const char* why) {
    say("the program has ended, but ", quoted{name}, " cannot be ",
        given_.keep_image ? "renamed" : "removed", ": ", why,
        "; remove it, or the next run goes on from it");
  };
  if (elsewhere_) {
    const auto outcome =
        given_.keep_image ? move_remote(image_, image_ + ".done", true) : remove_remote(image_);
    if (outcome == changed::failed) left(image_, "as ckpt-transfer says");
  }
  const std::string& here = elsewhere_ ? fallback_ : image_;
  if (here.empty() || access(here.c_str(), F_OK) != 0) return;
  // What lies in the directory for all may be another program's.
  if (elsewhere_ && look_at_image(here, seen_by_program(command_), [] { return false; }).state ==
                        image_state::other)
    return;
  const std::string done = here + ".done";
  if (given_.keep_image ? std::rename(here.c_str(), done.c_str()) != 0 : unlink(here.c_str()) != 0)
    left(here, std::strerror(errno));
}

}  // namespace ckpt::command
