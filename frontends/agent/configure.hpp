// SPDX-License-Identifier: MIT
//
// ckpt_config: the configuration changes while the program runs. Everything is looked at first, so
// that a field that means nothing changes nothing.
#pragma once

#include "agent_state.hpp"
#include "c_api.hpp"

namespace ckpt::agent {

/// What held before, so that setting it again restores it.
// Context: ordinary, with the agent's lock
inline void fill_old(ckptconfig& old) {
  const auto& me = state_of_agent;
  __builtin_memset(&old, 0, sizeof old);
  const auto name = me.name_of_call.shortened(me.config.name.view());
  const u64 n = name.size() < sizeof old.name ? name.size() : sizeof old.name - 1;
  __builtin_memcpy(old.name, name.data(), n);
  old.asyncsig = static_cast<unsigned>(me.config.signal);
  old.continues = me.config.continues ? 1 : 0;
  old.msperiod = me.config.period_ms;
  old.flags = CKPT_NAME | CKPT_ASYNCSIG | CKPT_CONTINUE | CKPT_MSPERIOD;
}

inline result<void> check_signal(unsigned signal, report& why) {
  if (signal > sys::abi::signal_count)
    return why.refuse("there is no signal ", signal, " (signal(7); 0 for none)");
  fixed_text<16> number;
  number.append(signal);
  if (!options::parse_signal(number.view()).ok())
    return why.refuse("signal ", signal, " ", options::why_no_trigger);
  return {};
}

/// `scratch` is for the name.
// Context: ordinary, with the agent's lock
[[gnu::cold]] inline result<void> apply(const ckptconfig& wanted, fixed_text<name_capacity>& scratch,
                          report& why) {
  auto& me = state_of_agent;
  const auto has = [&](int flag) { return (wanted.flags & flag) != 0; };
  if ((wanted.flags & ~(CKPT_NAME | CKPT_ASYNCSIG | CKPT_CONTINUE | CKPT_MSPERIOD)) != 0)
    return why.refuse("ckptconfig.flags has bits that this version does not know");
  if (has(CKPT_NAME)) {
    u64 length = 0;
    while (length < sizeof wanted.name && wanted.name[length] != '\0') ++length;
    CKPT_TRY(me.name_of_call.resolve({wanted.name, length}, scratch, why));
  }
  if (has(CKPT_ASYNCSIG)) CKPT_TRY(check_signal(wanted.asyncsig, why));
  const int signal = has(CKPT_ASYNCSIG) ? static_cast<int>(wanted.asyncsig) : me.config.signal;
  const u32 period_ms = has(CKPT_MSPERIOD) ? wanted.msperiod : me.config.period_ms;
  const int needed = signal_for(signal, period_ms);
  if (has(CKPT_ASYNCSIG) || has(CKPT_MSPERIOD)) {
    const int before = me.trigger.number();
    // No tick may come for a signal that is not the agent's any more.
    if (needed != before || has(CKPT_MSPERIOD)) me.period.hold();
    if (auto r = me.trigger.move_to(needed); !r.ok()) {
      me.period.go_on();
      return why.explain(r.error(), "cannot handle signal ", needed);
    }
    if (needed != before || has(CKPT_MSPERIOD))
      me.period.change(needed, period_ms, has(CKPT_MSPERIOD));
  }
  if (has(CKPT_NAME)) me.config.name = scratch;
  if (has(CKPT_CONTINUE)) {
    me.config.continues = wanted.continues != 0;
    me.config.continues_given = true;
  }
  me.config.signal = signal;
  me.config.period_ms = period_ms;
  return {};
}

}  // namespace ckpt::agent
