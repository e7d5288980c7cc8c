// SPDX-License-Identifier: MIT
//
// What belongs to the process as a whole and is one number: ids (credentials.hpp restores them),
// umask, personality. And the texts that describe it: program, directory, command line,
// environment.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct process {
  static constexpr auto record = format::record_type::process;
  wire::le<i32> pid;
  wire::le<i32> parent;
  wire::le<u32> uid;
  wire::le<u32> effective_uid;
  wire::le<u32> gid;
  wire::le<u32> effective_gid;
  wire::le<u32> umask;
  wire::le<u32> personality;
  wire::le<u32> thread_count;
  wire::le<u32> generation;
};

enum class text_kind : u32 {
  program = 1,
  directory = 2,
  command_line = 3,
  environment = 4,
  auxiliary_vector = 5,
};
constexpr bool legal(text_kind k) {
  return k >= text_kind::program && k <= text_kind::auxiliary_vector;
}

struct text {
  static constexpr auto record = format::record_type::text;
  wire::le<text_kind> kind;
  wire::reserved<4> reserved;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::process, pid, parent, uid, effective_uid, gid, effective_gid,
                        umask, personality, thread_count, generation);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::text, kind, reserved);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::process> = description<10>{
    "process",
    "The process as a whole.",
    {"getpid(2)", "getppid(2)", "getuid(2)", "geteuid(2)", "getgid(2)", "getegid(2)", "umask(2)",
     "personality(2)", "threads in the image", "how many restarts lie behind this image"}};
template <>
inline constexpr auto describe<state::text> = description<2>{
    "text",
    "A text of the process in the tail; command line and environment have a NUL after each word.",
    {"1 program (/proc/self/exe), 2 working directory, 3 command line, 4 environment, 5 the "
     "auxiliary vector as the kernel gave it",
     "zero"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<process, 40>());
static_assert(wire::laid_out_in<text, 8>());

inline result<void> add_text(format::metadata_builder& out, text_kind kind, bytes tail) {
  text t{};
  t.kind = kind;
  return out.add(t, tail);
}

// Context: agent, in restored memory
inline void restore_process(const process& p) { (void)sys::umask(p.umask); }

/// A directory that is gone leaves relative names without meaning, so it ends the restart.
// Context: agent, in restored memory
inline result<void> restore_directory(const char* path, report& why) {
  if (auto r = sys::chdir(path); !r.ok())
    return why.explain(r.error(), "cannot go to the working directory ", quoted{path},
                       " (create it and restart again)");
  return {};
}

}  // namespace ckpt::state
