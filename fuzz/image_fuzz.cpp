// SPDX-License-Identifier: MIT
//
// The validators of an image against whatever calls itself one: what they say must be what image_rules.hpp
// says, which has the same rules written down a second time. What they accept is then used as the restarter
// and the tools use it.
//
// image_mutator.cpp changes them as one who knows the format.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../tests/support/image_repair.hpp"
#include "ckpt/image/agent_place.hpp"
#include "ckpt/image/window.hpp"
#include "image_rules.hpp"

namespace {

using namespace ckpt;

void require(bool promise) {
  if (!promise) __builtin_trap();
}

/// Whether both let it in; they must be of one mind.
bool agreed(const result<void>& validator, const report& why, fuzz::fault rules) {
  if (validator.ok() == rules.empty()) return rules.empty();
  const auto line = validator.ok() ? std::string_view("lets it in") : why.line();
  std::fprintf(stderr, "the validator: %.*s\nthe rules: %.*s\n", static_cast<int>(line.size()), line.data(),
               static_cast<int>(rules.size()), rules.data());
  __builtin_trap();
}

volatile u64 sink;

void touch(bytes piece) {
  u64 sum = 0;
  for (const std::byte b : piece) sum += std::to_integer<u64>(b);
  sink = sum;
}

bool same(bytes a, bytes b) { return a.data() == b.data() && a.size() == b.size(); }

/// Those of one type, in their order; fields that an older version did not write are zero.
template <class Record>
void check_walk(bytes metadata, const std::vector<fuzz::plain_record>& records) {
  auto next = records.begin();
  const auto skip = [&] {
    while (next != records.end() && next->type != static_cast<u16>(Record::record)) ++next;
  };
  format::for_each<Record>(metadata, [&](const Record& fields, bytes tail) {
    skip();
    require(next != records.end() && same(next->tail, tail));
    const bytes all = bytes_of(fields), fixed = next++->fixed;
    for (u64 i = 0; i < all.size(); ++i) require(all[i] == (i < fixed.size() ? fixed[i] : std::byte{0}));
  });
  skip();
  require(next == records.end());
}

/// What the walks of format/ show is what lies there.
void check_walks(bytes metadata, const std::vector<fuzz::plain_record>& records) {
  format::record_cursor cursor(metadata);
  for (const auto& r : records) {
    require(!cursor.done());
    const auto view = cursor.next();
    require(view.ok() && static_cast<u16>(view->type) == r.type && view->critical == r.critical);
    require(same(view->fixed, r.fixed) && same(view->tail, r.tail));
    touch(r.fixed);
    touch(r.tail);
  }
  require(cursor.done());
  check_walk<state::segment>(metadata, records);
  check_walk<state::text>(metadata, records);
  check_walk<state::extents>(metadata, records);
  check_walk<state::trap_range>(metadata, records);
  for (auto kind = state::text_kind::program; kind <= state::text_kind::auxiliary_vector;
       kind = static_cast<state::text_kind>(static_cast<u32>(kind) + 1))
    touch(image::text(metadata, kind));
}

/// The parts of the window: whole pages, one after the other, each large enough. The restarter looks whether
/// they end inside, and no segment lies there.
void check_window(const format::file_header& h) {
  constexpr u64 restarter = 0x1e708;  // some pages and a rest
  const auto w = image::window_layout::of(h, restarter);
  const auto rounded_size = [](u64 n) { return (n + 4095) / 4096 * 4096; };
  u64 at = h.window_address;
  const auto next = [&](range r, u64 size) {
    require(r.begin == at && r.end - r.begin == rounded_size(size));
    at = r.end;
  };
  next(w.restarter, restarter);
  next(w.metadata, h.metadata_size);
  next(w.computed, h.table_size);
  next(w.expected, h.table_size);
  next(w.saved_vdso, image::vdso_room);
  next(w.vdso, image::vdso_room);
  require(w.whole.begin == h.window_address && w.whole.length() == h.window_size);
  require(image::window_layout::size_for(restarter, h.metadata_size, h.table_size) >= at - h.window_address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const bytes whole{reinterpret_cast<const std::byte*>(data), size};
  if (size < format::header_offset + sizeof(format::file_header)) return 0;
  const auto h = test::header_of(whole);
  report why;
  const auto header = image::validate_header(h, size, why);
  if (!agreed(header, why, fuzz::header_fault(h, size))) return 0;
  check_window(h);

  const auto metadata = test::piece(whole, h.metadata_offset, h.metadata_size);
  const auto table = test::piece(whole, h.table_offset, h.table_size);
  require(metadata && table && test::piece(whole, h.data_offset, h.data_size));
  // A copy, so that a look behind the metadata's end is seen.
  const std::vector<std::byte> copy(metadata->begin(), metadata->end());
  const auto opinion = fuzz::opinion_on(h, copy);
  const auto records = image::validate_metadata(h, copy, why);
  if (!agreed(records, why, opinion.metadata)) return 0;
  check_walks(copy, opinion.records);
  const auto agent = image::check_agent(h, copy, why);
  agreed(agent, why, opinion.agent);

  const auto end = test::piece(whole, h.table_offset + h.table_size, sizeof(format::trailer));
  require(end && end->data() + end->size() == whole.data() + whole.size());
  const auto t = test::load<format::trailer>(whole, h.table_offset + h.table_size);
  const auto last = image::validate_trailer(h, t, format::checksum(*table), why);
  agreed(last, why, fuzz::trailer_fault(h, t, *table));
  return 0;
}
