// SPDX-License-Identifier: MIT
#include "doctor.hpp"

#include <cstdio>
#include <cstdlib>
#include <new>

#include "../doctor/doctor.hpp"

namespace ckpt::command {

int examine(const doctor_options& options, const now_options& process, const char* operand,
            const agent::config& given) {
  agent::config config = given;
  const auto variable = [&](ckpt::options::id id, const char* name, bool is_given) {
    const char* value = std::getenv(name);
    if (!is_given && value != nullptr && *value != '\0') (void)config.set(id, value);
  };
  using ckpt::options::id;
  variable(id::name, "CKPT_NAME", !config.name.empty());
  variable(id::signal, "CKPT_ASYNCSIG", config.signal != agent::config().signal);
  variable(id::seccomp, "CKPT_SECCOMP", false);
  variable(id::ignore_fd, "CKPT_IGNORE_FD", false);
  doctor::wishes wishes;
  if (!config.name.empty()) {
    agent::make_absolute(config.name);
    wishes.name = config.name.view();
  }
  wishes.signal = config.signal;
  wishes.try_seccomp = config.try_seccomp;
  wishes.ignored = config.ignored;
  try {
    return doctor::run(process.pid != 0 ? std::to_string(process.pid) : std::string(operand),
                       options.as_json, wishes, program_name);
  } catch (const std::bad_alloc&) {
    std::fputs("ckpt: not enough memory for ckpt itself; raise RLIMIT_AS (ulimit -v)\n", stderr);
    return 1;
  }
}

}  // namespace ckpt::command
