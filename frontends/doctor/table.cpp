// SPDX-License-Identifier: MIT
//
// The doctor's findings for people.
#include <cstdio>

#include "examination.hpp"

namespace ckpt::doctor {

std::string count_of(u64 count, std::string_view one) {
  return std::to_string(count) + " " + std::string(one) + (count == 1 ? "" : "s");
}

namespace {

constexpr std::size_t width = 100;

/// Words of `text`, broken where a line is full; all lines but the first begin at `indent`.
void print_wrapped(std::string_view text, std::size_t column, std::size_t indent) {
  for (bool first = true; !text.empty(); first = false) {
    const auto word = text.substr(0, text.find(' '));
    text.remove_prefix(word.size() < text.size() ? word.size() + 1 : text.size());
    if (!first && column + 1 + word.size() > width) {
      std::printf("\n%*s", static_cast<int>(indent), "");
      column = indent;
    } else if (!first) {
      std::putchar(' ');
      ++column;
    }
    std::fwrite(word.data(), 1, word.size(), stdout);
    column += word.size();
  }
  std::putchar('\n');
}

std::string printable(std::string_view text) {
  std::string shown;
  for (std::size_t at = 0; at < text.size(); at += 1000)
    shown += line_of(quoted{text.substr(at, 1000)});
  return shown;
}

void print_findings(const char* heading, const std::vector<finding>& findings) {
  if (findings.empty()) return;
  std::printf("\n%s\n", heading);
  for (const auto& f : findings) {
    std::fputs("  ", stdout);
    print_wrapped(printable(f.reason), 2, 4);
    if (f.cure.empty()) continue;
    std::fputs("      -> ", stdout);
    print_wrapped(printable(f.cure), 9, 9);
  }
}

void print_facilities(const std::vector<facility>& facilities) {
  if (facilities.empty()) return;
  std::printf("\n%-28s %-4s %s\n", "facility", "here", "");
  for (const auto& f : facilities) {
    const char* is = f.is == facility::state::yes ? "yes" : f.is == facility::state::no ? "no" : "?";
    std::printf("%-28s %-4s ", f.name.c_str(), is);
    print_wrapped(printable(f.value), 34, 34);
    if (f.is != facility::state::no) continue;
    std::printf("%34s", "");
    print_wrapped("without it: " + printable(f.costs), 34, 36);
    if (f.cure.empty()) continue;
    std::printf("%34s", "");
    print_wrapped("-> " + printable(f.cure), 34, 37);
  }
}

}  // namespace

void print_table(const examination& e) {
  const char* answer = "";
  if (e.of == subject::process)
    answer = e.yes() ? "a checkpoint can be made" : "no checkpoint can be made";
  if (e.of == subject::image)
    answer = e.yes() ? "can be restarted here" : "cannot be restarted here";
  if (e.of == subject::machine)
    answer = e.yes() ? "checkpoints and restarts work here" : "something stands in the way here";
  std::printf("%s: %s\n", printable(e.title).c_str(), answer);
  for (const auto& f : e.facts) {
    std::printf("  %-11s ", f.key.c_str());
    print_wrapped(printable(f.text), 14, 14);
  }
  print_findings(e.of == subject::image ? "what stops a restart" : "what stops it", e.stops);
  print_findings("worth knowing", e.notes);
  print_findings("what a restart here loses", e.losses);
  print_findings("not seen", e.unseen);
  print_facilities(e.facilities);
}

}  // namespace ckpt::doctor
