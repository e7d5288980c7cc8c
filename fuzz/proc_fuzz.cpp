// SPDX-License-Identifier: MIT
//
// The parsers of /proc/PID/stat, status, fdinfo and timers, held against the same files read in plain words
// (plain_text.hpp). The first byte chooses one.
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "ckpt/proc/fdinfo.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/proc/timers.hpp"
#include "plain_text.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::fuzz;

void require(bool so) {
  if (!so) __builtin_trap();
}

void require_inside(std::string_view part, std::string_view text) {
  require(text.data() <= part.data() && part.data() + part.size() <= text.data() + text.size());
}

// Each file once with the parser and once in plain words: both read it or neither, and the same numbers.

void agree(bool parser, bool plain) { require(parser == plain); }

template <class T>
void agree(const result<T>& parser, bool plain_ok, wide plain) {
  require(parser.ok() == plain_ok);
  if (plain_ok) require(static_cast<wide>(*parser) == plain);
}

/// The text behind "key:" in the first line that begins so.
std::string plain_line(std::string_view text, const std::string& key) {
  for (const auto& line : plain_lines(text).whole) {
    plain_reader at(line);
    if (!at.next_is(key + ":")) continue;
    at.blanks();
    return at.rest();
  }
  throw refused();
}
bool lacks(std::string_view text, const std::string& key) {
  return !plain_lines(text).torn && !can_be_read([&] { plain_line(text, key); });
}
wide plain_field(std::string_view text, const std::string& key, wide largest, unsigned base = 10) {
  plain_reader at(plain_line(text, key));
  const wide value = at.natural(largest, base);
  at.word_ends();
  return value;
}
wide plain_signed_field(std::string_view text, const std::string& key, wide largest) {
  plain_reader at(plain_line(text, key));
  const wide value = at.integer(largest);
  at.word_ends();
  return value;
}

void stat(std::string_view text) {
  const auto f = proc::parse_stat(text);
  std::vector<wide> n;
  std::string name;
  agree(f.ok(), can_be_read([&] {
          const std::string all(text);
          want(!all.empty() && all.back() == '\n');
          const auto end = all.find_last_of(')');
          want(end != std::string::npos);
          plain_reader front(all.substr(0, end));
          n.push_back(front.integer(largest_i32));
          front.literal(" (");
          name = front.rest();
          plain_reader at(all.substr(end + 1, all.size() - end - 2));
          const auto state = at.word();
          want(state.size() == 1);
          n.push_back(state[0]);
          const auto u64s = [&](int count) {
            while (count-- > 0) n.push_back(at.natural(largest_u64));
          };
          for (int i = 4; i <= 8; ++i) n.push_back(at.integer(largest_i32));
          n.push_back(at.natural(largest_u32));
          at.words(4);
          u64s(2);
          at.words(3);
          n.push_back(at.integer(largest_i64));
          n.push_back(at.natural(largest_u32));
          at.words(1);
          u64s(1);
          at.words(3);
          u64s(3);
          at.words(16);
          u64s(7);
          n.push_back(at.integer(largest_i32));
          at.word_ends();
          want(at.rest().find('\n') == std::string::npos);
        }));
  if (!f.ok()) return;
  require_inside(f->comm, text);
  require(f->comm == name);
  const wide parsed[] = {f->pid,        f->state,      f->ppid,        f->pgrp,       f->session,   f->tty_nr,
                         f->tpgid,      f->flags,      f->utime,       f->stime,      f->nice,      f->num_threads,
                         f->starttime,  f->start_code, f->end_code,    f->start_stack, f->start_data, f->end_data,
                         f->start_brk,  f->arg_start,  f->arg_end,     f->env_start,  f->env_end,   f->exit_code};
  require(n == std::vector<wide>(std::begin(parsed), std::end(parsed)));
}

template <class T>
void field(const result<T>& parsed, std::string_view text, const std::string& key, unsigned base = 10) {
  wide plain = 0;
  const wide largest = static_cast<wide>(std::numeric_limits<T>::max());
  const bool ok = can_be_read([&] {
    plain = std::is_signed_v<T> ? plain_signed_field(text, key, largest) : plain_field(text, key, largest, base);
  });
  agree(parsed, ok, plain);
}

