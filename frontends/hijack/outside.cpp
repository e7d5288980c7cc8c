// SPDX-License-Identifier: MIT
#include "outside.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <thread>
#include <vector>

#include "../agent/interrupted_call.hpp"
#include "first_look.hpp"
#include "other_process.hpp"
#include "permission.hpp"
#include "process_of_its_own.hpp"

namespace ckpt::hijack {
namespace {

#define CKPT_IN_BOX(field) (agent_.box + offsetof(agent::outside_box, field))

}  // namespace

pid_t program_behind(pid_t pid) {
  const auto children = children_of(pid);
  // ckpt as the parent of a job: its witness, and the program or what was restarted.
  if (std::ranges::any_of(children, [](pid_t child) { return name_of(child) == "ckpt-witness"; }))
    for (const pid_t child : children)
      if (name_of(child) != "ckpt-witness") return program_behind(child);
  for (const pid_t child : children)
    if (name_of(child) == "ckpt-guardian")
      for (const pid_t program : children_of(child)) return program;
  return pid;
}

bool has_agent(pid_t pid) {
  outside_checkpoint look;
  report why;
  look.pid_ = program_behind(pid);
  return look.look_before(why).ok() && look.look_whether_stopped(why).ok() && look.find_agent(why).ok() && look.busy().value_or(1) == 0;
}

seen_agent look_for_agent(pid_t pid, report& why) {
  outside_checkpoint look;
  look.pid_ = pid;
  report unsaid;
  if (!look.look_before(unsaid).ok()) return seen_agent::unseen;
  const auto found = look.find_agent(why);
  if (found.ok()) return seen_agent::there;
  if (look.no_agent_) return seen_agent::none;
  return look.other_version_ ? seen_agent::of_other_version : seen_agent::unseen;
}

/// Those in memory of no file: nobody but ckpt -p brings one so, or a restart.
result<void> outside_checkpoint::agents_of_no_file(agents_in_memory& found) const {
  bool readable = false;
  auto code = code_of(thread_, readable);
  if (!readable) return errc::access;
  std::erase_if(code, [](const code_mapping& m) { return m.of_file; });
  CKPT_TRY(find_marks(thread_, code,
                      [&](const code_mapping& m, u64 at, const agent::outside_mark& mark) -> result<bool> {
                        const u64 box = at + static_cast<u64>(mark.box);
                        found.code.push_back(m.where);
                        found.any_has_begun |= peek<u64>(thread_, box).value_or(0) == box;
                        return false;
                      }));
  return {};
}

bool outside_checkpoint::is_still_there() const {
  return peek<u64>(thread_, CKPT_IN_BOX(self)).value_or(0) == agent_.box;
}

/// At work, or not restarted yet.
result<u32> outside_checkpoint::busy() const {
  const u32 closed = CKPT_TRY(peek<u32>(thread_, CKPT_IN_BOX(in_image)));
  return closed | CKPT_TRY(peek<u32>(thread_, agent_.busy));
}

/// What can be said before anything is touched.
result<void> outside_checkpoint::look_before(report& why) {
  thread_ = CKPT_TRY(living_thread(pid_, why));
  CKPT_TRY(look_at_status(text_of_file(proc(pid_, "task/" + std::to_string(thread_) + "/status")), why));
  inner_pid_ = proc::status_innermost_pid(text_of_file(proc(pid_, "status"))).value_or(pid_);
  return {};
}

result<void> outside_checkpoint::look_whether_stopped(report& why) const {
  if (is_stopped(pid_, thread_)) return refuse_stopped(pid_, why);
  return {};
}

result<bool> outside_checkpoint::check_mark(u64 address, const agent::outside_mark& mark,
                                            report& why) {
  const auto from_mark = [&](i64 distance) { return address + static_cast<u64>(distance); };
  const u64 box = from_mark(mark.box);
  if (const auto self = peek<u64>(thread_, box); !self.ok() || *self != box) return false;
  other_version_ = mark.version != agent::outside_version;
  if (other_version_)
    return why.refuse("its agent is of another version of ckpt (interface ", mark.version,
                      " and not ", agent::outside_version, "); use the ckpt that started it");
  agent_ = {box, from_mark(mark.room), from_mark(mark.entry), from_mark(mark.busy),
            {from_mark(mark.gate), from_mark(mark.gate_end)}, from_mark(mark.configure)};
  return true;
}

result<void> outside_checkpoint::find_agent(report& why) {
  bool readable = false;
  const auto code = code_of(thread_, readable);
  const auto found = readable ? find_marks(thread_, code,
                                           [&](const code_mapping&, u64 at, const agent::outside_mark& mark) {
                                             return check_mark(at, mark, why);
                                           })
                              : result<bool>(errc::access);
  if (found.ok() && *found) return {};
  if (found.error() == errc::refused) return errc::refused;
  no_agent_ = found.ok();
  if (found.ok())
    return why.refuse("it was not started by ckpt, so there is no agent in it; start it by ckpt, or "
                      "link it with -lckpt");
  if (found.error() == not_permitted || found.error() == errc::access)
    return refuse_permission(pid_, why);
  return why.explain(found.error(), "cannot look into its memory");
}

/// The thread stands still; from here on the order matters: this process may be killed anywhere.
result<void> outside_checkpoint::ask_held(const outside_wish& wish, u32& number, report& why) {
  held_thread held(thread_);
  const auto stopped = held.take();
  if (!stopped.ok()) return stopped.error();
  if (*stopped != 0) return refuse_stopped(pid_, why);
  sys::abi::user_regs now{};
  u64 size = sizeof now;
  CKPT_TRY(held.get(NT_PRSTATUS, &now, size));
  constexpr u64 code_of_64_bits = 0x33;
  if (now.cs != code_of_64_bits) return why.refuse("it is running 32-bit code");
  // Some calls say EINTR at once instead of leaving the choice to the kernel (signal(7)). Should we be
  // killed, or have to let go, it is left to the kernel; the agent sees what it was.
  auto stood = now;
  if (static_cast<i64>(now.rax) == -EINTR && static_cast<i64>(now.orig_rax) >= 0 &&
      agent::can_be_interrupted(now.orig_rax)) {
    now.rax = static_cast<u64>(sys::abi::restart_no_hand);
    CKPT_TRY(held.set_registers(now));
  }
  const auto agents = busy();
  if (!agents.ok() || *agents != 0 || agent_.gate.contains(now.rip))
    return agents.ok() ? errc::again : agents.error();
  if (static_cast<i64>(now.orig_rax) < 0) abort_restartable_sequence(thread_, now);
  stood.rip = now.rip;

  alignas(64) std::byte room[agent::outside_room_size] = {};
  size = sizeof room;
  CKPT_TRY(held.get(vector_state_note, room, size));
  const auto layout = layout_for(room);
  if (state::signal_frame::size_for(layout) > sizeof room)
    return why.refuse("this processor's registers need more room than the agent has; use the "
                      "trigger signal");
  state::signal_frame frame(room, layout);
  state::thread t{};
  state::registers_from(state::context_of(stood), t);
  u64 mask = 0;
  if (ptrace(PTRACE_GETSIGMASK, thread_, sizeof mask, &mask) != 0) return static_cast<errc>(errno);
  t.signal_mask = mask;
  state::set_context(frame, t);
  frame.context().uc_mcontext.fpstate = agent_.room;

  const u32 last = CKPT_TRY(peek<u32>(thread_, CKPT_IN_BOX(asked)));
  const u32 answered = CKPT_TRY(peek<u32>(thread_, CKPT_IN_BOX(answered)));
  if (last != answered && CKPT_TRY(peek<i32>(thread_, CKPT_IN_BOX(process))) == inner_pid_)
    return errc::again;  // the thread that another asker sends has not arrived yet
  number = last + 1 == 0 ? 1 : last + 1;
  CKPT_TRY(copy(true, thread_, agent_.room, room, sizeof room));
  CKPT_TRY(put(thread_, CKPT_IN_BOX(process), i32{inner_pid_}));
  CKPT_TRY(put(thread_, CKPT_IN_BOX(goes_on), u32{wish.goes_on}));
  CKPT_TRY(put(thread_, CKPT_IN_BOX(name_length), static_cast<u32>(wish.name.size())));
  std::string name = wish.name;
  if (!name.empty()) CKPT_TRY(copy(true, thread_, CKPT_IN_BOX(name), name.data(), name.size()));
  CKPT_TRY(put(thread_, CKPT_IN_BOX(registers), stood));

  auto entering = now;
  entering.rip = agent_.entry;
  entering.orig_rax = ~u64{0};
  entering.eflags = borrowed_flags(now.eflags);
  CKPT_TRY(put(thread_, CKPT_IN_BOX(asked), number));
  if (auto set = held.set_registers(entering); !set.ok()) {
    (void)put(thread_, CKPT_IN_BOX(asked), last);
    return set;
  }
  u64 all = ~u64{0};
  (void)ptrace(PTRACE_SETSIGMASK, thread_, sizeof all, &all);
  return {};
}

result<void> outside_checkpoint::begin(pid_t pid, const outside_wish& wish, int patience_ms,
                                       report& why) {
  if (wish.name.size() >= agent::outside_name_capacity)
    return why.refuse("the name has ", wish.name.size(), " characters; it may have 4095");
  pid_ = program_behind(pid);
  CKPT_TRY(look_before(why));
  CKPT_TRY(look_whether_stopped(why));
  process_ = sys::unique_fd(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
  CKPT_TRY(find_agent(why));
  const auto end = clock::now() + std::chrono::milliseconds(patience_ms);
  // A thread inside vfork comes back when its child likes; one that another process holds, too.
  int stuck = 0, traced = 0;
  for (auto pause = std::chrono::milliseconds(1);; pause = std::min(pause * 2, std::chrono::milliseconds(50))) {
    const auto now = busy();
    if (!now.ok()) return why.explain(now.error(), "it has ended");
    result<void> asked = errc::again;
    const bool free = *now == 0;
    if (free)
      asked = in_process_of_its_own(
          [&](u32& number, report& said) { return ask_held(wish, number, said); }, number_, why);
    if (asked.ok() || asked.error() == errc::refused) return asked;
    if (asked.error() == errc::gone || asked.error() == no_such) {
      CKPT_TRY(look_before(why));  // another thread, or the line that says why not
      if (++stuck > 3) return why.refuse("its threads end faster than they can be stopped");
      continue;
    }
    if (asked.error() == not_permitted) {
      // Another asker may have let go of it meanwhile.
      const int tracer = proc::status_tracer(text_of_file(proc(thread_, "status"))).value_or(0);
      if (++traced > 20 && tracer == 0) return refuse_permission(pid_, why);
      if (traced > 20 && tracer != 0 && !passes_soon(tracer) && busy().value_or(1) == 0)
        return refuse_traced(tracer, why);
    } else if (asked.error() != errc::busy && asked.error() != errc::again) {
      return why.explain(asked.error(), "cannot let it step into the agent");
    } else if (asked.error() == errc::busy && ++stuck > 2) {
      return why.refuse("thread ", thread_, " does not stop (inside vfork, or in a call that nothing "
                        "interrupts); try again when it has come back");
    }
    if (clock::now() >= end)
      return why.refuse("another checkpoint of it is being made; try again when it is complete");
    std::this_thread::sleep_for(pause);
  }
}

result<bool> outside_checkpoint::look(outside_answer& answer) {
  const auto answered = peek<u32>(thread_, CKPT_IN_BOX(answered));
  if (!answered.ok() || *answered != number_) {
    pollfd ended{process_.get(), POLLIN, 0};
    if (poll(&ended, 1, 0) != 0) return errc::gone;
    return false;
  }
  const auto outcome = CKPT_TRY(peek<agent::outside_outcome>(thread_, CKPT_IN_BOX(outcome)));
  answer.complete = outcome == agent::outside_outcome::complete;
  answer.held = outcome == agent::outside_outcome::held;
  answer.image_size = CKPT_TRY(peek<u64>(thread_, CKPT_IN_BOX(image_size)));
  answer.milliseconds = CKPT_TRY(peek<u64>(thread_, CKPT_IN_BOX(milliseconds)));
  answer.line.resize(std::min<u64>(CKPT_TRY(peek<u32>(thread_, CKPT_IN_BOX(line_length))),
                                   agent::outside_line_capacity));
  if (!answer.line.empty())
    CKPT_TRY(copy(false, thread_, CKPT_IN_BOX(line), answer.line.data(), answer.line.size()));
  (void)put(thread_, CKPT_IN_BOX(seen), number_);
  return true;
}

result<void> checkpoint_from_outside(pid_t pid, const outside_wish& wish, outside_answer& answer,
                                     report& why) {
  constexpr int patience_ms = 60'000;
  const auto end = clock::now() + std::chrono::milliseconds(patience_ms);
  outside_checkpoint request;
  CKPT_TRY(request.begin(pid, wish, patience_ms, why));
  for (int looks = 0;; ++looks) {
    const auto there = request.look(answer);
    if (!there.ok())
      return why.explain(there.error(), "it has ended, and has not said that its image is complete");
    if (*there && !answer.held)
      return answer.complete ? result<void>() : why.refuse(answer.line);
    if (*there) {
      if (clock::now() > end)
        return why.refuse("it holds checkpoints off (ckpt_hold); try again when it has released them");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      CKPT_TRY(request.begin(pid, wish, patience_ms, why));
      continue;
    }
    pollfd ended{request.process(), POLLIN, 0};
    (void)poll(&ended, 1, looks < 50 ? 1 : 5);
  }
}

}  // namespace ckpt::hijack
