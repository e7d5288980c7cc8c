// SPDX-License-Identifier: MIT
//
// An image comes out the same whatever the kernel does on the way, or not at all.
#include "ckpt/image/writer.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/gathering_files.hpp"
#include "support/image_builder.hpp"

namespace ckpt::image {
namespace {

using test::gathering_files;
using test::image_builder;

std::string written(gathering_files& file) {
  REQUIRE(image_builder::typical().write(file).ok());
  return file.content();
}

std::string undisturbed() {
  gathering_files file;
  return written(file);
}

TEST_CASE("short writes and EINTR leave no trace in the image") {
  const auto expected = undisturbed();
  for (u64 at_most : {1u, 7u, 4095u, 4096u, 5000u}) {
    gathering_files file;
    file.at_most = at_most;
    file.interrupt_every = 3;
    INFO("at most " << at_most);
    CHECK(written(file) == expected);
  }
}

TEST_CASE("a full disk is reported wherever it happens") {
  const auto whole = undisturbed();
  for (u64 at = 0; at < whole.size(); at += 509) {
    gathering_files file;
    file.fail_at = at;
    file.failure = errc::no_space;
    INFO("full at " << at);
    CHECK(image_builder::typical().write(file).error() == errc::no_space);
  }
}

TEST_CASE("a kernel that writes nothing is an error, not an endless loop") {
  gathering_files file;
  file.fail_at = 20'000;
  CHECK(image_builder::typical().write(file).error() == errc::io);
}

struct always {
  result<void> operator()() const { return {}; }
};
struct dying {
  int* chunks_left;
  result<void> operator()() const {
    if ((*chunks_left)-- == 0) return errc::gone;
    return {};
  }
};

TEST_CASE("no request is larger than a chunk, and small pieces are gathered") {
  gathering_files file;
  std::vector<wire::le<u64>> table(1000);
  block_hasher hasher(format::default_block_size, table);
  writer out(file, 0, hasher, table, always{});
  std::vector<std::byte> big(3 * sys::io_chunk + 5);
  REQUIRE(out.put_data(big).ok());
  std::vector<std::byte> page(page_size);
  for (int i = 0; i < 100; ++i) REQUIRE(out.put_data(page).ok());
  REQUIRE(out.flush().ok());
  CHECK(file.largest_request() == sys::io_chunk);
  CHECK(file.most_pieces() == 101);  // the 5 bytes and 100 pages
  CHECK(file.calls() == 4);
  CHECK(out.position() == big.size() + 100 * page_size);
  CHECK(file.content().size() == out.position());
}

TEST_CASE("more pieces than one call takes go out in several") {
  gathering_files file;
  std::vector<wire::le<u64>> table(1000);
  block_hasher hasher(page_size, table);
  writer out(file, 0, hasher, table, always{});
  std::string bytes;
  for (int i = 0; i < 1000; ++i) bytes += static_cast<char>(i % 251);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    REQUIRE(out.put_data(bytes_of_text(std::string_view(bytes).substr(i, 1))).ok());
  REQUIRE(out.flush().ok());
  CHECK(file.content() == bytes);
  CHECK(file.most_pieces() <= 1024);  // IOV_MAX
}

TEST_CASE("the watch ends the work between chunks") {
  gathering_files file;
  std::vector<wire::le<u64>> table(1000);
  int chunks_left = 2;
  block_hasher hasher(page_size, table);
  writer out(file, 0, hasher, table, dying{&chunks_left});
  std::vector<std::byte> big(5 * sys::io_chunk);
  CHECK(out.put_data(big).error() == errc::gone);
  CHECK(file.content().size() == 2 * sys::io_chunk);
}

/// A hasher that looks at the memory late, as one on another processor does.
struct late_hasher {
  std::vector<bytes> pieces;
  std::string seen;
  int settled = 0;
  void add(bytes piece) { pieces.push_back(piece); }
  void settle() {
    ++settled;
    for (bytes piece : pieces) seen += text_of_bytes(piece);
    pieces.clear();
  }
  void finish() { settle(); }
  [[nodiscard]] u64 blocks() const { return 0; }
};

TEST_CASE("after settle() the memory may change, and all of it has been written and hashed") {
  gathering_files file;
  late_hasher hasher;
  std::vector<wire::le<u64>> table;
  writer out(file, 0, hasher, table, always{});
  std::string memory = "first";
  REQUIRE(out.put_data(bytes_of_text(memory)).ok());
  REQUIRE(out.settle().ok());
  CHECK(hasher.settled == 1);
  memory = "later";
  REQUIRE(out.put_data(bytes_of_text(memory)).ok());
  REQUIRE(out.settle().ok());
  CHECK(file.content() == "firstlater");
  CHECK(hasher.seen == "firstlater");
}

TEST_CASE("padding reaches the offset and not further") {
  gathering_files file;
  std::vector<wire::le<u64>> table;
  block_hasher hasher(page_size, table);
  writer out(file, 0, hasher, table, always{});
  REQUIRE(out.put(bytes_of_text("head")).ok());
  REQUIRE(out.pad_to(page_size).ok());
  CHECK(out.position() == page_size);
  CHECK(file.content() == "head" + std::string(page_size - 4, '\0'));
  REQUIRE(out.pad_to(page_size).ok());
  CHECK(file.content().size() == page_size);
}

TEST_CASE("an image whose data is not what its header says is not finished") {
  gathering_files file;
  std::vector<wire::le<u64>> table(1);
  block_hasher hasher(page_size, table);
  writer out(file, 0, hasher, table, always{});
  const std::vector<std::byte> page(page_size);
  REQUIRE(out.put_data(page).ok());
  format::file_header h{};
  h.table_offset = 2 * page_size;
  CHECK(out.finish(h).error() == errc::io);
}

}  // namespace
}  // namespace ckpt::image
