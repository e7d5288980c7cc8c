// SPDX-License-Identifier: MIT
//
// Threads with where each goes on, and the signals that wait for them; at length with registers and
// who has called whom.
#include "backtrace.hpp"
#include "columns.hpp"
#include "commands.hpp"
#include "json_stream.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

namespace {

std::string register_text(u64 value) {
  std::string text = hex_number(value).substr(2);
  return std::string(16 - text.size(), '0') + text;
}

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

void print_registers(const state::thread& t, std::ostream& out) {
  const std::pair<std::string_view, u64> registers[] = {
      {"rip", t.rip}, {"rsp", t.rsp}, {"rbp", t.rbp},        {"flags", t.rflags},
      {"rax", t.rax}, {"rbx", t.rbx}, {"rcx", t.rcx},        {"rdx", t.rdx},
      {"rsi", t.rsi}, {"rdi", t.rdi}, {"r8", t.r8},          {"r9", t.r9},
      {"r10", t.r10}, {"r11", t.r11}, {"r12", t.r12},        {"r13", t.r13},
      {"r14", t.r14}, {"r15", t.r15}, {"fs base", t.fs_base}, {"gs base", t.gs_base}};
  int column = 0;
  for (const auto& [name, value] : registers) {
    out << "  " << std::string(name) << std::string(8 - name.size(), ' ')
        << register_text(value);
    column = (column + 1) % 4;
    if (column == 0) out << '\n';
  }
}

std::string function_text(const frame& f) {
  const std::string file = f.module.substr(f.module.rfind('/') + 1);
  if (!f.function.empty())
    return printable(f.function) + "+" + hex_number(f.offset) +
           (file.empty() ? "" : " (" + printable(file) + ")");
  if (!f.module.empty()) return "no symbols (" + printable(file) + "+" + hex_number(f.offset) + ")";
  return "no symbols";
}

void print_trace(const thread_trace& trace, std::ostream& out) {
  std::size_t number = 0;
  for (const auto& f : trace.frames) {
    std::string digits = "#" + std::to_string(number++);
    digits.resize(std::max<std::size_t>(digits.size(), 4), ' ');
    out << "  " << digits << ' ' << address_text(f.address) << "  " << function_text(f);
    if (!f.source.empty()) out << "  " << painted(out, tint::faint, printable(f.source));
    out << '\n';
  }
  if (!trace.end.empty()) out << "  the backtrace ends here: " << printable(trace.end) << '\n';
}

}  // namespace

void print_threads_at_length(image_file& image, std::ostream& out) {
  print_threads(image, out);
  program_memory memory(image);
  const auto modules = find_modules(image, memory);
  const auto differing = files_that_differ(modules);
  if (can_backtrace() && !differing.empty()) {
    out << '\n';
    for (const auto& line : differing) out << painted(out, tint::changed, line) << '\n';
  }
  const auto threads = image.all<state::thread>();
  std::size_t next = 0;
  backtrace(image, memory, modules, [&](const thread_trace& trace) {
    const auto& t = threads.at(next++).fields;
    out << '\n'
        << painted(out, tint::title, "thread " + std::to_string(t.tid) + " " +
                                         printable(t.name.view()))
        << '\n';
    print_registers(t, out);
    print_trace(trace, out);
  });
}

void threads_json(image_file& image, const request& asked, std::ostream& out) {
  json_stream to(out);
  begin_document(to, asked);
  to.begin_object("records");
  stream_records(to, image,
                 {format::record_type::thread, format::record_type::extended_state,
                  format::record_type::pending_signal});
  to.end_object();
  program_memory memory(image);
  const auto modules = find_modules(image, memory);
  to.begin_array("modules");
  for (const auto& m : modules) to.value(module_json(m));
  to.end_array();
  to.begin_array("backtraces");
  backtrace(image, memory, modules, [&](const thread_trace& trace) {
    json frames = json::array();
    for (const auto& f : trace.frames)
      frames.push_back({{"address", hex_number(f.address)},
                        {"function", f.function.empty() ? json() : text_json(f.function)},
                        {"offset", hex_number(f.offset)},
                        {"module", f.module.empty() ? json() : text_json(f.module)},
                        {"source", f.source.empty() ? json() : text_json(f.source)}});
    to.value({{"tid", trace.tid},
              {"frames", frames},
              {"end", trace.end.empty() ? json() : text_json(trace.end)}});
  });
  to.end_array();
  to.end_object();
}

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
