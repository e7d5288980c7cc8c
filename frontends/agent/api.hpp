// SPDX-License-Identifier: MIT
//
// The functions of ckpt.h. They run where the program calls them, on its stack, possibly a small
// one in a signal handler: what takes room lies in static memory, behind the agent's lock.
#pragma once

#include "call_frame.hpp"
#include "checkpoint.hpp"
#include "configure.hpp"
#include "load.hpp"
#include "restart_call.hpp"
#include "resume.hpp"

namespace ckpt::agent {

/// What functions with the lock need beside the stack.
struct call_room {
  fixed_text<name_capacity> name;
  report why;
};
inline constinit call_room room_of_calls{};

/// A checkpoint that the program asks for by a call: what agent_ask hands over.
struct asked_by_call {
  static constexpr int failed = -1, made = 0, restarted = 1;
  wish what;
  u64 mask = 0;  // the program's

  // Context: triggering thread, on the agent's stack
  int make(const saved_registers& saved) const {
    const u64 all = ~u64{0};
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, nullptr);
    call_frame frame(saved, mask, restarted);
    return checkpoint_by_call(what, frame.context()) ? made : failed;
  }
};

/// With the program's functions before and after it. In a restarted program it returns once more.
// Context: any, no libc; with the agent's lock, all signals blocked
inline int ask(const wish& w, u64 mask) {
  auto& me = state_of_agent;
  asked_by_call request{w, mask};
  me.callbacks.run_before();
  const int answer = agent_ask(&request);
  if (answer != asked_by_call::restarted) me.callbacks.run_after();
  return answer;
}

/// Where a name that a call gives ends, at most where none may end.
inline std::string_view text_of(const char* name) {
  u64 length = 0;
  while (length < CKPT_MAXNAME && name[length] != '\0') ++length;
  return {name, length};
}

/// 0 for a checkpoint under `name`, null for the configured one; -1 when there is none.
// Context: any, no libc
inline int checkpoint_now(const char* name) {
  auto& me = state_of_agent;
  const u32 freezes_then = agent_freezes;
  const signals_blocked quiet;
  const auto refuse = [&](std::string_view line) {
    me.error.set(line);
    return -1;
  };
  if (me.home == 0) return refuse("this program cannot be checkpointed (is /proc mounted?)");
  if (me.callbacks.running_here())
    return refuse(
        "ckpt_ckpt was called by a function that ckpt has called for a checkpoint or a "
        "restart; call it when that one has returned");
  if (me.hold.held()) return refuse(held_off);
  agent_lock::take();
  auto& room = room_of_calls;
  wish w{.by_call = true,
         .waits = false,
         .goes_on = me.config.continues,
         .freezes_then = freezes_then};
  if (name != nullptr) {
    if (!me.name_of_call.resolve(text_of(name), room.name, room.why).ok()) {
      me.error.set(room.why.line());
      agent_lock::give_back();
      return -1;
    }
    w.name = room.name.view();
  }
  int answer = asked_by_call::made;
  if (!is_met(w)) {
    answer = ask(w, quiet.before());
    // The agent has seen to all the rest, and others may have its lock by now.
    if (answer == asked_by_call::restarted) return 0;
  }
  agent_lock::give_back();
  return answer;
}

/// What was put off is made by the last who releases.
// Context: any, no libc
inline int release() {
  auto& me = state_of_agent;
  const int left = me.hold.give_back();
  if (left < 0) {
    me.error.set("ckpt_release was called without a ckpt_hold before");
    return -1;
  }
  // Within a callback the checkpoint that is going on comes first; the note stays for the next
  // release.
  if (left != 0 || me.callbacks.running_here()) return left;
  const signals_blocked quiet;
  const u32 note = me.hold.take_note();
  if (note == hold::nobody) return 0;
  agent_lock::take();
  const wish w = wish_of_note(note);
  if (!may_begin(w)) {  // somebody holds again
    agent_lock::give_back();
    return 0;
  }
  if (ask(w, quiet.before()) == asked_by_call::restarted) return 0;
  agent_lock::give_back();
  return 0;
}

