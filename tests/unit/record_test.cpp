// SPDX-License-Identifier: MIT
//
// The walk over records must not look behind the end, whatever a size says.
#include "ckpt/format/record.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace ckpt::format {
namespace {

class sequence {
 public:
  sequence& record(u16 type, u32 fixed, u64 size, const std::string& body, u16 flags = 1) {
    record_header head{};
    head.type = static_cast<record_type>(type);
    head.flags = flags;
    head.fixed_size = fixed;
    head.size = size;
    append(bytes_of(head));
    append(bytes_of_text(body));
    return *this;
  }
  [[nodiscard]] bytes view() const { return raw_; }

 private:
  void append(bytes piece) { raw_.insert(raw_.end(), piece.begin(), piece.end()); }
  std::vector<std::byte> raw_;
};

const std::string zeros(8, '\0');

TEST_CASE("records come one after the other, split into structure and tail") {
  sequence s;
  s.record(6, 4, 9, "ABCDtail!" + zeros.substr(0, 7)).record(0x7000, 8, 8, "12345678", 0);
  record_cursor cursor(s.view());
  const auto first = cursor.next();
  REQUIRE(first.ok());
  CHECK(first->type == record_type::segment);
  CHECK(first->critical);
  CHECK(text_of_bytes(first->fixed) == "ABCD");
  CHECK(text_of_bytes(first->tail) == "tail!");
  REQUIRE_FALSE(cursor.done());
  const auto second = cursor.next();
  REQUIRE(second.ok());
  CHECK(static_cast<u16>(second->type) == 0x7000);
  CHECK_FALSE(second->critical);
  CHECK(second->tail.empty());
  CHECK(cursor.done());
}

TEST_CASE("an empty record has neither structure nor tail") {
  sequence s;
  s.record(1, 0, 0, "");
  record_cursor cursor(s.view());
  const auto view = cursor.next();
  REQUIRE(view.ok());
  CHECK(view->fixed.empty());
  CHECK(view->tail.empty());
  CHECK(cursor.done());
}

TEST_CASE("a record that is cut anywhere is refused") {
  sequence s;
  s.record(6, 4, 9, "ABCDtail!" + zeros.substr(0, 7));
  for (std::size_t n = 1; n < s.view().size(); ++n) {
    // A copy, so that the address sanitizer sees a look behind the end.
    const std::vector<std::byte> cut(s.view().begin(), s.view().begin() + static_cast<long>(n));
    record_cursor cursor{bytes(cut)};
    INFO(n << " bytes");
    CHECK(cursor.next().error() == errc::end_of_input);
  }
}

TEST_CASE("sizes that lead out of the metadata are refused") {
  const auto outcome = [](u32 fixed, u64 size) {
    sequence s;
    s.record(1, fixed, size, "12345678");
    record_cursor cursor(s.view());
    return cursor.next().error();
  };
  CHECK(outcome(8, 8) == errc::none);
  CHECK(outcome(8, 9) == errc::end_of_input);
  CHECK(outcome(9, 8) == errc::end_of_input);
  CHECK(outcome(~u32{0}, 8) == errc::end_of_input);
  CHECK(outcome(8, ~u64{0}) == errc::end_of_input);
  CHECK(outcome(8, ~u64{0} - 7) == errc::end_of_input);
  CHECK(outcome(8, u64{1} << 63) == errc::end_of_input);
}

TEST_CASE("padding that is not zero and flags without a name are refused") {
  sequence padded;
  padded.record(1, 1, 1, "A" + zeros.substr(0, 6) + "B");
  CHECK(record_cursor(padded.view()).next().error() == errc::malformed);
  sequence flagged;
  flagged.record(1, 0, 0, "", 2);
  CHECK(record_cursor(flagged.view()).next().error() == errc::malformed);
}

}  // namespace
}  // namespace ckpt::format
