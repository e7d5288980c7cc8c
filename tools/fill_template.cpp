// SPDX-License-Identifier: MIT
//
// fill_template TEMPLATE SOURCE-DIRECTORY: prints the template with what the source already says in
// place of its marks, for manual pages and completions, so that nothing is said twice. A mark is a
// line of its own, @WORDS@; @version@ may stand anywhere. `fill_template --list` prints the options
// one a line for the tests.
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "ckpt/options/signal_name.hpp"
#include "ckpt/options/table.hpp"
#include "readckpt_words.hpp"
#include "scdoc_text.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::tools;
using words = std::vector<std::string>;

struct bad_template {
  std::string why;
};

u8 reader_named(const std::string& name) {
  if (name == "command") return options::command;
  if (name == "agent") return options::agent | options::command;
  if (name == "restart") return options::restart;
  throw bad_template{"no reader is called " + name};
}

bool takes(const options::option& o, u8 readers) {
  return (o.readers & readers) != 0 && !o.long_name.empty();
}

// ---------------------------------------------------------------------------------------------
// manual pages

std::string sentence(std::string_view text) {
  std::string out(text);
  if (!out.starts_with("rewind:") && !out.starts_with("try:"))
    out[0] = static_cast<char>(out[0] >= 'a' && out[0] <= 'z' ? out[0] - 32 : out[0]);
  return quote_for_scdoc(out) + ".";
}

void manual_options(std::ostream& out, u8 readers) {
  for (const auto& o : options::table) {
    if (!takes(o, readers)) continue;
    if (o.short_name != 0) out << "*-" << o.short_name << "*, ";
    out << "*--" << o.long_name << '*';
    if (!o.argument.empty()) out << " _" << quote_for_scdoc(o.argument) << '_';
    out << "\n\t" << sentence(o.meaning);
    if (!o.variable.empty()) out << " Variable: *" << quote_for_scdoc(o.variable) << "*.";
    out << "\n\n";
  }
}

void manual_variables(std::ostream& out, u8 readers) {
  for (const auto& o : options::table) {
    if ((o.readers & readers) == 0 || o.variable.empty()) continue;
    out << '*' << quote_for_scdoc(o.variable) << "*\n\t";
    if (o.long_name.empty())
      out << sentence(o.meaning);
    else
      out << "As *--" << o.long_name << (o.argument.empty() ? "*; a switch." : "*.");
    out << "\n\n";
  }
}

void manual_readckpt(std::ostream& out) {
  for (const auto& c : readckpt_commands) {
    out << "*readckpt " << c.name << "* _" << quote_for_scdoc(c.operands) << "_\n\t"
        << sentence(c.meaning);
    if (!c.more.empty()) out << ' ' << c.more << '.';
    out << "\n\n";
  }
  for (const auto& o : readckpt_options) {
    if (o.code == 'o') out << "*-o* _" << o.argument << "_, ";
    out << '*' << quote_for_scdoc(option_form(o)) << "*\n\t" << sentence(o.meaning) << "\n\n";
  }
}

/// What include/ckpt.h says of a function, in the comment before its declaration: the prototype in
/// the first line, text, examples that are set in by three blanks.
void manual_function(std::ostream& out, const std::string& directory, const std::string& name) {
  std::ifstream header(directory + "/include/ckpt.h");
  words comment;
  bool inside = false;
  for (std::string line; std::getline(header, line);) {
    if (line.starts_with("/* ")) {
      comment.clear();
      inside = true;
      line.replace(0, 3, " * ");
    }
    if (!inside) continue;
    const auto end = line.rfind("*/");
    inside = end == line.npos;
    if (!inside) line.erase(end);
    while (line.ends_with(' ')) line.pop_back();
    comment.push_back(line.size() > 3 ? line.substr(3) : "");
    const std::string& first = comment.front();
    const auto at = first.find(name);
    const bool whole =
        at != first.npos &&
        std::string_view(" ,(\n").find((first + "\n")[at + name.size()]) != std::string_view::npos;
    if (inside || !whole || first.find('(') == first.npos) continue;
    out << '*' << quote_for_scdoc(first) << "*\n\n";
    bool code = false;
    for (std::size_t i = 1; i < comment.size(); ++i) {
      const bool indented = comment[i].starts_with("  ");
      if (comment[i].empty()) {
        out << '\n';
        continue;
      }
      if (indented != code) out << (indented ? "```\n" : "```\n\n");
      code = indented;
      out << (code ? literal(comment[i].substr(2)) : inline_marks(comment[i])) << '\n';
    }
    if (code) out << "```\n";
    out << '\n';
    return;
  }
  throw bad_template{"include/ckpt.h says nothing of " + name};
}

