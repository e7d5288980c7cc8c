// SPDX-License-Identifier: MIT
//
// maps/parser.hpp: the same events whatever the pieces, against a plain parser that has the whole
// file and all the memory it likes.
#include "ckpt/maps/parser.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <optional>
#include <range/v3/range/conversion.hpp>
#include <range/v3/view/filter.hpp>
#include <range/v3/view/split.hpp>
#include <range/v3/view/transform.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/faulty_files.hpp"
#include "support/seed.hpp"

using namespace ckpt;
using namespace ckpt::maps;

namespace {

struct mapping {
  mapping_head head;
  std::string name;
  std::vector<std::pair<std::string, u64>> kilobytes;
  std::optional<u64> flags;
  bool operator==(const mapping&) const = default;
};

std::ostream& operator<<(std::ostream& out, const mapping& m) {
  out << std::hex << m.head.where.begin << '-' << m.head.where.end << ' ' << m.head.protection
      << (m.head.shared ? 's' : 'p') << ' ' << m.head.offset << ' ' << m.head.device << std::dec
      << ' ' << m.head.inode << " \"" << m.name << '"';
  for (const auto& [key, value] : m.kilobytes) out << ' ' << key << '=' << value;
  if (m.flags) out << " flags=" << std::hex << *m.flags << std::dec;
  return out;
}

// Keeps everything, and holds the parser to the order of events that it promises.
struct recorder {
  std::vector<mapping> mappings;
  bool open = false;
  bool in_order = true;
  errc refuse_mapping = errc::none;

