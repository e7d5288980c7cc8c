// SPDX-License-Identifier: MIT
#include "attach.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <array>
#include <climits>
#include <cstddef>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "../agent/config.hpp"
#include "all_threads.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/sys/file.hpp"
#include "copied_object.hpp"
#include "first_look.hpp"
#include "outside.hpp"
#include "permission.hpp"
#include "process_of_its_own.hpp"
#include "way_back.hpp"

namespace ckpt::hijack {
namespace {

struct call_of_agent {
  u64 what = agent::injected_options;
  std::string_view options;
  range memory;  // where it lies, for one that begins
};

constexpr u64 stack_for_agent = 128 * 1024;

/// What a call with these options needs: they, what is given, and a stack.
u64 memory_for_call(std::string_view options) {
  return page_up(sizeof(agent::injected) + options.size()) + stack_for_agent;
}

/// function(injected_mark, given, …) on memory that nobody uses.
result<agent::injected> call_agent(tracee& t, remote_caller& caller, const visit& v,
                                   const code_places& g, u64 function, const call_of_agent& call,
                                   range memory, report& why) {
  const std::string_view options = call.options;
  const remote_ptr<agent::injected> given_at(memory.begin);
  const auto options_at = (given_at + 1).as<void>();
  agent::injected given{};
  given.options = options_at.address(), given.options_length = options.size();
  given.running = call.what;
  given.base = call.memory.begin, given.length = call.memory.length();
  CKPT_TRY(t.write(given_at, given));
  CKPT_TRY(t.write(options_at, bytes_of_text(options)));
  const std::array<u64, 3> arguments{agent::injected_mark, given_at.address(), options.size()};
  result<void> called = errc::none;
  if (v.safe()) {
    const remote_address tail(memory.end - frame_tail_size);
    CKPT_TRY(t.write(tail, v.tail()));
    called = caller.function_call_through(remote_address(function), arguments, tail + frame_return_word,
                                          remote_address(g.back_call));
  } else {
    called = caller.function_call(remote_address(function), arguments,
                                  remote_address(memory.end));
  }
  if (!called.ok() && caller.fatal_signal() != 0)
    return why.refuse("the agent died in it of signal ", caller.fatal_signal(), "; report this");
  CKPT_TRY(called);
  CKPT_TRY(t.read(given_at.as<void>(), std::as_writable_bytes(std::span(&given, 1))));
  return given;
}

}  // namespace

class attachment {
 public:
  attachment(const attach_plan& plan, attached& done) : plan_(plan), done_(done) {}

  /// errc::again when another moment may do.
  result<void> make(pid_t pid, int tries, report& why) {
    last_try_ = tries > 200;
    early_ = tries < 40;
    look_.pid_ = program_behind(pid);
    const pid_t there = look_.pid_;
    CKPT_TRY(look_.look_before(why));
    const pid_t alive = look_.thread_;  // /proc has neither exe nor maps of a first thread that has ended
    if (is_32_bit(alive)) return refuse_32_bit(why);
    const std::string status = text_of_file(proc(there, "status"));
    if (proc::status_seccomp(status).value_or(0) != 0 && !plan_.try_seccomp)
      return refuse_filtered(why);
    if (const int tracer = proc::status_tracer(status).value_or(0); tracer != 0) {
      if (++traced_ <= (passes_soon(tracer) ? 4000 : 40)) return errc::again;
      return refuse_traced(tracer, why);
    }
    maps_ = text_of_file(proc(alive, "maps"));
    auto agent_there = look_for_agent(why);
    if (!agent_there.ok()) return agent_there.error();
    const bool about_to_begin = !*agent_there && is_about_to_begin(alive);
    // What was about to begin at the first look may have begun by the second.
    if (!*agent_there && !about_to_begin) agent_there = look_for_agent(why);
    if (!agent_there.ok()) return agent_there.error();
    done_.was_there = *agent_there;
    if (about_to_begin) {
      if (++beginning_ > 2000)
        return refuse_beginning(why);
      return errc::again;
    }
    if (plan_.remove && !*agent_there) return why.refuse("there is no agent in it");
    if (*agent_there && !plan_.remove && (plan_.only_new || plan_.options.empty())) return {};
    return in_process_of_its_own(
        [this](attached& done, report& said) {
          const auto outcome = work(said);
          done = done_;
          return outcome;
        },
        done_, why);
  }