// ---------------------------------------------------------------------------------------------
// completions

/// What a shell offers for an option's argument.
std::string offer(const options::option& o) {
  if (o.argument == "NAME" || o.argument == "FILE") return "file";
  if (o.argument == "SIGNAL") return "signal";
  if (o.argument == "PID") return "pid";
  if (!o.choices.empty()) return "words " + std::string(o.choices);
  return "nothing";
}

void option_words(std::ostream& out, u8 readers) {
  for (const auto& o : options::table) {
    if (!takes(o, readers)) continue;
    if (o.short_name != 0) out << " -" << o.short_name;
    out << " --" << o.long_name;
  }
}

void bash_arguments(std::ostream& out, u8 readers) {
  for (const auto& o : options::table) {
    if (!takes(o, readers) || o.argument.empty()) continue;
    out << "    ";
    if (o.short_name != 0) out << '-' << o.short_name << '|';
    out << "--" << o.long_name << ") echo '" << offer(o) << "' ;;\n";
  }
}

std::string quoted_for_shell(std::string_view text, std::string_view also = {}) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
      continue;
    }
    if (also.find(c) != also.npos) out += '\\';
    out += c;
  }
  return out;
}

void signal_words(std::ostream& out) {
  for (int i = 1; i < 32; ++i)
    if (options::parse_signal(options::signal_names[i]).ok())
      out << " SIG" << options::signal_names[i];
}

/// Specifications for _arguments: '(-n --name)'{-n+,--name=}'[brief]:NAME:_files'.
void zsh_options(std::ostream& out, u8 readers) {
  for (const auto& o : options::table) {
    if (!takes(o, readers)) continue;
    const bool argument = !o.argument.empty();
    out << "      ";
    if (o.short_name != 0)
      out << "'(-" << o.short_name << " --" << o.long_name << ")'{-" << o.short_name
          << (argument ? "+" : "") << ",--" << o.long_name << (argument ? "=}'" : "}'");
    else
      out << "'--" << o.long_name << (argument ? "=" : "");
    out << '[' << quoted_for_shell(o.brief, "[]:") << ']';
    if (argument) {
      const std::string what = offer(o);
      out << ':' << quoted_for_shell(o.argument, ":") << ':';
      if (what == "file")
        out << "_files";
      else if (what == "signal") {
        out << '(';
        signal_words(out);
        out << " )";
      } else if (what == "pid")
        out << "{compadd -- $(ps -eo pid=)}";  // _pids has only those of the terminal
      else if (what.starts_with("words "))
        out << '(' << what.substr(6) << ')';
      else
        out << ' ';
    }
    out << "' \\\n";
  }
}

void fish_options(std::ostream& out, u8 readers, const std::string& program) {
  for (const auto& o : options::table) {
    if (!takes(o, readers)) continue;
    out << "complete -c " << program;
    if (program == "ckpt") out << " -n __ckpt_before_program";
    if (o.short_name != 0) out << " -s " << o.short_name;
    out << " -l " << o.long_name;
    const std::string what = offer(o);
    if (!o.argument.empty()) {
      if (what == "file")
        out << " -rF";
      else if (what == "signal")
        out << " -xa \"$__ckpt_signals\"";
      else if (what == "pid")
        out << " -xa '(__fish_complete_pids)'";
      else if (what.starts_with("words "))
        out << " -xa '" << what.substr(6) << '\'';
      else
        out << " -x";
    }
    out << " -d '" << quoted_for_shell(o.brief) << "'\n";
  }
}

void fish_argument_options(std::ostream& out, u8 readers) {
  for (const auto& o : options::table) {
    if (!takes(o, readers) || o.argument.empty()) continue;
    if (o.short_name != 0) out << " -" << o.short_name;
    out << " --" << o.long_name;
  }
}

// ---------------------------------------------------------------------------------------------

