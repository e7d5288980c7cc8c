// SPDX-License-Identifier: MIT
//
// The parsers of /proc/PID/stat, status, fdinfo and timers. The first byte chooses one. Views must
// lie in the text, and no text that lost its end may pass for a whole one.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "ckpt/proc/fdinfo.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/proc/timers.hpp"

namespace {

using namespace ckpt;

void require(bool so) {
  if (!so) __builtin_trap();
}

void require_inside(std::string_view part, std::string_view text) {
  require(text.data() <= part.data() && part.data() + part.size() <= text.data() + text.size());
}

void stat(std::string_view text) {
  const auto f = proc::parse_stat(text);
  if (!f.ok()) return;
  require_inside(f->comm, text);
  require(text.ends_with('\n'));
  const std::size_t end = static_cast<std::size_t>(f->comm.data() - text.data()) + f->comm.size();
  require(text[end] == ')' && text.find(')', end + 1) == std::string_view::npos);
  require(!proc::parse_stat(text.substr(0, text.size() - 1)).ok());
}

void status(std::string_view text) {
  for (const std::string_view key : {"Name", "Umask", "NSpid", "Groups", ""}) {
    const auto field = proc::status_field(text, key);
    if (!field.ok()) continue;
    require_inside(*field, text);
    require(field->find('\n') == std::string_view::npos);
    require(field->data() + field->size() < text.data() + text.size());
    require(field->data()[field->size()] == '\n');
  }
  (void)proc::status_umask(text);
  (void)proc::status_tracer(text);
  (void)proc::status_seccomp(text);
  (void)proc::status_threads(text);
  (void)proc::status_pending(text);
  (void)proc::status_shared_pending(text);
  (void)proc::status_blocked(text);
  (void)proc::status_innermost_pid(text);
}

void fdinfo(std::string_view text) {
  (void)proc::parse_fdinfo(text);
  (void)proc::parse_eventfd(text);
  (void)proc::parse_signalfd(text);
  if (const auto t = proc::parse_timerfd(text); t.ok())
    require(t->value_ns >= 0 && t->interval_ns >= 0);
  (void)proc::for_each_epoll_target(text, [](const proc::epoll_target& t) -> result<void> {
    require(t.descriptor >= 0);
    return {};
  });
  unsigned locks = 0;
  const auto outcome = proc::for_each_lock(text, [&](const proc::file_lock& lock) -> result<void> {
    ++locks;
    require(lock.to_eof || lock.start <= lock.end);
    return {};
  });
  require(!outcome.ok() || text.empty() || text.ends_with('\n'));
  // An error of the callback stops the walk at once.
  unsigned calls = 0;
  const auto stopped = proc::for_each_lock(text, [&](const proc::file_lock&) -> result<void> {
    ++calls;
    return errc::again;
  });
  require(calls == (locks > 0 ? 1u : 0u));
  require(locks == 0 || stopped.error() == errc::again);
}

void timers(std::string_view text) {
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t before = rest.size();
    if (!proc::take_posix_timer(rest).ok()) return;
    require(rest.size() < before);
    require_inside(rest, text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // A copy of its own size: reading past the end is an error that ASan sees.
  const std::unique_ptr<char[]> exact(new char[size - 1]);
  std::memcpy(exact.get(), data + 1, size - 1);
  const std::string_view text(exact.get(), size - 1);
  switch (data[0] % 4) {
    case 0:
      stat(text);
      break;
    case 1:
      status(text);
      break;
    case 2:
      fdinfo(text);
      break;
    default:
      timers(text);
      break;
  }
  return 0;
}