 private:
  result<bool> look_for_agent(report& why) {
    report unsaid;
    const auto found = look_.find_agent(unsaid);
    if (found.ok()) return true;
    if (look_.no_agent_) return false;
    return why.refuse(unsaid.line());
  }

  result<void> work(report& why) {
    const pid_t pid = look_.pid_;
    bool readable = false;
    const code_places found = find_code_places(look_.thread_, code_of(look_.thread_, readable));
    std::optional<copied_object> copy;
    if (!done_.was_there) copy_ = &copy.emplace(plan_.agent);
    all_threads threads(pid);
    threads_ = &threads;
    CKPT_TRY(threads.hold(why));
    const auto chosen = threads.suitable();
    if (chosen.error() == errc::not_found) return why.refuse("it is running 32-bit code");
    CKPT_TRY(chosen);
    look_.thread_ = *chosen;
    const std::string held_maps = text_of_file(proc(*chosen, "maps"));
    code_places now = found;
    if (!still_there(now)) now = {};
    agents_in_memory agents;
    CKPT_TRY(look_.agents_of_no_file(agents));
    const auto ways = ways_back_in(held_maps, now, std::move(agents.code));
    for (const auto& thread : threads.that_block_all())
      if (early_ || ways.has(thread)) return errc::again;
    // Somebody may have been here meanwhile. An agent that has not begun although no thread is in it
    // never will.
    if (done_.was_there) {
      if (!look_.is_still_there() || CKPT_TRY(look_.busy()) != 0) return errc::again;
    } else if (agents.any_has_begun || (held_maps != maps_ &&
                         (CKPT_TRY(look_for_agent(why)) || is_about_to_begin(*chosen)))) {
      return errc::again;
    }
    tracee t;
    t.adopt(*chosen);
    auto outcome = enter(t, now, now.complete() ? place_for_frame(pid, *chosen, held_maps, now) : 0, why);
    if (t.tid() == 0) return why.refuse("it has ended");
    t.forget();  // `threads` lets it go
    return outcome;
  }

  [[nodiscard]] bool still_there(const code_places& g) const {
    const auto is = [&](u64 at) {
      const auto code = peek<std::array<u8, 2>>(look_.thread_, at);
      return code.ok() && *code == system_call_instruction;
    };
    return g.complete() && is(g.call) && is(g.back_call);
  }

  result<void> enter(tracee& t, const code_places& g, u64 frame_at, report& why) {
    visit v(t, g, frame_at);
    CKPT_TRY(v.begin());
    call_site site(t);
    if (v.safe())
      site.use(remote_address(g.call));
    else
      CKPT_TRY(find_site(site, v.base()));
    remote_caller caller(t, v.base(), site.address());
    const auto in_place = done_.was_there ? configure(t, caller, v, g, why)
                                          : put_in(t, caller, v, g, why);
    if (auto r = v.end(); !r.ok()) return r;
    return in_place;
  }

  result<void> find_site(call_site& site, const registers& r) {
    bool readable = false;
    for (const auto& m : code_of(look_.thread_, readable))
      for (u64 page = m.where.begin; page < m.where.end; page += page_size)
        if (site.find(remote_address(page)).ok()) return {};
    return site.borrow(remote_ptr<u64>(page_down(program_counter(r))));
  }

