// SPDX-License-Identifier: MIT
//
// What the image of a checkpoint is called: the user's pattern filled in, and .PID behind it where
// the name belongs to another process that lives (docs/decisions/0010).
#pragma once

#include "agent_state.hpp"
#include "ckpt/image/owner.hpp"
#include "ckpt/options/name_pattern.hpp"
#include "ckpt/state/refusals.hpp"
#include "image_file.hpp"

namespace ckpt::agent {

/// The process that stands for this one to all others, when there is one. A child has none.
// Context: anywhere
inline const image::process_identity* stand_in_of(int process) {
  const auto& me = state_of_agent;
  return me.outside.pid != 0 && process == me.home ? &me.outside : nullptr;
}

/// The number by which others know the program.
// Context: signal handler, or helper
inline fixed_text<16> known_number(const session& s) {
  const auto* stand_in = stand_in_of(s.program);
  if (stand_in == nullptr) return s.outer_pid;
  fixed_text<16> number;
  number.append(stand_in->pid);
  return number;
}

/// Who writes the image.
// Context: helper
inline result<image::process_identity> writer_identity(session& s) {
  if (const auto* stand_in = stand_in_of(s.program); stand_in != nullptr) return *stand_in;
  const auto who = image::identity_of(s.outer_pid_number);
  if (!who.ok()) return s.why.explain(who.error(), "cannot read in /proc who the program is");
  return who;
}

constexpr u64 longest_path = 4095;  // PATH_MAX, without its end

// Context: signal handler, or helper
inline result<void> check_name(session& s) {
  if (s.final_name.truncated() || s.final_name.view().size() > longest_path)
    return state::refuse_long_name(s.why);
  if (options::goes_elsewhere(s.final_name.view())) return {};
  if (options::base_of(s.final_name.view()).size() > options::longest_file_name)
    return state::refuse_long_file_name(s.why, options::base_of(s.final_name.view()));
  name_temporary(s);
  return {};
}

/// `given` is a pattern, absolute, for this checkpoint only; empty for the configured one.
// Context: signal handler, on the agent's stack
[[gnu::cold]] inline result<void> choose_name(session& s, std::string_view given = {}) {
  auto& me = state_of_agent;
  auto& mine = me.naming;
  me.output.look();
  const auto& configured = me.config.name;
  if (given.empty() && configured.truncated())
    return state::refuse_long_name(s.why);
  const auto pattern = given.empty() ? configured.view() : given;
  const bool told_apart = options::names_process(pattern);
  const bool new_child = s.program != me.home && s.program != mine.process;
  if (s.program == me.home) mine.process = me.home;
  if (new_child) {
    mine = {};
    mine.process = s.program;
    mine.suffix.append('.').append(s.outer_pid.view());
    me.child_told = false;
  }
  sys::abi::utsname names{};
  (void)sys::uname(names);
  s.number = mine.number + 1;
  s.image_before = mine.image;
  s.name_given = !given.empty();
  const auto number = known_number(s);
  const options::name_facts facts{number.view(), s.number,
                                  state::nanoseconds_of(sys::abi::clock_realtime) / 1'000'000'000,
                                  names.nodename};
  // What malformed pattern there is was refused when it was set.
  (void)options::expand_name(pattern, facts, s.final_name);
  s.base_size = s.final_name.view().size();
  // A name for this checkpoint only is whatever it says, unless it belongs to another.
  const bool is_command = pattern.starts_with("exec:");
  if (!told_apart && given.empty() && !is_command) s.final_name.append(mine.suffix.view());
  CKPT_TRY(check_name(s));
  if (s.program != me.home && !told_apart && given.empty() && !is_command && !me.child_told) {
    me.child_told = true;
    fixed_text<2600> line;
    line.append("process ").append(s.outer_pid.view()).append(" is a child of the one that owns ");
    line.append(quoted{s.final_name.view().substr(0, s.base_size)}).append(" and writes ");
    line.append(quoted{s.final_name.view()});
    note(line.view());
  }
  return {};
}

constexpr int most_suffixes = 9;

/// The name's next form for a process to which it does not belong: NAME.PID, NAME.PID.2 ...; two in
/// containers may have the same number.
// Context: helper, all threads frozen
inline result<void> displace(session& s, int level) {
  fixed_text<4200> name;
  name.append(s.final_name.view().substr(0, s.base_size));
  fixed_text<40> suffix;
  suffix.append('.').append(known_number(s).view());
  if (level > 1) suffix.append('.').append(level);
  name.append(suffix.view());
  s.final_name = name;
  s.displaced = true;
  if (!s.name_given) state_of_agent.naming.suffix = suffix;
  return check_name(s);
}

// Context: helper, all threads frozen
inline result<bool> belongs_to_another(session& s) {
  const auto& me = state_of_agent;
  const auto who = CKPT_TRY(writer_identity(s));
  const auto taken = image::belongs_to_another(s.final_name.c_str(), me.naming.image, who,
                                               s.outer_pid_number, me.gone);
  if (!taken.ok())
    return s.why.explain(taken.error(), "cannot see whose image ", quoted{s.final_name.view()}, " is");
  return taken;
}

/// Opens the file that becomes the image, under a name that belongs to no other process. Whoever has
/// its lock decides about the name, and nobody else.
// Context: helper, all threads frozen
inline result<int> claim_name(session& s) {
  // The helper of somebody who has just been killed lets go within this time, unless the disk is slow.
  constexpr int patience = 200;
  const auto again = [](int tries) {
    if (tries == patience) return false;
    (void)sys::nanosleep({0, 1'000'000});
    return true;
  };
  for (int level = 1;; ++level) {
    sys::abi::stat there{};
    if (sys::newfstatat(sys::abi::at_fdcwd, s.final_name.c_str(), there, sys::abi::at_symlink_nofollow)
            .ok() &&
        !state::may_be_replaced(there.st_mode))
      return state::refuse_replaced(s.why, s.final_name.view());
    for (int tries = 0; tries <= patience; ++tries) {
      sys::unique_fd file;
      if (auto made = create_temporary(s); made.ok())
        file = sys::unique_fd(*made);
      else if (made.error() != errc::again)
        return made.error();
      if (file) {
        const auto taken = belongs_to_another(s);
        if (taken.ok() && !*taken) return file.release();
        remove_temporary(s);
        if (!taken.ok()) return taken.error();
        break;
      }
      if (!again(tries)) break;
    }
    if (level > most_suffixes)
      return s.why.refuse(quoted{s.final_name.view()},
                          " belongs to another process, as do all names like it; choose another one "
                          "(-n or CKPT_NAME)");
    CKPT_TRY(displace(s, level));
  }
}

/// What has not come to be does not count; and a name that belongs to another is told once for each
/// process.
// Context: signal handler, on the agent's stack
inline void settle_name(const session& s, bool made) {
  auto& me = state_of_agent;
  if (!made && s.number != 0) {
    me.naming.image = s.image_before;
    me.naming.number = s.number - 1;
  }
  if (made) me.latest = s.final_name;
  if (!s.displaced || me.child_told) return;
  me.child_told = true;
  fixed_text<2600> line;
  line.append("process ").append(known_number(s).view()).append(" writes ");
  line.append(quoted{s.final_name.view()}).append(", because ");
  line.append(quoted{s.final_name.view().substr(0, s.base_size)});
  line.append(" belongs to another process");
  note(line.view());
}

/// The image to go back to when nobody names one: the latest that was made, before there is one what
/// the configured name stands for now.
// Context: ordinary, with the agent's lock
inline result<void> latest_image(fixed_text<name_capacity>& to) {
  const auto& me = state_of_agent;
  to.clear();
  to.append(me.latest.view());
  if (!to.empty()) return {};
  sys::abi::utsname names{};
  (void)sys::uname(names);
  fixed_text<16> number;
  const int self = sys::getpid();
  const auto* stand_in = stand_in_of(self);
  number.append(stand_in != nullptr ? stand_in->pid : self);
  const options::name_facts facts{number.view(), me.naming.number,
                                  state::nanoseconds_of(sys::abi::clock_realtime) / 1'000'000'000,
                                  names.nodename};
  return options::expand_name(me.config.name.view(), facts, to);
}

}  // namespace ckpt::agent
