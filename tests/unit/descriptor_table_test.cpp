// SPDX-License-Identifier: MIT
//
// ckpt_fds in a restart, without one: a table made of records, and records made of what was changed.
#include "descriptor_table.hpp"

#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace ckpt;
using agent::descriptor_table;

namespace {

/// 0 and 4 are one file, 5 another, 6 a pipe, 7 a device.
class saved {
 public:
  saved() {
    add_file(0, state::file_kind::regular, 0100644, "/old/data", 77);
    add_file(1, state::file_kind::deleted, 0100600, "/old/gone", 3);
    add_file(2, state::file_kind::pipe, 0010600, "pipe:[5]", 0);
    add_file(3, state::file_kind::device, 0020666, "/dev/null", 0);
    for (const auto& [fd, file] : {std::pair{0, 0u}, {4, 0u}, {5, 1u}, {6, 2u}, {7, 3u}}) {
      state::descriptor d{};
      d.number = fd;
      d.open_file = file;
      REQUIRE(out_.add(d).ok());
    }
  }
  [[nodiscard]] bytes view() const { return out_.view(); }

 private:
  void add_file(u32 id, state::file_kind kind, u32 mode, std::string_view path, i64 offset) {
    state::open_file f{};
    f.id = id;
    f.kind = kind;
    f.mode = mode;
    f.flags = 02001;
    f.offset = offset;
    f.size = 1000;
    f.content = kind == state::file_kind::deleted ? 1 : 0;
    REQUIRE(out_.add(f, bytes_of_text(path)).ok());
  }
  std::vector<std::byte> room_ = std::vector<std::byte>(1 << 16);
  format::metadata_builder out_{{[](void* self, u64) -> result<mutable_bytes> {
                                   return mutable_bytes(*static_cast<std::vector<std::byte>*>(self));
                                 },
                                 &room_}};
};

std::string shown(bytes metadata) {
  std::string all;
  format::for_each<state::open_file>(metadata, [&](const state::open_file& f, bytes path) {
    all += std::to_string(f.id) + (f.marks.has(state::file_mark::as_given) ? "=" : ":") +
           std::string(text_of_bytes(path)) + "@" + std::to_string(f.offset) +
           (f.content != 0 ? "+" : "") + " ";
  });
  format::for_each<state::descriptor>(metadata, [&](const state::descriptor& d, bytes) {
    all += std::to_string(d.number) + ">" + std::to_string(d.open_file) + " ";
  });
  return all;
}
constexpr const char* unchanged =
    "0:/old/data@77 1:/old/gone@3+ 2:pipe:[5]@0 3:/dev/null@0 0>0 4>0 5>1 6>2 7>3 ";

void replace(ckptfd& c, const char* path) {
  free(c.u.reg->path);
  c.u.reg->path = strdup(path);
}

}  // namespace

TEST_CASE("a table shows what the image has") {
  const saved image;
  auto table = std::make_unique<descriptor_table>();
  table->fill_paths();
  table->begin_restart(image.view());
  const ckptfdtbl* t = table->open_image();
  REQUIRE(t != nullptr);
  REQUIRE(t->nfd == 5);
  CHECK(t == table->open_image());
  CHECK(t->fds[0].type == CKPT_FD_REGULAR);
  REQUIRE(t->fds[0].u.reg != nullptr);
  CHECK(t->fds[0].u.reg->path == std::string("/old/data"));
  CHECK(t->fds[0].u.reg->offset == 77);
  CHECK(t->fds[0].u.reg->mode == 02001);
  CHECK(t->fds[1].fd == 4);
  CHECK(t->fds[1].u.reg->path != t->fds[0].u.reg->path);
  CHECK(t->fds[2].u.reg->path == std::string("/old/gone"));
  CHECK(t->fds[3].type == CKPT_FD_PIPE);
  CHECK(t->fds[3].u.reg == nullptr);
  CHECK(t->fds[4].type == CKPT_FD_DEV);
  table->close();
  CHECK(table->wishes().empty());
  const auto changed = table->changed_metadata();
  REQUIRE(changed.ok());
  CHECK(shown(*changed) == unchanged);
  table->end_restart();
}

