// SPDX-License-Identifier: MIT
//
// A program may take the trigger's signal for itself, and keeps it then. Nobody is told when that
// happens; under --verbose the agent looks where it passes by anyway.
#pragma once

#include "agent_state.hpp"
#include "ckpt/image/metadata_view.hpp"

namespace ckpt::agent {

inline void append_signal(fixed_text<256>& line, int signal) {
  if (signal < 32)
    line.append("SIG").append(options::signal_names[signal]);
  else
    line.append("signal ").append(signal);
}

/// What it was when the program began, nohup(1) and its like for instance: it is taken all the same,
/// because it was asked for.
// Context: library load
inline void tell_trigger_at_load() {
  const auto& config = state_of_agent.config;
  if (!config.verbose || config.signal == 0) return;
  sys::abi::kernel_sigaction before{};
  u64 mask = 0;
  (void)sys::rt_sigaction(config.signal, nullptr, &before);
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, nullptr, &mask);
  fixed_text<256> line;
  append_signal(line, config.signal);
  if ((mask >> (config.signal - 1) & 1) != 0)
    line.append(" is blocked where the program begins: it makes no checkpoint until the program "
                "unblocks it (-a chooses another signal)");
  else if (before.handler == sys::abi::sig_ign)
    line.append(" was ignored where the program begins, and now makes checkpoints (-a chooses "
                "another signal)");
  else
    return;
  note(line.view());
}

/// `blocked`: in every thread.
// Context: triggering thread, or agent in restored memory
inline void tell_trigger_taken(bool verbose, bool blocked) {
  const auto& config = state_of_agent.config;
  if (!verbose || config.quiet || config.signal == 0) return;
  sys::abi::kernel_sigaction now{};
  if (!sys::rt_sigaction(config.signal, nullptr, &now).ok()) return;
  const bool ours = now.handler == reinterpret_cast<u64>(&trigger_entry);
  if (ours && !blocked) return;
  fixed_text<256> line;
  line.append("the program ");
  line.append(ours                                     ? "blocks "
              : now.handler == sys::abi::sig_ign       ? "ignores "
              : now.handler == sys::abi::sig_dfl       ? "has given its default back to "
                                                       : "handles ");
  append_signal(line, config.signal);
  line.append(ours ? ": it makes no checkpoint until the program unblocks it (-a chooses another signal)"
                   : ", which makes no checkpoint then (-a chooses another signal)");
  say(line.view());
}

// Context: agent, in restored memory
inline void tell_trigger_after_restart(bool verbose, bytes metadata) {
  const int signal = state_of_agent.config.signal;
  bool blocked = signal != 0;
  image::for_each<state::thread>(metadata, [&](const state::thread& t, bytes) {
    if (signal != 0 && (t.signal_mask.get() >> (signal - 1) & 1) == 0) blocked = false;
  });
  tell_trigger_taken(verbose || state_of_agent.config.verbose, blocked);
}

}  // namespace ckpt::agent