  result<void> on_mapping(const mapping_head& head) {
    in_order &= !open;
    if (refuse_mapping != errc::none) return refuse_mapping;
    open = true;
    mappings.push_back({head, {}, {}, {}});
    return {};
  }
  result<void> on_name(std::string_view piece) {
    in_order &= open && !piece.empty();
    mappings.back().name += piece;
    return {};
  }
  result<void> on_kilobytes(std::string_view key, u64 kilobytes) {
    in_order &= open;
    mappings.back().kilobytes.emplace_back(key, kilobytes);
    return {};
  }
  result<void> on_flags(vm_flags flags) {
    in_order &= open;
    mappings.back().flags = flags.bits();
    return {};
  }
  result<void> on_mapping_end() {
    in_order &= open;
    open = false;
    return {};
  }
};
static_assert(mapping_handler<recorder>);

struct outcome {
  errc error = errc::none;
  std::vector<mapping> mappings;
};

outcome parsed(std::string_view text, std::size_t piece = ~std::size_t{0}) {
  recorder r;
  parser<recorder> p(r);
  while (!text.empty()) {
    const std::string_view head = text.substr(0, piece);
    if (const auto fed = p.feed(head); !fed.ok()) {
      CHECK(p.feed("x").error() == fed.error());
      CHECK(p.finish().error() == fed.error());
      return {fed.error(), r.mappings};
    }
    text.remove_prefix(head.size());
  }
  const auto end = p.finish();
  CHECK(r.in_order);
  if (end.ok()) CHECK_FALSE(r.open);
  return {end.error(), r.mappings};
}

errc error_of(std::string_view text) {
  const errc whole = parsed(text).error;
  CHECK(parsed(text, 1).error == whole);
  return whole;
}

// The other parser: whole lines, std::string, sscanf.
std::vector<mapping> parsed_simply(const std::string& text) {
  const auto words = [](const std::string& line, char separator) {
    return line | ranges::views::split(separator) |
           ranges::views::transform([](auto&& word) { return word | ranges::to<std::string>(); }) |
           ranges::views::filter([](const std::string& word) { return !word.empty(); }) |
           ranges::to<std::vector<std::string>>();
  };
  std::vector<mapping> found;
  for (const std::string& line : words(text, '\n')) {
    unsigned long long begin, end, offset, inode;
    unsigned major, minor;
    char r, w, x, p;
    int name = 0;
    if (std::sscanf(line.c_str(), "%llx-%llx %c%c%c%c %llx %x:%x %llu %n", &begin, &end, &r, &w, &x,
                    &p, &offset, &major, &minor, &inode, &name) == 10) {
      mapping m;
      m.head.where = {begin, end};
      m.head.protection =
          (r == 'r' ? PROT_READ : 0u) | (w == 'w' ? PROT_WRITE : 0u) | (x == 'x' ? PROT_EXEC : 0u);
      m.head.shared = p == 's';
      m.head.offset = offset;
      m.head.device = makedev(major, minor);
      m.head.inode = inode;
      m.name = line.substr(static_cast<std::size_t>(name));
      found.push_back(m);
      continue;
    }
    const auto parts = words(line, ' ');
    if (parts[0] == "VmFlags:") {
      u64 bits = 0;
      for (std::size_t i = 1; i < parts.size(); ++i) bits |= static_cast<u64>(flag_of(parts[i]));
      found.back().flags = bits;
    } else if (parts.size() == 3 && parts[2] == "kB") {
      found.back().kilobytes.emplace_back(parts[0].substr(0, parts[0].size() - 1),
                                          std::stoull(parts[1]));
    }
  }
  return found;
}

std::string contents(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// A small process that stands still, so that its files can be read again and again. This one would
// not do: under a sanitizer it has mappings that take the kernel long to count.
class still_life {
 public:
  still_life() {
    int started[2];
    REQUIRE(pipe2(started, O_CLOEXEC) == 0);
    pid_ = fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      execlp("sleep", "sleep", "1000", nullptr);
      _exit(127);
    }
    ::close(started[1]);
    char end_of_file;
    CHECK(::read(started[0], &end_of_file, 1) == 0);
    ::close(started[0]);
    ::kill(pid_, SIGSTOP);
    int status;
    waitpid(pid_, &status, WUNTRACED);
    REQUIRE(WIFSTOPPED(status));
  }
  ~still_life() {
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  still_life(const still_life&) = delete;
  still_life& operator=(const still_life&) = delete;
  [[nodiscard]] std::string file(const char* name) const {
    return "/proc/" + std::to_string(pid_) + "/" + name;
  }

 private:
  pid_t pid_;
};

outcome parsed_file(const std::string& path, std::size_t buffer_size) {
  const auto fd = sys::openat(sys::abi::at_fdcwd, path.c_str(), sys::abi::o_rdonly);
  REQUIRE(fd.ok());
  const sys::unique_fd owner(*fd);
  std::vector<char> buffer(buffer_size);
  recorder r;
  sys::linux_files kernel;
  const auto end = parse_file(kernel, *fd, std::span(buffer), r);
  CHECK(r.in_order);
  return {end.error(), r.mappings};
}

// Two readings of a living file differ in their counters even when the process stands still.
std::vector<mapping> without_counters(std::vector<mapping> mappings) {
  for (mapping& m : mappings)
    for (auto& entry : m.kilobytes) entry.second = 0;
  return mappings;
}

constexpr std::string_view head_line = "1000-2000 r-xp 00000000 fe:00 7    /bin/true\n";

struct counter : ignore_the_rest {
  int mappings = 0;
  u64 last = 0;
  vm_flags flags;
  constexpr result<void> on_mapping(const mapping_head& head) {
    ++mappings;
    last = head.where.end;
    return {};
  }
  constexpr result<void> on_flags(vm_flags f) {
    flags = f;
    return {};
  }
};

constexpr counter counted(std::string_view text, std::size_t piece) {
  counter c;
  parser<counter> p(c);
  while (!text.empty()) {
    const std::string_view head = text.substr(0, piece);
    if (!p.feed(head).ok()) return {};
    text.remove_prefix(head.size());
  }
  if (!p.finish().ok()) return {};
  return c;
}

}  // namespace

TEST_CASE("the parser runs at compile time") {
  constexpr std::string_view text =
      "1000-2000 rw-p 00000000 00:00 0 \nVmFlags: rd wr\n2000-3000 ---p 00000000 00:00 0 \n";
  STATIC_REQUIRE(counted(text, 1000).mappings == 2);
  STATIC_REQUIRE(counted(text, 1).mappings == 2);
  STATIC_REQUIRE(counted(text, 3).last == 0x3000);
  STATIC_REQUIRE(counted(text, 7).flags == (vm_flag::readable | vm_flag::writable));
}

TEST_CASE("every column of a line arrives in its field") {
  const auto o = parsed(
      "7f0eef0dd000-7f0eef0df000 rw-s 00033000 fe:0a 332383        "
      "/usr/lib/ld-linux-x86-64.so.2\n");
  REQUIRE(o.error == errc::none);
  REQUIRE(o.mappings.size() == 1);
  const mapping& m = o.mappings[0];
  CHECK(m.head.where == range{0x7f0eef0dd000, 0x7f0eef0df000});
  CHECK(m.head.protection == (PROT_READ | PROT_WRITE));
  CHECK(m.head.shared);
  CHECK(m.head.offset == 0x33000);
  CHECK(m.head.device == makedev(0xfe, 0x0a));
  CHECK(m.head.inode == 332383);
  CHECK(m.name == "/usr/lib/ld-linux-x86-64.so.2");
}

TEST_CASE("each protection letter is its own bit") {
  const auto protection = [](const std::string& letters) {
    const auto o = parsed("1000-2000 " + letters + " 00000000 00:00 0 \n");
    REQUIRE(o.error == errc::none);
    return o.mappings.at(0).head.protection;
  };
  CHECK(protection("---p") == PROT_NONE);
  CHECK(protection("r--p") == PROT_READ);
  CHECK(protection("-w-p") == PROT_WRITE);
  CHECK(protection("--xp") == PROT_EXEC);
  CHECK(protection("rwxs") == (PROT_READ | PROT_WRITE | PROT_EXEC));
}

TEST_CASE("names keep blanks, escapes and marks") {
  for (const std::string name : {"", "/a b  c", "/a b (deleted)", "/x\\012y", "[anon: my ring ]",
                                 "/trailing  ", "a-b c:d"}) {
    const std::string line = "1000-2000 r--p 00000000 00:00 0      " + name + "\n";
    for (const std::size_t piece : {1, 2, 1000}) {
      const auto o = parsed(line, piece);
      REQUIRE(o.error == errc::none);
      CHECK(o.mappings.at(0).name == name);
    }
  }
  CHECK(parsed("1000-2000 r--p 00000000 00:00 0\n").mappings.at(0).name.empty());
}

TEST_CASE("the head is known before the name has come") {
  recorder r;
  parser<recorder> p(r);
  REQUIRE(p.feed("1000-2000 r--p 00000000 00:00 5 ").ok());
  REQUIRE(r.mappings.size() == 1);
  CHECK(r.mappings[0].head.inode == 5);
  REQUIRE(p.feed("   /half").ok());
  CHECK(r.mappings[0].name == "/half");
}

TEST_CASE("a path longer than any buffer passes through") {
  const std::string path = "/" + std::string(65535, 'p');
  const std::string text =
      "1000-2000 r--p 00000000 00:00 0 " + path + "\n" + std::string(head_line);
  for (const std::size_t piece : {1, 63, 4096, 1 << 20}) {
    const auto o = parsed(text, piece);
    REQUIRE(o.error == errc::none);
    REQUIRE(o.mappings.size() == 2);
    CHECK(o.mappings[0].name == path);
    CHECK(o.mappings[1].name == "/bin/true");
  }
}

TEST_CASE("attributes in kilobytes and flags are handed on, all else is passed over") {
  const std::string text = std::string(head_line) +
                           "Size:                 12 kB\n"
                           "ProtectionKey:         0\n"
                           "THPeligible:           1\n"
                           "AnonHugePages:      2048 kB\n"
                           "Tomorrow:           some text\n"
                           "Key without end\n"
                           "New key:             5 MB\n"
                           "Almost:              5 kBytes\n"
                           "Unit:                5 k\n"
                           "Bare:                5 \n"
                           "Empty:\n"
                           "Blank:   \n"
                           "Negative:           -5 kB\n"
                           "Huge: 18446744073709551616 kB\n"
                           "Most: 18446744073709551615 kB\n"
                           "two words:           3 kB\n" +
                           std::string(65, 'K') + ":   1 kB\n" + std::string(64, 'L') +
                           ":   1 kB\n"
                           "VmFlags: rd wr ?? zz x xyz sl\n" +
                           std::string(head_line);
  for (const std::size_t piece : {1, 5, 100000}) {
    const auto o = parsed(text, piece);
    REQUIRE(o.error == errc::none);
    REQUIRE(o.mappings.size() == 2);
    const std::vector<std::pair<std::string, u64>> expected = {{"Size", 12},
                                                               {"AnonHugePages", 2048},
                                                               {"Most", ~u64{0}},
                                                               {"two words", 3},
                                                               {std::string(64, 'L'), 1}};
    CHECK(o.mappings[0].kilobytes == expected);
    CHECK(o.mappings[0].flags ==
          (vm_flag::readable | vm_flag::writable | vm_flag::unknown | vm_flag::sealed).bits());
    CHECK_FALSE(o.mappings[1].flags.has_value());
  }
}

TEST_CASE("VmFlags with nothing in it is the empty set") {
  CHECK(parsed(std::string(head_line) + "VmFlags: \n").mappings.at(0).flags == u64{0});
  CHECK(parsed(std::string(head_line) + "VmFlags:\n").mappings.at(0).flags == u64{0});
}

TEST_CASE("a mapping line that the kernel would not write is malformed") {
  for (const char* line : {
           "\n",
           " 1000-2000 r--p 00000000 00:00 0 \n",
           "1000 2000 r--p 00000000 00:00 0 \n",
           "1000-2000-3000 r--p 00000000 00:00 0 \n",
           "1000- r--p 00000000 00:00 0 \n",
           "-2000 r--p 00000000 00:00 0 \n",
           "1000-1000 r--p 00000000 00:00 0 \n",
           "2000-1000 r--p 00000000 00:00 0 \n",
           "10000000000000000-20000000000000000 r--p 00000000 00:00 0 \n",
           "1000-2000  r--p 00000000 00:00 0 \n",
           "1000-2000 w--p 00000000 00:00 0 \n",
           "1000-2000 r--x 00000000 00:00 0 \n",
           "1000-2000 r--pp 00000000 00:00 0 \n",
           "1000-2000 r-p 00000000 00:00 0 \n",
           "1000-2000 r--p  00:00 0 \n",
           "1000-2000 r--p x 00:00 0 \n",
           "1000-2000 r--p 00000000 00-00 0 \n",
           "1000-2000 r--p 00000000 100000000:00 0 \n",
           "1000-2000 r--p 00000000 00:100000000 0 \n",
           "1000-2000 r--p 00000000 00:00 \n",
           "1000-2000 r--p 00000000 00:00 f \n",
           "1000-2000 r--p 00000000 00:00 18446744073709551616 \n",
           "1000-2000\n",
           "ABCD-EF00 r--p 00000000 00:00 0 \n",
           "Size: 4 kB\n",  // an attribute of nothing
       }) {
    CAPTURE(line);
    CHECK(error_of(line) == errc::malformed);
    if (std::string_view(line) != "Size: 4 kB\n" && line[0] != 'A')
      CHECK(error_of(std::string(head_line) + line) == errc::malformed);
  }
}

TEST_CASE("a text that ends inside a line is not whole") {
  const std::string text = std::string(head_line) + "VmFlags: rd\n";
  for (std::size_t n = 0; n <= text.size(); ++n) {
    CAPTURE(n);
    const bool whole = n == 0 || text[n - 1] == '\n';
    CHECK(error_of(text.substr(0, n)) == (whole ? errc::none : errc::end_of_input));
  }
}

TEST_CASE("nothing at all is the map of a kernel thread") {
  const auto o = parsed("");
  CHECK(o.error == errc::none);
  CHECK(o.mappings.empty());
}

TEST_CASE("an error of the handler ends the parse and stays") {
  recorder r;
  r.refuse_mapping = errc::no_space;
  parser<recorder> p(r);
  CHECK(p.feed(head_line).error() == errc::no_space);
  CHECK(p.feed(head_line).error() == errc::no_space);
  CHECK(p.finish().error() == errc::no_space);
}

TEST_CASE("each event's error comes back") {
  struct refuser {
    int refused;  // which event
    [[nodiscard]] result<void> event(int n) const {
      if (n == refused) return errc::busy;
      return {};
    }
    result<void> on_mapping(const mapping_head&) { return event(0); }
    result<void> on_name(std::string_view) { return event(1); }
    result<void> on_kilobytes(std::string_view, u64) { return event(2); }
    result<void> on_flags(vm_flags) { return event(3); }
    result<void> on_mapping_end() { return event(4); }
  };
  const std::string once = std::string(head_line) + "Rss: 1 kB\nVmFlags: rd\n";
  for (int n = 0; n < 5; ++n) {
    refuser r{n};
    parser<refuser> p(r);
    CHECK(p.feed(once).error() == (n < 4 ? errc::busy : errc::none));
    CHECK(p.finish().error() == errc::busy);
  }
  refuser end{4};
  parser<refuser> p(end);
  CHECK(p.feed(once + once).error() == errc::busy);
}

TEST_CASE("a file is read through whatever the kernel does") {
  std::string text;
  for (int i = 1; i <= 40; ++i) {
    text += std::to_string(i) + "000-" + std::to_string(i) + "800 rw-p 00000000 00:00 0   /f" +
            std::to_string(i) + "\nRss: " + std::to_string(i) + " kB\n";
  }
  const auto expected = parsed_simply(text);
  REQUIRE(expected.size() == 40);
  for (const u64 at_most : {0u, 1u, 7u}) {
    for (const unsigned interrupt : {0u, 2u, 5u}) {
      for (const std::size_t size : {1, 13, 4096}) {
        test::faulty_files k(text);
        k.at_most = at_most;
        k.interrupt_every = interrupt;
        std::vector<char> buffer(size);
        recorder r;
        REQUIRE(parse_file(k, 0, std::span(buffer), r).ok());
        CHECK(r.mappings == expected);
      }
    }
  }
}

TEST_CASE("a file that fails or ends in the middle is an error") {
  const std::string text = std::string(head_line) + std::string(head_line);
  char buffer[16];
  for (u64 at = 0; at < text.size(); ++at) {
    CAPTURE(at);
    test::faulty_files k(text);
    k.fail_at = at;
    k.failure = errc::io;
    recorder r;
    CHECK(parse_file(k, 0, std::span(buffer), r).error() == errc::io);

    test::faulty_files early(text);
    early.fail_at = at;
    recorder e;
    const bool whole = at == 0 || text[at - 1] == '\n';
    CHECK(parse_file(early, 0, std::span(buffer), e).error() ==
          (whole ? errc::none : errc::end_of_input));
  }
  test::faulty_files k(text);
  recorder r;
  CHECK(parse_file(k, 0, std::span<char>(), r).error() == errc::buffer_too_small);
}

TEST_CASE("real maps and smaps are read alike in pieces of 1 to 300 bytes") {
  const still_life process;
  for (const char* name : {"maps", "smaps"}) {
    const std::string text = contents(process.file(name));
    const auto expected = parsed_simply(text);
    REQUIRE(expected.size() > 5);
    if (std::string_view(name) == "smaps") {
      CHECK(expected[0].flags.has_value());
      CHECK(expected[0].kilobytes.size() > 10);
    }
    for (std::size_t n = 1; n <= 300; ++n) {
      CAPTURE(name, n);
      const auto o = parsed(text, n);
      REQUIRE(o.error == errc::none);
      REQUIRE(o.mappings == expected);
    }
  }
}

TEST_CASE("real maps and smaps are read alike through buffers of 1 to 300 bytes") {
  const still_life process;
  for (const char* name : {"maps", "smaps"}) {
    const auto expected = without_counters(parsed_simply(contents(process.file(name))));
    for (std::size_t n = 1; n <= 300; ++n) {
      CAPTURE(name, n);
      const auto o = parsed_file(process.file(name), n);
      REQUIRE(o.error == errc::none);
      REQUIRE(without_counters(o.mappings) == expected);
    }
  }
}

TEST_CASE("the flags of real mappings are what was asked for, and none is unknown") {
  const auto at = mmap(nullptr, 8 * page_size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(at != MAP_FAILED);
  REQUIRE(madvise(at, 8 * page_size, MADV_DONTFORK) == 0);
  REQUIRE(madvise(at, 8 * page_size, MADV_DONTDUMP) == 0);
  REQUIRE(madvise(at, 8 * page_size, MADV_RANDOM) == 0);
  const auto o = parsed_file("/proc/self/smaps", 4096);
  munmap(at, 8 * page_size);
  REQUIRE(o.error == errc::none);
  bool found = false;
  for (const mapping& m : o.mappings) {
    CAPTURE(m);
    REQUIRE(m.flags.has_value());
    const auto flags = vm_flags::from_bits(*m.flags);
    CHECK_FALSE(flags.has(vm_flag::unknown));
    if (m.head.where.begin != reinterpret_cast<u64>(at)) continue;
    found = true;
    CHECK(flags.has(vm_flag::dont_copy));
    CHECK(flags.has(vm_flag::dont_dump));
    CHECK(flags.has(vm_flag::random_read));
    CHECK(flags.has(vm_flag::no_reserve));
    CHECK(flags.has(vm_flag::readable));
    CHECK(flags.has(vm_flag::writable));
    CHECK_FALSE(flags.has(vm_flag::executable));
  }
  CHECK(found);
}

TEST_CASE("random maps in random pieces") {
  const u64 seed = test::seed();
  for (u64 round = 0; round < 300; ++round) {
    INFO("CKPT_SEED=" << seed << " round " << round);
    test::random_source random(seed + round);
    std::vector<mapping> expected;
    std::string text;
    u64 address = random(0, 1) * 0x10000;
    for (u64 lines = random(0, 12); lines > 0; --lines) {
      mapping m;
      address += random(0, 3) << random(12, 40);
      m.head.where.begin = address;
      address += random(1, 1 << 20) << 12;
      m.head.where.end = address;
      m.head.protection = static_cast<u32>(random(0, 7));
      m.head.shared = random.one_in(2);
      m.head.offset = random(0, 3) << random(12, 61);
      const auto major = static_cast<unsigned>(random(0, 0xfff));
      const auto minor = static_cast<unsigned>(random(0, 0xfffff));
      m.head.device = makedev(major, minor);
      m.head.inode = random.one_in(3) ? 0 : random(0, ~u64{0});
      if (!random.one_in(3)) {
        m.name = "/";
        for (u64 n = random(0, random.one_in(10) ? 5000 : 40); n > 0; --n) {
          char c = static_cast<char>(random(1, 255));
          m.name += c == '\n' ? 'n' : c;
        }
      }
      char head[128];
      std::snprintf(head, sizeof head, "%08llx-%08llx %c%c%c%c %08llx %02x:%02x %llu ",
                    static_cast<unsigned long long>(m.head.where.begin),
                    static_cast<unsigned long long>(m.head.where.end),
                    (m.head.protection & PROT_READ) != 0 ? 'r' : '-',
                    (m.head.protection & PROT_WRITE) != 0 ? 'w' : '-',
                    (m.head.protection & PROT_EXEC) != 0 ? 'x' : '-', m.head.shared ? 's' : 'p',
                    static_cast<unsigned long long>(m.head.offset), major, minor,
                    static_cast<unsigned long long>(m.head.inode));
      text += head;
      if (!m.name.empty()) text += std::string(random(0, 30), ' ') + m.name;
      text += '\n';
      for (u64 attributes = random(0, 4); attributes > 0; --attributes) {
        if (random.one_in(4)) {
          text += "Unknown" + std::to_string(random(0, 99)) + ":     x\n";
          continue;
        }
        std::string key(1, static_cast<char>(random('A', 'Z')));
        for (u64 n = random(0, 63); n > 0; --n) key += static_cast<char>(random('a', 'z'));
        const u64 value = random(0, ~u64{0}) >> random(0, 63);
        text += key + ":" + std::string(random(0, 20), ' ') + std::to_string(value) + " kB\n";
        m.kilobytes.emplace_back(key, value);
      }
      if (random.one_in(2)) {
        u64 bits = 0;
        text += "VmFlags: ";
        for (const auto& [flag, letters] : vm_flag_mnemonics) {
          if (!random.one_in(4)) continue;
          bits |= static_cast<u64>(flag);
          text += std::string(letters) + " ";
        }
        text += "\n";
        m.flags = bits;
      }
      expected.push_back(m);
    }

    recorder r;
    parser<recorder> p(r);
    const u64 largest = random.one_in(2) ? 8 : 200;
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view piece = rest.substr(0, random(0, largest));
      REQUIRE(p.feed(piece).ok());
      rest.remove_prefix(piece.size());
    }
    REQUIRE(p.finish().ok());
    REQUIRE(r.in_order);
    REQUIRE(r.mappings == expected);
  }
}
