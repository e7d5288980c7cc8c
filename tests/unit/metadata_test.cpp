// SPDX-License-Identifier: MIT
//
// What metadata_builder makes, record_cursor takes apart again, wherever the memory moves to.
#include "ckpt/format/metadata.hpp"

#include <memory>
#include <string>
#include <vector>

#include "ckpt/state/segment.hpp"
#include "support/catch.hpp"

namespace ckpt::format {
namespace {

/// Gives exactly what is asked for, at another address each time; fails above a limit.
class moving_memory {
 public:
  explicit moving_memory(u64 limit = ~u64{0}) : limit_(limit) {}
  [[nodiscard]] growing_memory source() { return {grow, this}; }

 private:
  static result<mutable_bytes> grow(void* self, u64 n) {
    auto& m = *static_cast<moving_memory*>(self);
    if (n > m.limit_) return errc::no_memory;
    auto larger = std::make_unique<std::vector<std::byte>>(n);
    if (m.memory_) std::copy(m.memory_->begin(), m.memory_->end(), larger->begin());
    m.memory_ = std::move(larger);
    return mutable_bytes(*m.memory_);
  }
  u64 limit_;
  std::unique_ptr<std::vector<std::byte>> memory_;
};

state::segment segment_at(u64 address) {
  state::segment s{};
  s.address = address;
  s.length = page_size;
  s.kind = state::segment_kind::anonymous;
  return s;
}

TEST_CASE("records with tails of every length come back as they were added") {
  moving_memory memory;
  metadata_builder out(memory.source());
  for (std::size_t n = 0; n < 20; ++n)
    REQUIRE(out.add(segment_at(n * page_size), bytes_of_text(std::string(n, 'x'))).ok());
  CHECK(out.size() == out.view().size());
  CHECK(out.size() % record_alignment == 0);

  record_cursor cursor(out.view());
  for (std::size_t n = 0; n < 20; ++n) {
    const auto view = cursor.next();
    REQUIRE(view.ok());
    CHECK(view->type == record_type::segment);
    CHECK(view->critical);
    CHECK(wire::decode<state::segment>(view->fixed)->address == n * page_size);
    CHECK(text_of_bytes(view->tail) == std::string(n, 'x'));
  }
  CHECK(cursor.done());
}

TEST_CASE("a record may arrive in pieces and be amended before its end") {
  moving_memory memory;
  metadata_builder out(memory.source());
  REQUIRE(out.add(segment_at(1), {}).ok());
  state::extents table{};
  REQUIRE(out.begin(table).ok());
  REQUIRE(out.append(bytes_of_text("first ")).ok());
  REQUIRE(out.append({}).ok());
  REQUIRE(out.append(bytes_of_text("second")).ok());
  table.count = 2u;
  out.amend(table);
  REQUIRE(out.end().ok());
  REQUIRE(out.add(segment_at(3), {}).ok());

  record_cursor cursor(out.view());
  CHECK(wire::decode<state::segment>(cursor.next()->fixed)->address == 1);
  const auto view = cursor.next();
  REQUIRE(view.ok());
  CHECK(wire::decode<state::extents>(view->fixed)->count == 2);
  CHECK(text_of_bytes(view->tail) == "first second");
  CHECK(wire::decode<state::segment>(cursor.next()->fixed)->address == 3);
  CHECK(cursor.done());
}

TEST_CASE("memory that does not grow is reported") {
  moving_memory memory(100);
  metadata_builder out(memory.source());
  REQUIRE(out.add(segment_at(0)).ok());  // 16 + 64 bytes
  CHECK(out.add(segment_at(0)).error() == errc::no_memory);
}

}  // namespace
}  // namespace ckpt::format
