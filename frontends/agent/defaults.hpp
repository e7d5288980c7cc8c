// SPDX-License-Identifier: MIT
//
// What holds when neither variable nor option says anything, where it is not what config says: a
// program linked with -Wl,-u,capture_signal (frontends/static) is used to SIGUSR2, myckpt and going on.
#pragma once

#include "config.hpp"

/// 1 in the archive member that such a program takes; it defines this symbol anew.
extern "C" {
[[gnu::visibility("hidden"), gnu::weak]] extern const volatile ckpt::u8 ckpt_agent_course;
const volatile ckpt::u8 ckpt_agent_course = 0;
}

namespace ckpt::agent {

// Context: library load
inline void begin_with_defaults(config& c) {
  if (ckpt_agent_course == 0) return;
  constexpr int sig_usr2 = 12;
  c.signal = sig_usr2;
  c.continues = true;
  c.name.append("myckpt");
}

}  // namespace ckpt::agent
