// SPDX-License-Identifier: MIT
#include "doctor.hpp"

#include <climits>
#include <cstdio>
#include <new>

#include "../hijack/other_process.hpp"
#include "../hijack/outside.hpp"
#include "ckpt/options/name_pattern.hpp"
#include "ckpt/proc/status.hpp"

namespace ckpt::doctor {
namespace {

void examine_process(pid_t asked, wishes w, std::string (*program_name)(pid_t), examination& e) {
  e.of = subject::process;
  const pid_t pid = hijack::program_behind(asked);
  const proc_view p(pid);
  const std::string name = hijack::name_of(pid);
  e.title = line_of("process ", asked, name.empty() ? "" : " (", name, name.empty() ? "" : ")");
  e.tell("pid", u64(static_cast<u32>(asked)), std::to_string(asked));
  if (pid != asked)
    e.tell("behind", u64(static_cast<u32>(pid)), line_of("the program is process ", pid, ", and ", asked,
                                                         " stands in for it"));
  process_facts known;
  if (!look_at_process(p, w, known, e)) return;
  look_at_threads(p, w, known, e);
  look_at_trigger(p, w, known, e);
  look_at_files(p, w, known, e);
  look_at_memory(p, known, e);
  if (w.name.empty() && !known.agent) {
    fixed_text<4096> by_default;
    options::append_literally(by_default, program_name(pid));
    by_default.append(".ckpt");
    char here[PATH_MAX];
    if (getcwd(here, sizeof here) != nullptr) w.name = std::string(here) + "/" + by_default.c_str();
  }
  look_at_destination(p, w, known, e);
  const std::string status = p.text("status");
  // It may have ended or become another program meanwhile; then this is what it was.
  if (status.empty()) e.stop("process", "it has ended", "give the number of a program that runs (ps)");
  identity_wish wish;
  wish.number = proc::status_innermost_pid(status).value_or(pid);
  wish.uid = p.uid, wish.gid = p.gid;
  wish.is_running = true;
  look_at_identity(wish, e);
  look_at_losses(p, e);
}

}  // namespace

int run(const std::string& operand, bool as_json, wishes asked, std::string (*program_name)(pid_t)) {
  examination e;
  const auto number = parse_number(operand);
  if (operand.empty())
    look_at_machine(e);
  else if (number.ok() && *number > 0 && *number <= INT_MAX)
    examine_process(static_cast<pid_t>(*number), std::move(asked), program_name, e);
  else
    look_at_image(operand, e);
  if (as_json)
    std::fputs(json_of(e).c_str(), stdout);
  else
    print_table(e);
  if (std::fflush(stdout) != 0) return 1;
  return e.yes() ? 0 : 1;
}

}  // namespace ckpt::doctor
