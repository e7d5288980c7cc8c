// SPDX-License-Identifier: MIT
//
// What is in an image, on one screen: the lines at the top, then the tables.
#include <ctime>

#include "commands.hpp"
#include "field_style.hpp"
#include "printable.hpp"

namespace ckpt::tools {

namespace {

std::string time_text(i64 nanoseconds, bool utc) {
  const std::time_t seconds = static_cast<std::time_t>(nanoseconds / 1'000'000'000);
  std::tm parts{};
  if ((utc ? ::gmtime_r(&seconds, &parts) : ::localtime_r(&seconds, &parts)) == nullptr) return "?";
  char text[64];
  const auto n = std::strftime(text, sizeof text, utc ? "%F %T UTC" : "%F %T %z", &parts);
  return {text, n};
}

std::string version_text(u32 version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

std::string user_text(u32 real, u32 effective) {
  std::string text = std::to_string(real);
  if (effective != real) text += " (effective " + std::to_string(effective) + ")";
  return text;
}

/// "name   value", one a line.
class listing {
 public:
  explicit listing(std::ostream& out) : out_(out) {}

  void operator()(std::string_view name, std::string_view value) {
    begin(name);
    out_ << value << '\n';
  }
  /// A value that is a list of words: further lines stand under the first.
  void words(std::string_view name, const std::vector<std::string>& value) {
    begin(name);
    std::size_t column = indent;
    for (const auto& word : value) {
      if (column > indent && column + 1 + word.size() > width) {
        out_ << '\n' << std::string(indent, ' ');
        column = indent;
      } else if (column > indent) {
        out_ << ' ';
        ++column;
      }
      out_ << word;
      column += word.size();
    }
    out_ << '\n';
  }

 private:
  static constexpr std::size_t indent = 12;
  static constexpr std::size_t width = 100;

  void begin(std::string_view name) { out_ << name << std::string(indent - name.size(), ' '); }

  std::ostream& out_;
};

void print_summary(const image_file& image, const std::string& name, std::ostream& out) {
  const auto& h = image.header();
  const auto host = image.one<state::host>();
  const auto p = image.one<state::process>().fields;
  const auto cpu = image.one<state::cpu>().fields;
  listing line(out);

  line("image", printable(name) + ", " + size_text(h.image_size) + " (" +
                    std::to_string(h.image_size) + " bytes), format " + std::to_string(h.major) +
                    "." + std::to_string(h.minor) + ", made by ckpt " +
                    version_text(host.fields.writer_version));
  line("contents", size_text(h.metadata_offset) + " restarter, " + size_text(h.metadata_size) +
                       " metadata, " + size_text(h.data_size) + " data in " +
                       std::to_string(image.block_count()) + " blocks of " +
                       size_text(h.block_size));
  line("program", printable(image.text(state::text_kind::program)));
  line("command", shell_line(image.words(state::text_kind::command_line)));
  line("directory", printable(image.text(state::text_kind::directory)));
  line("made", time_text(host.fields.realtime_ns, false) + " (" +
                   time_text(host.fields.realtime_ns, true) + ")");
  line("host", printable(host.fields.node.view()));
  line("kernel", "Linux " + printable(host.fields.release.view()) + " " +
                     printable(host.fields.architecture.view()) + ", " +
                     printable(text_of_bytes(host.tail)));
  line("process", "pid " + std::to_string(p.pid) + ", parent " + std::to_string(p.parent) +
                      ", uid " + user_text(p.uid, p.effective_uid) + ", gid " +
                      user_text(p.gid, p.effective_gid) + ", umask " + octal_number(p.umask, 4) +
                      ", restarted " + std::to_string(p.generation) +
                      (p.generation == 1 ? " time" : " times"));
  auto processor = extension_names(cpu.extensions);
  processor.insert(processor.begin(), printable(cpu.vendor.view()) + ":");
  line.words("processor", processor);
  line("components", hex_number(cpu.components) + " (XCR0)");
  report why;
  if (!state::check_cpu(cpu, state::this_cpu(), why).ok())
    line("not here", std::string(why.line()));
}

}  // namespace

void print_info(image_file& image, const std::string& name, std::ostream& out) {
  print_summary(image, name, out);
  out << "\nthreads\n";
  print_threads(image, out);
  out << "\ndescriptors\n";
  print_descriptors(image, out);
  out << "\nsegments\n";
  print_segments(image, out);
}

}  // namespace ckpt::tools