void status(std::string_view text) {
  for (const std::string key : {"Name", "Umask", "NSpid", "Groups", ""}) {
    const auto found = proc::status_field(text, key);
    std::string plain;
    agree(found.ok(), can_be_read([&] { plain = plain_line(text, key); }));
    if (!found.ok()) continue;
    require_inside(*found, text);
    require(*found == plain);
  }
  field(proc::status_umask(text), text, "Umask", 8);
  field(proc::status_process(text), text, "Tgid");
  field(proc::status_tracer(text), text, "TracerPid");
  field(proc::status_seccomp(text), text, "Seccomp");
  field(proc::status_threads(text), text, "Threads");
  field(proc::status_pending(text), text, "SigPnd", 16);
  field(proc::status_shared_pending(text), text, "ShdPnd", 16);
  field(proc::status_blocked(text), text, "SigBlk", 16);
  field(proc::status_ignored(text), text, "SigIgn", 16);
  field(proc::status_caught(text), text, "SigCgt", 16);
  wide innermost = 0;
  const bool ok = can_be_read([&] {
    plain_reader at(plain_line(text, "NSpid"));
    do {
      innermost = at.integer(largest_i32);
      at.blanks();
    } while (!at.at_end());
  });
  agree(proc::status_innermost_pid(text), ok, innermost);
}

void open_file(std::string_view text) {
  const auto f = proc::parse_fdinfo(text);
  wide position = 0, flags = 0, mount = 0, inode = 0;
  agree(f.ok(), can_be_read([&] {
          position = plain_signed_field(text, "pos", largest_i64);
          flags = plain_field(text, "flags", largest_u32, 8);
          mount = plain_field(text, "mnt_id", largest_u64);
          if (!lacks(text, "ino")) inode = plain_field(text, "ino", largest_u64);
        }));
  if (f.ok()) require(f->position == position && f->flags == flags && f->mount == mount && f->inode == inode);
}

void special_files(std::string_view text) {
  field(proc::parse_signalfd(text), text, "sigmask", 16);

  const auto e = proc::parse_eventfd(text);
  wide count = 0, semaphore = -1;
  agree(e.ok(), can_be_read([&] {
          count = plain_field(text, "eventfd-count", largest_u64, 16);
          if (!lacks(text, "eventfd-semaphore"))
            semaphore = plain_field(text, "eventfd-semaphore", largest_u32) == 0 ? 0 : 1;
        }));
  if (e.ok()) require(e->count == count && e->semaphore == semaphore);

  const auto t = proc::parse_timerfd(text);
  wide clock = 0, ticks = 0, flags = 0, times[2] = {};
  agree(t.ok(), can_be_read([&] {
          clock = plain_signed_field(text, "clockid", largest_i32);
          ticks = plain_field(text, "ticks", largest_u64);
          flags = plain_field(text, "settime flags", largest_u32, 8);
          for (const int i : {0, 1}) {
            plain_reader at(plain_line(text, i == 0 ? "it_value" : "it_interval"));
            at.literal("(");
            const wide seconds = at.integer(largest_i64);
            at.literal(",");
            const wide rest = at.integer(largest_i64);
            at.literal(")");
            times[i] = seconds * 1'000'000'000 + rest;
            want(seconds >= 0 && rest >= 0 && rest < 1'000'000'000 && times[i] <= largest_i64);
          }
        }));
  if (t.ok())
    require(t->clock == clock && t->ticks == ticks && t->settime_flags == flags && t->value_ns == times[0] &&
            t->interval_ns == times[1]);
}

wide device_of(wide major, wide minor) {
  return static_cast<wide>(makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor)));
}

/// The lines that begin with key, as numbers; what is read before one that cannot be counts.
template <class Read>
bool plain_list(std::string_view text, const std::string& key, std::vector<std::vector<wide>>& found, Read read) {
  return can_be_read([&] {
    const plain_lines lines(text);
    for (const auto& line : lines.whole) {
      plain_reader at(line);
      if (at.next_is(key)) found.push_back(read(at));
    }
    want(!lines.torn);
  });
}

void epoll_targets(std::string_view text) {
  std::vector<std::vector<wide>> parsed, plain;
  const auto outcome = proc::for_each_epoll_target(text, [&](const proc::epoll_target& t) -> result<void> {
    parsed.push_back({t.descriptor, t.events, t.data, t.device, t.inode});
    return {};
  });
  agree(outcome.ok(), plain_list(text, "tfd:", plain, [](plain_reader& at) {
          const auto key = [&](const char* name) {
            at.blanks();
            at.literal(name);
          };
          const wide descriptor = at.integer(largest_i32);
          key("events:");
          const wide events = at.natural(largest_u32, 16);
          key("data:");
          const wide data = at.natural(largest_u64, 16);
          key("pos:");
          at.integer(largest_i64);
          key("ino:");
          const wide inode = at.natural(largest_u64, 16);
          key("sdev:");
          const wide device = at.natural(largest_u64, 16);
          at.word_ends();
          want(descriptor >= 0);
          return std::vector<wide>{descriptor, events, data, device_of(device >> 20, device & 0xfffff), inode};
        }));
  require(parsed == plain);
}

