// SPDX-License-Identifier: MIT
//
// Shared objects are made again once and mapped wherever segments say; what is outside changes only
// after it was looked at, and never without a copy beside it.
#include "ckpt/state/shared_restore.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/scratch_directory.hpp"

namespace ckpt::state {
namespace {

namespace fs = std::filesystem;

class scene {
 public:
  scene() {
    path = fs::path(directory_.path()) / "data";
  }
  ~scene() {
    for (const u64 at : reserved_) ::munmap(reinterpret_cast<void*>(at), 16 * page_size);
  }
  scene(const scene&) = delete;
  scene& operator=(const scene&) = delete;

  void object(object_kind kind, u64 size, std::string_view content, std::string_view name,
              u32 flags = 1, u32 seals = 0) {
    shared_object o{};
    o.number = ++objects_;
    o.kind = kind;
    o.flags = wire::flags<object_flag>(flags);
    o.size = size;
    o.mode = 0100640;
    o.seals = seals;
    test::must(out_.add(o, bytes_of_text(name)));
    // One extent, the first page; the rest is a hole.
    extents t{};
    t.object = o.number;
    t.count = content.empty() ? 0u : 1u;
    extent e{};
    e.length = page_size;
    test::must(out_.add(t, content.empty() ? bytes() : bytes_of(e)));
    if (content.empty()) return;
    contents_.append(content);
    contents_.append(page_size - content.size(), '\0');
  }
  /// A place that is reserved as the restarter does it.
  char* segment(u64 offset, u64 pages, u32 protection, u64 number = 1) {
    void* at = ::mmap(nullptr, 16 * page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    reserved_.push_back(reinterpret_cast<u64>(at));
    state::segment s{};
    s.address = reserved_.back();
    s.length = pages * page_size;
    s.kind = segment_kind::shared;
    s.protection = wire::flags<state::protection>(protection);
    s.vm_flags = static_cast<u64>(maps::vm_flag::may_write);
    s.file_offset = offset;
    s.object = number;
    test::must(out_.add(s, {}));
    return static_cast<char*>(at);
  }
  /// The line that says why not; empty when all went well.
  std::string restore(files_policy policy = files_policy::standard) {
    // The contents lie in memory of their own, which is given back page by page.
    const u64 length = page_up(contents_.size() + 1);
    void* area =
        ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    std::memcpy(area, contents_.data(), contents_.size());
    report why;
    shared_restore shared(policy, out_.view(),
                          bytes(static_cast<std::byte*>(area), contents_.size()), why);
    auto outcome = shared.check();
    if (outcome.ok()) outcome = shared.restore([](int fd) -> result<int> { return ::dup(fd); });
    if (outcome.ok()) outcome = shared.finish();
    ::munmap(area, length);
    return outcome.ok() ? std::string() : std::string(why.line());
  }
  void write(std::string_view text) const { std::ofstream(path) << text; }
  [[nodiscard]] std::string read(const char* suffix = "") const {
    std::ifstream file(path.string() + suffix);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  [[nodiscard]] std::size_t files() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory_.path()), {}));
  }

  fs::path path;

 private:
  test::scratch_directory directory_;
  test::vector_memory memory_;
  format::metadata_builder out_{memory_.source()};
  std::string contents_;
  std::vector<u64> reserved_;
  u64 objects_ = 0;
};

TEST_CASE("anonymous memory is one object in several places") {
  scene s;
  s.object(object_kind::anonymous, 4 * page_size, "hello", "/dev/zero (deleted)");
  char* first = s.segment(0, 4, 3);
  char* second = s.segment(0, 1, 3);
  char* third = s.segment(2 * page_size, 2, 3);
  REQUIRE(s.restore().empty());
  CHECK(std::string(first) == "hello");
  CHECK(std::string(second) == "hello");
  second[0] = 'j';
  third[5] = 'x';
  CHECK(std::string(first) == "jello");
  CHECK(first[2 * page_size + 5] == 'x');
}

TEST_CASE("a memory file is filled, mapped and sealed, in that order") {
  scene s;
  s.object(object_kind::memfd, 6000, "in memory", "/memfd:name (deleted)", 1,
           0x10 /* FUTURE_WRITE */);
  char* memory = s.segment(0, 2, 3);
  REQUIRE(s.restore().empty());
  CHECK(std::string(memory) == "in memory");
  memory[0] = 'I';
  CHECK(memory[0] == 'I');
}

TEST_CASE("a named file that is as it was is mapped and not touched") {
  scene s;
  s.write("same");
  s.object(object_kind::named, 4, "same", s.path.string(), 3);
  char* memory = s.segment(0, 1, 3);
  const auto before = fs::last_write_time(s.path);
  REQUIRE(s.restore().empty());
  CHECK(fs::last_write_time(s.path) == before);
  CHECK(s.files() == 1);
  memory[0] = 'S';
  CHECK(s.read() == "Same");
}

TEST_CASE("another file of that name is refused before anything has changed") {
  scene s;
  s.write("other");
  s.object(object_kind::named, 4, "same", s.path.string(), 3);
  s.segment(0, 1, 3);
  CHECK(s.restore().find("was replaced by another") != std::string::npos);
  CHECK(s.read() == "other");
  CHECK(s.files() == 1);
}

TEST_CASE("a named file that is gone is made again only from all of it") {
  scene s;
  s.object(object_kind::named, 4, "same", s.path.string(), 3);
  s.segment(0, 1, 3);
  REQUIRE(s.restore().empty());
  CHECK(s.read() == "same");
  CHECK((fs::status(s.path).permissions() & fs::perms::mask) == fs::perms(0640));
  fs::remove(s.path);
  scene part;
  part.object(object_kind::named, 4, "same", part.path.string(), 1);
  part.segment(0, 1, 3);
  CHECK(part.restore().find("has vanished") != std::string::npos);
  CHECK(part.files() == 0);
}

TEST_CASE("with keep the file is mapped as it is, unless it is too short for that") {
  scene s;
  s.write("other");
  s.object(object_kind::named, 4, "same", s.path.string(), 3);
  char* memory = s.segment(0, 1, 3);
  REQUIRE(s.restore(files_policy::keep).empty());
  CHECK(std::string(memory, 5) == "other");
  CHECK(s.files() == 1);
  scene empty;
  empty.write("");
  empty.object(object_kind::named, 4, "same", empty.path.string(), 3);
  empty.segment(0, 1, 3);
  CHECK(empty.restore(files_policy::keep).find("is too short") != std::string::npos);
}

}  // namespace
}  // namespace ckpt::state