  result<void> put_in(tracee& t, remote_caller& caller, const visit& v, const code_places& g,
                      report& why) {
    std::string options = plan_.options;
    if (!options.empty()) options += agent::launch_separator;
    options.append(agent::launch_default_name).append("=").append(plan_.default_name);
    if (!plan_.transfer.empty())
      (options += agent::launch_separator).append(agent::launch_transfer).append("=").append(plan_.transfer);
    const u64 extra = memory_for_call(options), length = copy_->length();
    const auto base = copy_->map(t, caller, extra);
    if (!base.ok()) return why.explain(base.error(), "it cannot map the agent");
    const range there{*base, *base + length}, memory{there.end, there.end + extra};
    for (const u64 constructor : plan_.agent.constructors()) {
      const auto given = call_agent(t, caller, v, g, *base + constructor,
                                    {agent::injected_options, options, there}, memory, why);
      if (!given.ok()) {
        if (given.error() != errc::gone)
          (void)caller.system_call(SYS_munmap, there.begin, length + extra);
        return given.error();
      }
      if (given->kept_signal != 0) done_.kept_signal = static_cast<int>(given->kept_signal);
    }
    CKPT_TRY(caller.system_call(SYS_munmap, memory.begin, extra));
    return {};
  }

  result<void> configure(tracee& t, remote_caller& caller, const visit& v, const code_places& g,
                         report& why) {
    borrowed_memory borrowed(caller);
    CKPT_TRY(borrowed.take(memory_for_call(plan_.options)));
    const range memory{borrowed.begin().address(), borrowed.end().address()};
    if (plan_.remove) return remove(t, caller, v, g, memory, why);
    const auto given = call_agent(t, caller, v, g, look_.agent_.configure,
                                  {agent::injected_options, plan_.options, {}}, memory, why);
    if (!given.ok()) return given.error();
    if (given->done == 0) return why.refuse("its agent cannot handle that signal");
    return {};
  }

  /// Nobody may come back into it: no thread is there, and no signal leads there any more.
  result<void> remove(tracee& t, remote_caller& caller, const visit& v, const code_places& g,
                      range memory, report& why) {
    const u64 agent = look_.agent_.configure;
    const auto where =
        CKPT_TRY(call_agent(t, caller, v, g, agent, {agent::injected_where, {}, {}}, memory, why));
    const range there{where.base, where.base + where.length};
    if (there.empty())
      return why.refuse("its agent did not come by ckpt -p: it was started by ckpt, or is linked "
                        "with it; -a 0 -z 0 makes it leave signals and clock alone");
    if (threads_->any_in(there)) {
      if (last_try_) return why.refuse("a thread of it sleeps in the agent since its restart; try again when that "
                        "call has ended");
      return errc::again;
    }
    (void)CKPT_TRY(call_agent(t, caller, v, g, agent, {agent::injected_remove, {}, {}}, memory, why));
    CKPT_TRY(caller.system_call(SYS_munmap, there.begin, there.length()));
    return {};
  }

  const attach_plan& plan_;
  attached& done_;
  all_threads* threads_ = nullptr;
  copied_object* copy_ = nullptr;
  outside_checkpoint look_;
  std::string maps_;  // before it was looked for
  int traced_ = 0;
  int beginning_ = 0;
  bool last_try_ = false;
  bool early_ = true;  // who blocks every signal may come back from somewhere, or may do so for good
};

result<void> put_into_running_program(pid_t pid, const attach_plan& plan, attached& done,
                                      report& why) {
  constexpr int patience_ms = 60'000;
  const auto end = clock::now() + std::chrono::milliseconds(patience_ms);
  attachment a(plan, done);
  int denied = 0;
  for (int tries = 0;; ++tries) {
    const auto made = a.make(pid, tries, why);
    if (made.ok() || made.error() == errc::refused) return made;
    denied = made.error() == not_permitted ? denied + 1 : 0;  // another may have been here before
    if (denied > 20)
      return refuse_permission(program_behind(pid), why);
    const bool passes = made.error() == not_permitted || made.error() == errc::again ||
                        made.error() == no_such || made.error() == errc::gone;
    if (!passes || clock::now() >= end)
      return why.explain(made.error(), "the agent cannot be put into it");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

}  // namespace ckpt::hijack
