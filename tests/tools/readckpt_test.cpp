// SPDX-License-Identifier: MIT
//
// The command as users type it: its grammar, its statuses, and what reaches the terminal.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "printable.hpp"
#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/scratch_directory.hpp"

namespace ckpt::tools {
namespace {

using test::image_builder;
using test::image_bytes;

/// A directory with images, and the command run in it.
class fixture {
 public:
  fixture() { put("good", image_builder::typical().build()); }

  void put(const std::string& name, const image_bytes& image) const {
    std::ofstream(path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(image.data()), static_cast<long>(image.size()));
  }
  [[nodiscard]] std::string path(const std::string& name) const {
    return directory_.path() + "/" + name;
  }

  struct outcome {
    int status;
    std::string out;
    std::string err;
  };
  [[nodiscard]] outcome run(const std::string& arguments,
                            const std::string& command = shell_word(CKPT_READCKPT)) const {
    const std::string line = "cd " + shell_word(directory_.path()) + " && TZ=Asia/Tokyo " +
                             command + " " + arguments + " >out 2>err";
    const int status = std::system(("bash -c " + shell_word(line)).c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content("out"), content("err")};
  }

 private:
  [[nodiscard]] std::string content(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  test::scratch_directory directory_;
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

TEST_CASE("info is the default and shows the whole of it") {
  const fixture f;
  const auto info = f.run("good");
  INFO(info.out << info.err);
  CHECK(info.status == 0);
  CHECK(info.err.empty());
  for (const char* part :
       {"image       good, ", "made by ckpt 0.1.0", "program     /usr/bin/victim\n",
        "command     victim --count 'two words'\n", "directory   /home/user\n",
        "(2020-09-13 12:26:40 UTC)", "host        node\n", "Linux 6.1.0 x86_64, #1 SMP test\n",
        "pid 4711, parent 1", "umask 0022", "GenuineTest:", "\nthreads\n", "4711  victim",
        "\ndescriptors\n", "/home/user/log file", "wac", "\nsegments\n",
        "000000400000-000000404000  r-x  private file   16 KiB     8 KiB  "
        "/usr/bin/victim\n",
        "[heap]"}) {
    INFO(part);
    CHECK(contains(info.out, part));
  }
  CHECK(f.run("info good").out == info.out);
}

TEST_CASE("each command shows its part") {
  const fixture f;
  const auto line_count = [](const std::string& text) {
    return std::count(text.begin(), text.end(), '\n');
  };
  CHECK(line_count(f.run("segments good").out) == 9);  // titles, seven, their sum
  CHECK(line_count(f.run("fds good").out) == 23);      // nine, and a table for each kind that has more to say
  CHECK(contains(f.run("threads good").out, "000000400123"));
  CHECK(contains(f.run("threads good").out, "/usr/bin/victim+0x123"));
  CHECK(f.run("cmdline good").out == "victim --count 'two words'\n");
  CHECK(f.run("environ good").out == "HOME=/home/user\nLANG=C\n");
  CHECK(f.run("verify good").out == "good: whole, 11 blocks, 44 KiB of data\n");
  CHECK(f.run("dump good 0x600ffc:4").out ==
        "000000600ffc  68 68 68 68                                       |hhhh|\n000000601000\n");
}

TEST_CASE("a single operand is always an image") {
  const fixture f;
  f.put("segments", image_builder::typical().build());
  CHECK(contains(f.run("segments").out, "image       segments, "));
  CHECK(f.run("verify").err == "readckpt: verify: no such file or directory\n");
  CHECK(f.run("-- good").status == 0);
}

TEST_CASE("without an operand it takes the course program's names") {
  const fixture f;
  CHECK(f.run("").status == 2);
  f.put("myckpt", image_builder().build());
  CHECK(contains(f.run("").out, "image       myckpt, "));
  f.put("myckpt.dat", image_builder().build());
  CHECK(contains(f.run("").out, "image       myckpt.dat, "));
  CHECK(f.run("--json").status == 0);
  // Not when it is called otherwise.
  std::filesystem::create_symlink(CKPT_READCKPT, f.path("otherwise"));
  CHECK(f.run("", "./otherwise").status == 2);
  CHECK(f.run("good", "./otherwise").status == 0);
}

TEST_CASE("usage is on stderr with status 2") {
  const fixture f;
  for (const char* arguments :
       {"nonsense good", "info good good", "dump good", "dump good 400000 1", "dump good xyz",
        "--nonsense good", "--json=1 good", "core good a b", "core --json good", "diff good",
        "--format=png map good", "--format=svg info good", "--color=mauve good", "-o x info good",
        "-o x core good y", "-o good core good", "core good good", "--output= map good",
        "-o x extract good", "-o x --json map good"}) {
    const auto outcome = f.run(arguments);
    INFO(arguments);
    CHECK(outcome.status == 2);
    CHECK(outcome.out.empty());
    CHECK(contains(outcome.err, "usage: readckpt"));
  }
  const auto help = f.run("--help");
  CHECK(help.status == 0);
  CHECK(contains(help.out, "dump IMAGE ADDR[:LEN]"));
  CHECK(f.run("--version").out.starts_with("readckpt (ckpt) "));
}

TEST_CASE("a bad image is one line with its name and the reason, and status 1") {
  const fixture f;
  auto cut = image_builder::typical().build();
  const auto n = cut.size();
  cut.resize(n - 1);
  f.put("cut", cut);
  const auto outcome = f.run("cut");
  CHECK(outcome.status == 1);
  CHECK(outcome.out.empty());
  CHECK(outcome.err == "readckpt: cut: cut off: " + std::to_string(n - 1) + " of " +
                           std::to_string(n) + " bytes\n");
  f.put("text", image_bytes(9000, std::byte{'x'}));
  CHECK(f.run("text").err == "readckpt: text: not a ckpt image\n");
  CHECK(f.run(".").err == "readckpt: .: is a directory\n");
  CHECK(f.run("$'missing\\n'").err == "readckpt: missing\\012: no such file or directory\n");
  CHECK(f.run("dump good 1").err == "readckpt: good: address 000000000001 is not mapped\n");
  CHECK(f.run("dump good 1").status == 1);
}

TEST_CASE("an unreadable image says why") {
  if (::geteuid() == 0) return;  // root reads everything
  const fixture f;
  std::filesystem::permissions(f.path("good"), std::filesystem::perms::none);
  CHECK(f.run("good").err == "readckpt: good: permission denied\n");
}

TEST_CASE("JSON is one document, of the part that was asked for") {
  const fixture f;
  const auto parsed = [&](const std::string& arguments) {
    const auto outcome = f.run(arguments);
    CHECK(outcome.status == 0);
    return nlohmann::json::parse(outcome.out);
  };
  CHECK(parsed("--json good")["records"]["segment"].size() == 7);
  CHECK(parsed("good --json")["header"]["major"] == 1);
  CHECK(parsed("--json segments good")["records"].size() == 2);
  CHECK(parsed("--json fds good")["records"]["descriptor"].size() == 9);
  CHECK(parsed("--json threads good")["records"]["thread"][0]["tid"] == 4711);
  CHECK_FALSE(parsed("--json threads good").contains("header"));
}

TEST_CASE("every command has JSON that says what it is of") {
  const fixture f;
  for (const std::string command : {"info", "segments", "fds", "threads", "state", "map", "verify",
                                    "gdb", "extract", "cmdline", "environ"}) {
    const auto outcome = f.run("--json " + command + " good");
    INFO(command << outcome.err);
    CHECK(outcome.status == 0);
    const auto document = nlohmann::json::parse(outcome.out);
    CHECK(document["command"] == command);
    CHECK(document["image"] == "good");
  }
  const auto parsed = [&](const std::string& arguments) {
    return nlohmann::json::parse(f.run(arguments).out);
  };
  CHECK(parsed("--json cmdline good")["words"] ==
        nlohmann::json::array({"victim", "--count", "two words"}));
  CHECK(parsed("--json dump good 600ffc:4")["bytes"] == "68686868");
  CHECK(parsed("--json diff good good")["pages"]["compared"] == 9);
  CHECK(parsed("--json core good c")["threads"] == 1);
  CHECK(parsed("--json extract good fd:9 x")["size"] == 5000);
  CHECK(f.run("extract good /tmp/gone | head -c 5").out == "xxxxx");
}

TEST_CASE("what is not there to extract is said") {
  const fixture f;
  CHECK(f.run("extract good fd:3").err ==
        "readckpt: good: the image has no contents of descriptor 3, only its name\n");
  CHECK(f.run("extract good nothing").status == 1);
  CHECK(f.run("extract good 5000").err ==
        "readckpt: good: address 000000005000 is not mapped\n");
  CHECK(contains(f.run("extract good").out, "object:1"));
}

TEST_CASE("no control character of an image reaches the terminal") {
  const fixture f;
  const std::string evil =
      "x\x1b]0;owned\x07\n\xc2\x9b"
      "2J\xff\r";
  auto b = image_builder();
  b.host.node = wire::text<64>(evil);
  b.host.release = wire::text<64>(evil);
  b.host.architecture = wire::text<64>(evil);
  b.cpu.vendor = wire::text<16>(evil);
  b.thread.name = wire::text<16>(evil);
  b.thread.rip = u64{0x400000};
  for (auto kind : {state::text_kind::program, state::text_kind::directory,
                    state::text_kind::command_line, state::text_kind::environment})
    b.text(kind, evil + std::string("\0second", 7));
  b.segment(0x400000, 1, state::segment_kind::anonymous, 3, evil);
  b.open_file(state::file_kind::regular, 0, 0, evil).descriptor(0, 0);
  f.put("evil", b.build());
  std::ofstream(f.path("e\x1b"), std::ios::binary) << std::ifstream(f.path("evil")).rdbuf();
  for (const char* arguments :
       {"evil", "segments evil", "fds evil", "threads evil", "cmdline evil", "environ evil",
        "--json evil", "$'e\\x1b'", "verify $'e\\x1b'", "dump $'e\\x1b' 1", "map evil",
        "map --format=text evil", "map --format=html evil", "gdb evil", "extract evil",
        "diff evil $'e\\x1b'", "diff evil good", "extract evil $'\\x1b[1m'", "info $'\\x1b'",
        "-o $'\\x1b/x' core evil"}) {
    const auto outcome = f.run(arguments);
    INFO(arguments);
    CHECK_FALSE((outcome.out.empty() && outcome.err.empty()));
    for (char c : outcome.out + outcome.err) {
      const u8 code = static_cast<u8>(c);
      if ((code < 0x20 && c != '\n') || code == 0x7f || code == 0xff || code == 0x9b)
        FAIL("byte " << int{code});
    }
  }
}

TEST_CASE("a full disk under the output is status 1") {
  const fixture f;
  const auto outcome =
      f.run("good", "exec 3>/dev/full; f() { " + shell_word(CKPT_READCKPT) + " \"$@\" >&3; }; f");
  CHECK(outcome.status == 1);
  CHECK(outcome.err == "readckpt: cannot write the output\n");
}

}  // namespace
}  // namespace ckpt::tools
