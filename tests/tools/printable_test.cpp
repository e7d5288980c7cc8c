// SPDX-License-Identifier: MIT
//
// What a hostile name can do to a terminal: nothing.
#include "printable.hpp"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

#include "support/catch.hpp"
#include "support/scratch_directory.hpp"

namespace ckpt::tools {
namespace {

TEST_CASE("ordinary text in any script comes out as it is") {
  for (const char* text : {"", "/usr/bin/python3 (deleted)", "Grüße", "データ", "a\\b", "𝄞"})
    CHECK(printable(text) == text);
}

TEST_CASE("control characters are escaped, those of eight bits too") {
  CHECK(printable("a\nb") == "a\\012b");
  CHECK(printable("\x1b[2J") == "\\033[2J");
  CHECK(printable("\x7f") == "\\177");
  CHECK(printable(std::string_view("\0", 1)) == "\\000");
  CHECK(printable("\xc2\x9b"
                  "2J") == "\\302\\2332J");  // U+009B, the other CSI
  CHECK(printable("\x9b"
                  "2J") == "\\2332J");
}

TEST_CASE("what turns the reading direction is escaped") {
  CHECK(printable("\xe2\x80\xae"
                  "gpj.exe") == "\\342\\200\\256gpj.exe");  // U+202E
  CHECK(printable("\xe2\x81\xa6") == "\\342\\201\\246");    // U+2066
  CHECK(printable("\xe2\x80\xa8") == "\\342\\200\\250");    // U+2028
}

TEST_CASE("bytes that are not UTF-8 are escaped one by one") {
  CHECK(printable("\xff") == "\\377");
  CHECK(printable("\xc3") == "\\303");                             // cut
  CHECK(printable("\xc3(") == "\\303(");                           // no continuation
  CHECK(printable("\xc0\xaf") == "\\300\\257");                    // overlong
  CHECK(printable("\xed\xa0\x80") == "\\355\\240\\200");           // surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "\\364\\220\\200\\200");  // above U+10FFFF
  CHECK(is_utf8("Grüße"));
  CHECK(is_utf8("\x1b"));
  CHECK_FALSE(is_utf8("\xed\xa0\x80"));
  CHECK_FALSE(is_utf8("a\xff"));
}

std::string through_shell(const std::string& quoted) {
  const test::scratch_directory directory;
  const auto script = directory.path() + "/script", output = directory.path() + "/output";
  std::ofstream(script) << "printf %s " << quoted;
  CHECK(std::system(("bash " + script + " >" + output).c_str()) == 0);
  std::ifstream file(output);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST_CASE("a shell reads a quoted word as it was") {
  for (const std::string word : {"plain", "two words", "it's", "a\nb", "tab\tquote'back\\slash",
                                 "$HOME `id` !", "", "*", "\x1b[0m", "\xff\xfe", "~", "a=b;c"}) {
    INFO(printable(word));
    CHECK(through_shell(shell_word(word)) == word);
    CHECK(printable(shell_word(word)) == shell_word(word));
  }
  CHECK(shell_word("plain-word.txt") == "plain-word.txt");
  CHECK(shell_word("two words") == "'two words'");
  CHECK(shell_line({"ls", "-l", "my file"}) == "ls -l 'my file'");
  CHECK(shell_line({}).empty());
}

TEST_CASE("sizes keep three digits") {
  CHECK(size_text(0) == "0");
  CHECK(size_text(1023) == "1023 B");
  CHECK(size_text(4096) == "4 KiB");
  CHECK(size_text(4096 + 512) == "4.5 KiB");
  CHECK(size_text(132 * 1024) == "132 KiB");
  CHECK(size_text((u64{1} << 20) - 1) == "1.0 MiB");
  CHECK(size_text(u64{5} << 29) == "2.5 GiB");
  CHECK(size_text(~u64{0}) == "16 EiB");
}

TEST_CASE("numbers have their digits") {
  CHECK(address_text(0x400000) == "000000400000");
  CHECK(address_text(~u64{0}) == "ffffffffffffffff");
  CHECK(hex_number(0) == "0x0");
  CHECK(hex_digits(bytes_of_text("\x01\xab")) == "01ab");
  CHECK(octal_number(022, 4) == "0022");
}

}  // namespace
}  // namespace ckpt::tools
