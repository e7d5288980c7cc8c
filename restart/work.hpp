// SPDX-License-Identifier: MIT
//
// What all steps of a restart know, and how each of them ends it: one line and status 125.
#pragma once

#include "address_space.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/format/header.hpp"
#include "ckpt/image/handover.hpp"
#include "ckpt/state/files/policy.hpp"
#include "ckpt/sys/file.hpp"
#include "identity.hpp"
#include "image_stream.hpp"

namespace ckpt::restart {
namespace {

constexpr int failure_status = 125;

/// What must survive the move to the window and the end of the first stack. It lies in .bss, which
/// the move copies.
struct work {
  report why;
  fixed_text<1024> name;
  image_stream stream;
  format::file_header header;
  image::handover handover;
  bool is_image;
  bool restart_again_possible;
  state::files_policy files;
  identity_wish identity;
  bool verbose;
  u64 signal_mask;  // of whoever restarts
  char** argv;
  char** envp;
  own_mappings own;
  vdso_group vdso;
  alignas(16) char stack[64 * 1024];
};
constinit work global{};

void say(std::string_view line) {
  fixed_text<2600> out;
  out.append("ckpt: ").append(quoted{global.name.view()});
  if (!global.name.empty()) out.append(": ");
  out.append(line).append('\n');
  sys::linux_files kernel;
  (void)sys::write_all(kernel, 2, bytes_of_text(out.view()));
}

[[noreturn]] void fail() {
  say(global.why.line());
  sys::exit_group(failure_status);
}

void require(const result<void>& outcome, std::string_view what) {
  if (outcome.ok()) return;
  (void)global.why.explain(outcome.error(), what);
  fail();
}

}  // namespace
}  // namespace ckpt::restart