/// The value of @WORDS@.
std::string value_of(const words& mark, const std::string& directory) {
  std::ostringstream out;
  const auto is = [&](std::string_view name, std::size_t operands) {
    return mark[0] == name && mark.size() == operands + 1;
  };
  if (is("options", 1))
    manual_options(out, reader_named(mark[1]));
  else if (is("variables", 1))
    manual_variables(out, reader_named(mark[1]));
  else if (is("readckpt", 0))
    manual_readckpt(out);
  else if (is("function", 1))
    manual_function(out, directory, mark[1]);
  else if (is("markdown", 1)) {
    std::ifstream in(directory + "/" + mark[1]);
    if (!in) throw bad_template{"cannot read " + mark[1]};
    out << scdoc_of_markdown(in);
  } else if (is("option-words", 1))
    option_words(out, reader_named(mark[1]));
  else if (is("signal-words", 0))
    signal_words(out);
  else if (is("bash-arguments", 1))
    bash_arguments(out, reader_named(mark[1]));
  else if (is("zsh-options", 1))
    zsh_options(out, reader_named(mark[1]));
  else if (is("fish-options", 2))
    fish_options(out, reader_named(mark[1]), mark[2]);
  else if (is("argument-options", 1))
    fish_argument_options(out, reader_named(mark[1]));
  else if (is("readckpt-words", 0)) {
    for (const auto& c : readckpt_commands) out << ' ' << c.name;
    for (const auto& o : readckpt_options) out << " --" << o.name;
  } else if (is("bash-readckpt-choices", 0)) {
    for (const auto& o : readckpt_options)
      if (!o.choices.empty()) out << "    --" << o.name << ") echo '" << o.choices << "' ;;\n";
  } else if (is("zsh-readckpt", 0)) {
    for (const auto& c : readckpt_commands)
      out << "        '" << c.name << ':' << quoted_for_shell(c.meaning, ":") << "'\n";
  } else if (is("zsh-readckpt-options", 0)) {
    for (const auto& o : readckpt_options) {
      out << "      '--" << o.name;
      if (!o.argument.empty()) out << (o.argument.starts_with('[') ? "=-" : "=");
      out << '[' << quoted_for_shell(o.meaning, "[]:") << ']';
      if (!o.choices.empty())
        out << ":choice:(" << o.choices << ')';
      else if (!o.argument.empty())
        out << ":file:_files";
      out << "' \\\n";
    }
  } else if (is("fish-readckpt", 0)) {
    for (const auto& c : readckpt_commands)
      out << "complete -c readckpt -n __fish_use_subcommand -a " << c.name << " -d '"
          << quoted_for_shell(c.meaning) << "'\n";
    for (const auto& o : readckpt_options) {
      out << "complete -c readckpt -l " << o.name;
      if (!o.choices.empty())
        out << " -x -a '" << o.choices << '\'';
      else if (!o.argument.empty())
        out << " -rF";
      out << " -d '" << quoted_for_shell(o.meaning) << "'\n";
    }
  } else if (is("version", 0))
    out << CKPT_VERSION;
  else
    throw bad_template{"no mark is called " + mark[0]};
  return out.str();
}

bool is_mark(const std::string& text) {
  return !text.empty() && text.find_first_not_of(
                              "abcdefghijklmnopqrstuvwxyz_ /.-"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == text.npos;
}

/// A mark at the end of a line takes the line's end with it when its value brings one.
std::string filled(std::string_view line, const std::string& directory) {
  std::string out;
  for (;;) {
    const auto begin = line.find('@');
    if (begin == line.npos) return out.append(line) + '\n';
    const auto end = line.find('@', begin + 1);
    const std::string mark(line.substr(begin + 1, end == line.npos ? end : end - begin - 1));
    out += line.substr(0, begin);
    if (end == line.npos || !is_mark(mark)) {
      out += '@';
      line.remove_prefix(begin + 1);
      continue;
    }
    words parts;
    std::istringstream in(mark);
    for (std::string word; in >> word;) parts.push_back(word);
    out += value_of(parts, directory);
    line.remove_prefix(end + 1);
    if (line.empty() && out.ends_with('\n')) return out;
  }
}

/// LONG SHORT VARIABLE READERS BRIEF, separated by tabs, `-` for none.
void list() {
  for (const auto& o : options::table) {
    const auto or_dash = [](std::string_view s) { return s.empty() ? std::string_view("-") : s; };
    std::cout << or_dash(o.long_name) << '\t' << (o.short_name != 0 ? o.short_name : '-') << '\t'
              << or_dash(o.variable) << '\t' << ((o.readers & options::command) != 0 ? "c" : "")
              << ((o.readers & options::agent) != 0 ? "a" : "")
              << ((o.readers & options::restart) != 0 ? "r" : "") << '\t' << o.brief << '\n';
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string_view(argv[1]) == "--list") {
    list();
    return std::cout.flush() ? 0 : 1;
  }
  if (argc != 3) {
    std::cerr << "usage: fill_template TEMPLATE SOURCE-DIRECTORY, fill_template --list\n";
    return 2;
  }
  std::ifstream in(argv[1]);
  if (!in) {
    std::cerr << "fill_template: cannot read " << argv[1] << '\n';
    return 1;
  }
  try {
    for (std::string line; std::getline(in, line);) std::cout << filled(line, argv[2]);
  } catch (const bad_template& e) {
    std::cerr << "fill_template: " << argv[1] << ": " << e.why << '\n';
    return 1;
  }
  return std::cout.flush() ? 0 : 1;
}