TEST_CASE("what was changed is in the records, and the rest as it was") {
  const saved image;
  auto table = std::make_unique<descriptor_table>();
  table->fill_paths();
  table->begin_restart(image.view());
  ckptfdtbl* t = table->open_image();
  REQUIRE(t != nullptr);
  replace(t->fds[1], "/new/data");  // of two that share the file
  replace(t->fds[2], "/new/gone");
  t->fds[3].treatment = CKPT_FD_IGNORE;
  t->fds[4].treatment = 99;
  table->close();
  CHECK(table->wishes().size() == 4);
  const auto changed = table->changed_metadata();
  REQUIRE(changed.ok());
  CHECK(shown(*changed) ==
        "0=/new/data@77 1=/new/gone@3 2:pipe:[5]@0 3:/dev/null@0 0>0 4>0 5>1 ");
  CHECK(shown(image.view()) == unchanged);
  table->end_restart();
  CHECK(table->wishes().empty());
  CHECK(table->memory().empty());
}

TEST_CASE("the lowest of several that were given a path counts, unless it is ignored") {
  const saved image;
  auto table = std::make_unique<descriptor_table>();
  table->fill_paths();
  for (const bool ignored : {false, true}) {
    table->begin_restart(image.view());
    ckptfdtbl* t = table->open_image();
    REQUIRE(t != nullptr);
    replace(t->fds[0], "/first");
    replace(t->fds[1], "/second");
    if (ignored) t->fds[0].treatment = CKPT_FD_IGNORE;
    table->close();
    const auto changed = table->changed_metadata();
    REQUIRE(changed.ok());
    CHECK(shown(*changed).starts_with(ignored ? "0=/second@77 " : "0=/first@77 "));
    table->end_restart();
  }
}

TEST_CASE("paths come back to the pool, however often a table is made") {
  const saved image;
  auto table = std::make_unique<descriptor_table>();
  table->fill_paths();
  for (int i = 0; i < 1000; ++i) {
    table->begin_restart(image.view());
    ckptfdtbl* t = table->open_image();
    REQUIRE(t != nullptr);
    REQUIRE(table->take_without_path() == 0);
    for (unsigned k : {0u, 1u, 2u, 4u}) REQUIRE(t->fds[k].u.reg->path != nullptr);
    // Shorter ones, again and again, would use the pool up.
    replace(t->fds[i % 3], "/some/other/path");
    table->close();
    table->end_restart();
  }
}

TEST_CASE("without memory a path is null, and putting none there changes nothing") {
  const saved image;
  auto table = std::make_unique<descriptor_table>();
  table->begin_restart(image.view());
  ckptfdtbl* t = table->open_image();
  REQUIRE(t != nullptr);
  CHECK(table->take_without_path() == 4);
  CHECK(table->take_without_path() == 0);
  CHECK(t->fds[0].u.reg->path == nullptr);
  t->fds[2].u.reg->path = strdup("/new/gone");
  table->close();
  const auto changed = table->changed_metadata();
  REQUIRE(changed.ok());
  CHECK(shown(*changed).starts_with("0:/old/data@77 1=/new/gone@3 "));
  table->end_restart();
}

TEST_CASE("the program's own table has its descriptors") {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  auto table = std::make_unique<descriptor_table>();
  table->fill_paths();
  options::ignored_descriptors ignored;
  REQUIRE(ignored.add(std::to_string(ends[0])));
  const ckptfdtbl* t = table->open_program(ignored);
  REQUIRE(t != nullptr);
  unsigned found = 0;
  for (unsigned i = 0; i < t->nfd; ++i) {
    if (t->fds[i].fd != ends[0] && t->fds[i].fd != ends[1]) continue;
    ++found;
    CHECK(t->fds[i].type == CKPT_FD_PIPE);
    CHECK(t->fds[i].treatment == (t->fds[i].fd == ends[0] ? CKPT_FD_IGNORE : CKPT_FD_RESTORE));
  }
  CHECK(found == 2);
  table->close();
  CHECK(table->wishes().empty());
  table->release();
  close(ends[0]);
  close(ends[1]);
}