/// Returns only when it cannot be.
// Context: ordinary
[[gnu::cold]] inline void restart_now(const char* name) {
  auto& me = state_of_agent;
  if (me.callbacks.running_here())
    return me.error.set(
        "ckpt_restart was called by a function that ckpt has called for a checkpoint "
        "or a restart; call it when that one has returned");
  if (me.home == 0) return me.error.set("ckpt is not at work in this program (is /proc mounted?)");
  fixed_text<name_capacity> path;
  report why;
  if (name == nullptr) {
    const agent_taken taken;
    if (!latest_image(path).ok())
      return me.error.set("the name is too long with its directory before it");
    if (path.view().starts_with("exec:"))
      return me.error.set("the latest image was given to a command; ckpt_restart needs a name for it");
  } else if (!me.name_of_call.resolve_file(text_of(name), path, why).ok()) {
    return me.error.set(why.line());
  }
  restart_from(path, why);
}

inline void add_callback(callback_list callbacks::*list, void (*function)(void*), void* argument) {
  auto& me = state_of_agent;
  if (function == nullptr) return;
  if (!me.callbacks.running_here()) descriptors_of_agent.fill_paths();
  const agent_taken taken;
  if (!(me.callbacks.*list).add({function, argument})) {
    me.error.set("ckpt can call 64 functions of each kind, and there are that many already");
    return;
  }
  if (list != &callbacks::restart) __atomic_store_n(&agent_callbacks, 1u, __ATOMIC_RELEASE);
  me.error.clear();
}

}  // namespace ckpt::agent

extern "C" {

int ckpt_present(void) {
  return ckpt::agent::state_of_agent.home != 0 ? 1 : 0;
}

const char* ckpt_version(void) {
  return CKPT_VERSION;
}

void ckpt_config(ckptconfig* config, ckptconfig* old) {
  using namespace ckpt::agent;
  auto& me = state_of_agent;
  if (!me.callbacks.running_here() && me.callbacks.any()) descriptors_of_agent.fill_paths();
  const agent_taken taken;
  auto& room = room_of_calls;
  // One structure may serve for both.
  ckptconfig before;
  if (old != nullptr) fill_old(before);
  if (config != nullptr) {
    if (apply(*config, room.name, room.why).ok())
      me.error.clear();
    else
      me.error.set(room.why.line());
  }
  if (old != nullptr) *old = before;
}

int ckpt_ckpt(char* name) {
  return ckpt::agent::checkpoint_now(name);
}

void ckpt_restart(char* name) {
  ckpt::agent::restart_now(name);
}

int ckpt_restarted(void) {
  return ckpt::agent::state_of_agent.last.restarted() ? 1 : 0;
}

unsigned ckpt_generation(void) {
  return ckpt::agent::state_of_agent.generation;
}

int ckpt_instance(unsigned char id[16]) {
  const auto& me = ckpt::agent::state_of_agent;
  __builtin_memcpy(id, me.instance, sizeof me.instance);
  return me.has_instance ? 0 : -1;
}

size_t ckpt_error(char* text, size_t size) {
  return ckpt::agent::state_of_agent.error.copy(text, size);
}

int ckpt_hold(void) {
  return ckpt::agent::state_of_agent.hold.take();
}

int ckpt_release(void) {
  return ckpt::agent::release();
}

void ckpt_on_preckpt(ckpt_callback* f, void* arg) {
  ckpt::agent::add_callback(&ckpt::agent::callbacks::before, f, arg);
}
void ckpt_on_postckpt(ckpt_callback* f, void* arg) {
  ckpt::agent::add_callback(&ckpt::agent::callbacks::after, f, arg);
}
void ckpt_on_restart(ckpt_callback* f, void* arg) {
  ckpt::agent::add_callback(&ckpt::agent::callbacks::restart, f, arg);
}
}
