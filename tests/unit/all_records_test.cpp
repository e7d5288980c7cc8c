// SPDX-License-Identifier: MIT
//
// The list of record types must be complete and without doubles, and each record described.
#include "ckpt/image/all_records.hpp"

#include <set>
#include <string>

#include "support/catch.hpp"

namespace ckpt::image {
namespace {

TEST_CASE("every type of record is in the list once") {
  std::set<u16> types;
  all_records::for_each([&]<class Record>() { types.insert(static_cast<u16>(Record::record)); });
  CHECK(types.size() == all_records::size);
  CHECK(*types.begin() == 1);
  CHECK(*types.rbegin() == all_records::size + 2);  // 22 and 23 are not used
}

TEST_CASE("every record and every field is described") {
  std::set<std::string_view> names;
  all_records::for_each([&]<class Record>() {
    constexpr auto& about = wire::describe<Record>;
    STATIC_REQUIRE(about.fields.size() == wire::field_count<Record>());
    INFO(about.name);
    CHECK_FALSE(about.name.empty());
    CHECK(about.summary.ends_with('.'));
    CHECK(names.insert(about.name).second);
    const Record record{};
    std::size_t i = 0;
    wire::for_each_field(record, [&](std::string_view field, const auto&) {
      INFO(field);
      // A general register is its own description.
      const bool a_register = std::is_same_v<Record, state::thread> && field.size() <= 3;
      CHECK((a_register || !about.fields[i].empty()));
      ++i;
    });
  });
}

format::record_view view_of(format::record_type type, bytes fixed) {
  return {type, true, fixed, {}};
}

TEST_CASE("visiting hands over the structure its type names") {
  state::process p{};
  p.pid = 17;
  int seen = 0;
  const auto outcome = visit_record(view_of(format::record_type::process, bytes_of(p)),
                                    [&]<class Record>(const Record& record) {
                                      ++seen;
                                      if constexpr (std::is_same_v<Record, state::process>)
                                        seen += record.pid;
                                    });
  CHECK(outcome.ok());
  CHECK(seen == 18);
}

TEST_CASE("an unknown type is not found, an illegal field is malformed") {
  bool visited = false;
  const auto visit = [&](const auto&) { visited = true; };
  CHECK(visit_record(view_of(static_cast<format::record_type>(0x7000), {}), visit).error() ==
        errc::not_found);
  state::descriptor d{};
  d.reserved.bytes[0] = 1;
  CHECK(visit_record(view_of(format::record_type::descriptor, bytes_of(d)), visit).error() ==
        errc::malformed);
  CHECK_FALSE(visited);
}

}  // namespace
}  // namespace ckpt::image
