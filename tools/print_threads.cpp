// SPDX-License-Identifier: MIT
//
// Threads with where each goes on, and the signals that wait for them.
#include "columns.hpp"
#include "commands.hpp"
#include "printable.hpp"
#include "program_memory.hpp"

namespace ckpt::tools {

namespace {

std::string place_text(const program_memory& memory, u64 address) {
  const auto* m = memory.find(address);
  if (m == nullptr || m->name.empty()) return "";
  const u64 from = address - m->segment.address + m->segment.file_offset;
  return printable(m->name) + "+" + hex_number(from);
}

std::string components_text(const image_file& image, i32 tid) {
  std::string text;
  for (const auto& [s, raw] : image.all<state::extended_state>()) {
    if (s.tid != tid) continue;
    if (!text.empty()) text += ' ';
    text += std::to_string(s.component);
  }
  return text;
}

void print_pending(const image_file& image, std::ostream& out) {
  const auto pending = image.all<state::pending_signal>();
  if (pending.empty()) return;
  columns table({">SIGNAL", "PENDING FOR"});
  for (const auto& [p, tail] : pending)
    table.add({std::to_string(p.signal),
               p.thread == 0 ? "the process" : "thread " + std::to_string(p.thread)});
  out << '\n';
  table.print(out);
}

}  // namespace

void print_threads(image_file& image, std::ostream& out) {
  const program_memory memory(image);
  columns table(
      {">TID", "NAME", ">GOES ON AT", ">STACK", ">FS BASE", ">BLOCKED SIGNALS", "XSTATE", "IN"});
  for (const auto& [t, tail] : image.all<state::thread>())
    table.add({std::to_string(t.tid), printable(t.name.view()), address_text(t.rip),
               address_text(t.rsp), address_text(t.fs_base), hex_number(t.signal_mask),
               components_text(image, t.tid), place_text(memory, t.rip)});
  table.print(out);
  print_pending(image, out);
}

}  // namespace ckpt::tools