void locks(std::string_view text) {
  std::vector<std::vector<wide>> parsed, plain;
  const auto outcome = proc::for_each_lock(text, [&](const proc::file_lock& l) -> result<void> {
    parsed.push_back({static_cast<wide>(l.kind), l.write, l.breaking, l.pid, l.device, l.inode, l.start,
                      l.to_eof ? 0 : l.end, l.to_eof});
    return {};
  });
  agree(outcome.ok(), plain_list(text, "lock:", plain, [](plain_reader& at) {
          at.natural(largest_u64);
          at.literal(":");
          const auto kind = at.word(), manner = at.word(), access = at.word();
          const std::string kinds[] = {"POSIX", "OFDLCK", "FLOCK", "LEASE", "DELEG"};
          const auto which = std::find(kinds, kinds + 5, kind) - kinds;
          want(which < 5 && (access == "READ" || access == "WRITE" || access == "UNLCK"));
          const wide pid = at.integer(largest_i32), major = at.natural(largest_u32, 16);
          at.literal(":");
          const wide minor = at.natural(largest_u32, 16);
          at.literal(":");
          const wide inode = at.natural(largest_u64), start = at.natural(largest_u64);
          at.blanks();
          const bool to_eof = at.next_is("EOF");
          const wide end = to_eof ? 0 : at.natural(largest_u64);
          at.blanks();
          want(at.at_end() && (to_eof || end >= start));
          return std::vector<wide>{std::min<wide>(which, 3), access == "WRITE", manner == "BREAKING", pid,
                                   device_of(major, minor), inode, start, end, to_eof};
        }));
  require(parsed == plain);
  // An error of the callback stops the walk at once.
  std::size_t calls = 0;
  const auto stopped = proc::for_each_lock(text, [&](const proc::file_lock&) -> result<void> {
    ++calls;
    return errc::again;
  });
  require(calls == (plain.empty() ? 0 : 1));
  require(plain.empty() || stopped.error() == errc::again);
}

void fdinfo(std::string_view text) {
  open_file(text);
  special_files(text);
  epoll_targets(text);
  locks(text);
}

std::vector<wide> plain_timer(std::vector<std::string>& lines) {
  plain_reader first(lines.front());
  lines.erase(lines.begin());
  first.literal("ID: ");
  std::vector<wide> t(7);  // in the order of proc::posix_timer
  t[0] = first.integer(largest_i32);
  want(first.at_end());
  bool signal = false, notify = false, clock = false;
  while (!lines.empty() && lines.front().substr(0, 4) != "ID: ") {
    plain_reader at(lines.front());
    lines.erase(lines.begin());
    if (at.next_is("signal: ")) {
      signal = true;
      t[1] = at.integer(largest_i32);
      at.literal("/");
      t[2] = at.natural(largest_u64, 16);
    } else if (at.next_is("notify: ")) {
      notify = true;
      t[3] = at.next_is("signal/") ? 0 : at.next_is("none/") ? 1 : at.next_is("thread/") ? 2 : 3;
      want(t[3] != 3);
      t[4] = at.next_is("tid.") ? 1 : 0;
      if (t[4] == 0) at.literal("pid.");
      t[5] = at.integer(largest_i32);
    } else if (at.next_is("ClockID: ")) {
      clock = true;
      t[6] = at.integer(largest_i32);
    } else {
      continue;
    }
    want(at.at_end());
  }
  want(signal && notify && clock);
  return t;
}

/// Whether the text that has no end of line begins one more timer.
bool rest_begins_another(std::string_view text) {
  const auto newline = text.rfind('\n');
  return text.substr(newline + 1).starts_with("ID: ");
}

void timers(std::string_view text) {
  plain_lines lines(text);
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t before = rest.size();
    const auto timer = proc::take_posix_timer(rest);
    std::vector<wide> plain;
    const bool ok = can_be_read([&] {
      want(!lines.whole.empty());
      plain = plain_timer(lines.whole);
      // What stands behind the last line belongs to this timer, unless it begins another.
      want(!lines.whole.empty() || !lines.torn || rest_begins_another(text));
    });
    agree(timer.ok(), ok);
    if (!ok) return;
    require(rest.size() < before);
    require_inside(rest, text);
    require(plain == std::vector<wide>{timer->id, timer->signal, timer->value, timer->notify, timer->thread,
                                       timer->target, timer->clock});
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
