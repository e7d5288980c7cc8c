// SPDX-License-Identifier: MIT
#include "launch.hpp"

#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "../agent/config.hpp"
#include "../hijack/launch.hpp"
#include "cpu_cap.hpp"
#include "exit_status.hpp"
#include "program_file.hpp"

namespace ckpt::command {
std::string library_path() {
  char link[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", link, sizeof link);
  if (size <= 0 || size == static_cast<ssize_t>(sizeof link)) return {};
  std::string directory(link, static_cast<std::size_t>(size));
  directory.erase(directory.rfind('/') + 1);
  for (const char* relative : {CKPT_LIBRARY_FROM_BIN, CKPT_LIBRARY_IN_BUILD}) {
    char resolved[PATH_MAX];
    if (realpath((directory + relative).c_str(), resolved) != nullptr) return resolved;
  }
  return {};
}

std::string transfer_path() {
  char link[PATH_MAX];
  const ssize_t size = readlink("/proc/self/exe", link, sizeof link);
  if (size <= 0 || size == static_cast<ssize_t>(sizeof link)) return {};
  std::string path(link, static_cast<std::size_t>(size));
  path.erase(path.rfind('/') + 1);
  for (const char* relative : {"ckpt-transfer", CKPT_TRANSFER_IN_BUILD})
    if (access((path + relative).c_str(), X_OK) == 0) return path + relative;
  return {};
}

namespace {

std::string shown(const std::string& name) {
  fixed_text<1024> text;
  text.append(quoted{name});
  return std::string(text.view());
}

int refuse_kind(const program_file& program) {
  const std::string file = shown(program.interpreter.empty() ? program.path : program.interpreter);
  switch (program.kind) {
    case program_kind::other_architecture:
      std::fprintf(stderr, "ckpt: %s is not an x86-64 program, which ckpt cannot checkpoint\n",
                   file.c_str());
      return own_failure;
    case program_kind::privileged:
      std::fprintf(stderr,
                   "ckpt: %s is set-user-ID, set-group-ID or has capabilities; ckpt cannot "
                   "checkpoint it\n",
                   file.c_str());
      return own_failure;
    case program_kind::unreadable:
      std::fprintf(stderr,
                   "ckpt: %s cannot be read, and ckpt must see how the agent gets into it; make it "
                   "readable (chmod +r)\n",
                   file.c_str());
      return own_failure;
    default: return 0;
  }
}

/// How the agent gets into a program.
enum class road {
  preload,  // its loader brings it, as LD_PRELOAD says
  by_hand,  // it has no loader, or one that must not: frontends/hijack does what one would
  within,   // it was linked with it, and need only be told the options
};
road road_into(const program_file& program) {
  if (program.has_agent) return road::within;
  const bool alone = program.kind == program_kind::statically_linked ||
                     program.kind == program_kind::must_be_first ||
                     program.kind == program_kind::other_loader;
  return alone ? road::by_hand : road::preload;
}

/// The variables with which the loader brings the agent, and the agent finds its options.
int prepare_preload(const std::string& library, std::string launch_value) {
  // ld.so takes blanks and colons for separators in LD_PRELOAD and has no way to quote them.
  if (library.find_first_of(" :") != std::string::npos) {
    std::fprintf(stderr,
                 "ckpt: %s: LD_PRELOAD cannot name a path with a blank or colon; install ckpt "
                 "elsewhere\n",
                 library.c_str());
    return own_failure;
  }
  // execve(2) then sets AT_SECURE, and loaders take no LD_PRELOAD.
  if (getuid() != geteuid() || getgid() != getegid()) {
    std::fputs("ckpt: the real and the effective user or group differ, with which loaders ignore "
               "LD_PRELOAD; start ckpt as one user\n", stderr);
    return own_failure;
  }
  std::string preload = library;
  if (const char* users = std::getenv("LD_PRELOAD"); users != nullptr && *users != '\0') {
    if (!launch_value.empty()) launch_value += agent::launch_separator;
    launch_value.append(agent::launch_preload).append("=").append(users);
    preload.append(":").append(users);
  }
  if (setenv("LD_PRELOAD", preload.c_str(), 1) != 0 ||
      setenv(std::string(agent::launch_variable).c_str(), launch_value.c_str(), 1) != 0)
    throw std::bad_alloc();
  return 0;
}

int prepare_within(std::string launch_value) {
  if (const char* users = std::getenv("LD_PRELOAD"); users != nullptr) {
    if (!launch_value.empty()) launch_value += agent::launch_separator;
    launch_value.append(agent::launch_preload).append("=").append(users);
  }
  if (setenv(std::string(agent::launch_variable).c_str(), launch_value.c_str(), 1) != 0)
    throw std::bad_alloc();
  return 0;
}

int prepare_by_hand(const std::string& library, std::string launch_value, const char* program) {
  hijack::launch_plan plan;
  report why;
  plan.options = std::move(launch_value);
  plan.program = shown(program);
  auto outcome = plan.agent.read(library, why);
  if (outcome.ok()) outcome = hijack::inject_at_exec(plan, why);
  if (outcome.ok()) return 0;
  (void)why.explain(outcome.error(), "the agent cannot be put into it (it is statically linked, or must be loaded first)");
  std::fprintf(stderr, "ckpt: cannot start %s: %.*s\n", plan.program.c_str(),
               static_cast<int>(why.line().size()), why.line().data());
  return own_failure;
}

}  // namespace

int launch(const settings& options, char** command_line) {
  auto program = find_program(command_line[0]);
  // env replaces itself by the program it names, and that one would start without the agent: what
  // env would do is done here.
  std::vector<char*> through_env;
  std::string script = program.path;
  std::string interpreter = program.env_program;
  if (program.error == 0 && !interpreter.empty()) {
    through_env = {interpreter.data(), script.data()};
    for (char** word = command_line + 1; *word != nullptr; ++word) through_env.push_back(*word);
    through_env.push_back(nullptr);
    program = find_program(interpreter);
  }
  char** arguments = through_env.empty() ? command_line : through_env.data();
  if (program.error != 0) {
    std::fprintf(stderr, "ckpt: cannot run %s: %s\n", shown(arguments[0]).c_str(),
                 std::strerror(program.error));
    return program.error == ENOENT || program.error == ENOTDIR ? not_found : not_executable;
  }
  if (const int status = refuse_kind(program); status != 0) return status;
  const std::string library = library_path();
  if (library.empty()) {
    std::fprintf(stderr, "ckpt: cannot find libckpt.so beside the ckpt command; install it again\n");
    return own_failure;
  }

  std::string launch_value;
  const auto add = [&](std::string_view key, std::string_view value) {
    if (!launch_value.empty()) launch_value += agent::launch_separator;
    launch_value.append(key).append("=").append(value);
  };
  std::string_view level;
  for (const auto& [key, value] : options)
    if (key == "cpu") level = value;
    else add(key, value);
  if (const auto capped = cap_processor(level); !capped.empty()) add("cpu", capped);
  // The program that was typed, which for a script is not what the kernel runs.
  const std::string_view typed = command_line[0];
  std::string name;
  for (const char c : ckpt::options::base_of(typed)) name.append(c == '%' ? 2 : 1, c);
  add(agent::launch_default_name, name += ".ckpt");
  if (const auto beside = transfer_path(); !beside.empty()) add(agent::launch_transfer, beside);
  int unprepared = 0;
  switch (road_into(program)) {
    case road::preload: unprepared = prepare_preload(library, std::move(launch_value)); break;
    case road::by_hand:
      unprepared = prepare_by_hand(library, std::move(launch_value), arguments[0]);
      break;
    case road::within: unprepared = prepare_within(std::move(launch_value)); break;
  }
  if (unprepared != 0) return unprepared;
  execvp(arguments[0], arguments);
  const int error = errno;
  std::fprintf(stderr, "ckpt: cannot run %s: %s\n", shown(arguments[0]).c_str(),
               std::strerror(error));
  return error == ENOENT ? not_found : not_executable;
}

}  // namespace ckpt::command
