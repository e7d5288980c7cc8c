// SPDX-License-Identifier: MIT
//
// The validators of an image against whatever calls itself one. What they accept is used here as
// the restarter and the tools use it, and held against rules written down a second time: memory
// that may be mapped, extents that may be loaded, numbers that may be followed.
//
// The mutator knows the format from the records' own descriptions: it picks a record and a field,
// changes it, and makes the checksums right again, because behind a checksum a fuzzer sees nothing.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "../tests/support/image_repair.hpp"
#include "ckpt/image/agent_place.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);

namespace {

using namespace ckpt;

// --- what an accepted image promises -----------------------------------------------------------
void require(bool promise) {
  if (!promise) __builtin_trap();
}

volatile u64 sink;

void touch(bytes piece) {
  u64 sum = 0;
  for (std::byte b : piece) sum += std::to_integer<u64>(b);
  sink = sum;
}

void check_memory(const format::file_header& h, bytes metadata) {
  std::vector<range> segments;
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes name) {
    const u64 end = s.address + s.length;
    require(end > s.address && is_page_aligned(s.address) && is_page_aligned(end));
    require(s.address >= page_size && end <= image::user_space_end);
    require(segments.empty() || segments.back().end <= s.address);
    require(end <= h.window_address || s.address >= h.window_address + h.window_size);
    require(s.kind >= state::segment_kind::anonymous && s.kind <= state::segment_kind::shared);
    require((s.protection.bits() & ~7u) == 0);
    segments.push_back({s.address, end});
    touch(name);
  });

  u64 loaded = 0;
  u64 files = 0;
  image::for_each<state::extents>(metadata, [&](const state::extents& t, bytes tail) {
    require(tail.size() == t.count * sizeof(state::extent));
    if (t.object != 0) require(t.object == ++files);
    u64 previous_end = 0;
    for (u64 i = 0; i < t.count; ++i) {
      const auto e = image::extent_at(tail, i);
      require(e.length != 0 && is_page_aligned(e.length) && is_page_aligned(e.address));
      require(e.address >= previous_end && e.address + e.length > e.address);
      previous_end = e.address + e.length;
      require(e.data == loaded && e.length <= h.data_size - loaded);
      loaded += e.length;
      if (t.object != 0) continue;
      bool within = false;
      for (const range& s : segments) within = within || s.contains({e.address, previous_end});
      require(within);
    }
  });
  require(loaded == h.data_size);
}

void check_files(bytes metadata) {
  std::vector<bool> files;
  u64 contents = 0;
  i64 last = -1;
  image::for_each<state::extents>(metadata, [&](const state::extents& t, bytes) {
    if (t.object > contents) contents = t.object;
  });
  image::for_each<state::open_file>(metadata, [&](const state::open_file& f, bytes path) {
    require(f.id == files.size() && f.stdio <= 2 && f.content <= contents);
    files.push_back(true);
    touch(path);
  });
  image::for_each<state::descriptor>(metadata, [&](const state::descriptor& d, bytes) {
    require(d.number > last && d.number <= image::max_descriptor);
    require(d.open_file < files.size());
    last = d.number;
  });
  image::for_each<state::file_lock>(
      metadata, [&](const state::file_lock& l, bytes) { require(l.open_file < files.size()); });
}

/// What the agent uses without another look: it indexes tables by these numbers.
void check_objects(bytes metadata) {
  u64 objects = 0;
  image::for_each<state::shared_object>(metadata, [&](const state::shared_object& o, bytes path) {
    require(o.number == ++objects && objects <= state::max_objects);
    require(o.size <= state::largest_object);
    touch(path);
    image::for_each<state::extents>(metadata, [&](const state::extents& t, bytes tail) {
      if (t.object != o.number || t.count == 0) return;
      const auto last = image::extent_at(tail, t.count - 1);
      require(last.address + last.length <= page_up(o.size));
    });
  });
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    require((s.kind == state::segment_kind::shared) == (s.object != 0));
    require(s.object <= objects);
    if (s.object != 0) require(s.file_offset + s.length >= s.length);
  });
}

/// Where the restarter would jump.
void check_agent(const format::file_header& h, bytes metadata) {
  report why;
  if (!image::check_agent(h, metadata, why).ok()) return;
  bool runs = false;
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    runs = runs || (s.address <= h.agent_entry && h.agent_entry < s.address + s.length &&
                    s.protection.has(state::protection::execute) &&
                    s.kind != state::segment_kind::shared);
  });
  require(runs);
}

void check_rest(bytes metadata) {
  int hosts = 0, processes = 0, layouts = 0, cpus = 0, threads = 0;
  image::for_each<state::host>(metadata, [&](const auto&, bytes) { ++hosts; });
  image::for_each<state::process>(metadata, [&](const auto&, bytes) { ++processes; });
  image::for_each<state::memory_layout>(metadata, [&](const auto&, bytes) { ++layouts; });
  image::for_each<state::cpu>(metadata, [&](const auto&, bytes) { ++cpus; });
  image::for_each<state::thread>(metadata, [&](const auto&, bytes) { ++threads; });
  require(hosts == 1 && processes == 1 && layouts == 1 && cpus == 1 && threads >= 1);
  image::for_each<state::signal_action>(
      metadata, [](const auto& a, bytes) { require(a.signal >= 1 && a.signal <= 64); });
  image::for_each<state::pending_signal>(
      metadata, [](const auto& p, bytes) { require(p.signal >= 1 && p.signal <= 64); });
  for (auto kind = state::text_kind::program; kind <= state::text_kind::auxiliary_vector;
       kind = static_cast<state::text_kind>(static_cast<u32>(kind) + 1))
    touch(image::text(metadata, kind));

  // No reserved byte, no padding byte, no unnamed value has got through.
  format::record_cursor cursor(metadata);
  while (!cursor.done()) {
    const auto view = cursor.next();
    require(view.ok());
    touch(view->fixed);
    touch(view->tail);
    const auto outcome = image::visit_record(
        *view, [](const auto& record) { require(wire::valid_record(record)); });
    require(outcome.ok() || (outcome.error() == errc::not_found && !view->critical));
  }
}

// --- the mutator -------------------------------------------------------------------------------
class mutator {
 public:
  mutator(std::span<std::byte> room, std::size_t size, unsigned seed)
      : room_(room), size_(size), random_(seed) {}

  std::size_t run() {
    for (u32 changes = 1 + below(3); changes > 0; --changes) change_something();
    // Once in a while the checksums stay wrong: they are rules as well. Those of the data nobody
    // looks at here.
    if (below(32) != 0) test::repair_structure(image());
    return size_;
  }

 private:
  [[nodiscard]] std::span<std::byte> image() const { return room_.first(size_); }
  u32 below(u32 n) { return static_cast<u32>(random_() % n); }
  u64 below_size(u64 n) { return n == 0 ? 0 : random_() % n; }

  void change_something() {
    offsets_ = test::record_offsets(image());
    switch (below(16)) {
      case 0:
        change_fields<format::file_header>(format::header_offset);
        break;
      case 1:
        change_trailer();
        break;
      case 2:
        change_bytes();
        break;
      case 3:
        change_envelope();
        break;
      case 4:
        swap_records();
        break;
      case 5:
        repeat_record();
        break;
      case 6:
        remove_record();
        break;
      case 7:
        change_size();
        break;
      case 8:
      case 9:
        change_extent();
        break;
      default:
        change_record();
        break;
    }
  }

  u64 interesting() {
    static constexpr u64 values[] = {0,
                                     1,
                                     2,
                                     3,
                                     7,
                                     8,
                                     63,
                                     64,
                                     65,
                                     4095,
                                     4096,
                                     4097,
                                     0x10000,
                                     0x7fffffff,
                                     0x80000000,
                                     ~0u,
                                     u64{1} << 40,
                                     u64{1} << 56,
                                     u64{1} << 61,
                                     u64{1} << 63,
                                     ~u64{0} - 4095,
                                     ~u64{0}};
    return values[below(std::size(values))];
  }

  u64 changed(u64 value, std::string_view name) {
    switch (below(8)) {
      case 0:
        return value + 1;
      case 1:
        return value - 1;
      case 2:
        return value + page_size;
      case 3:
        return value - page_size;
      case 4:
        return value ^ u64 { 1 } << below(64);
      case 5:
      case 6:
        return some_other(name);
      default:
        return interesting();
    }
  }

  // What a field of the same name holds elsewhere in this image, or that of the page beside it:
  // an address of another extent, the number of another file.
  u64 some_other(std::string_view name) {
    std::vector<u64> values;
    const auto collect = [&]<class Record>(u64 at) {
      const auto record = test::load<Record>(image(), at);
      wire::for_each_field(record, [&]<class Field>(std::string_view other, const Field& field) {
        if constexpr (requires { field.get(); })
          if (other == name) values.push_back(static_cast<u64>(field.get()));
      });
    };
    for (u64 at : offsets_) {
      const auto head = test::load<format::record_header>(image(), at);
      const u64 body = at + sizeof head;
      image::all_records::for_each([&]<class Record>() {
        if (Record::record == head.type) collect.operator()<Record>(body);
      });
      if (head.type != format::record_type::extents) continue;
      for (u64 i = sizeof(state::extents); i + sizeof(state::extent) <= head.size;
           i += sizeof(state::extent))
        collect.operator()<state::extent>(body + i);
    }
    if (values.empty()) return interesting();
    const u64 value = values[below_size(values.size())];
    return below(4) == 0 ? value + page_size : value;
  }

  template <class Field>
  void change_field(Field& field, std::string_view name) {
    if constexpr (requires { field.get(); }) {
      field = static_cast<typename Field::value_type>(changed(static_cast<u64>(field.get()), name));
    } else if constexpr (requires { field.bits(); }) {
      field = static_cast<typename Field::value_type>(changed(field.bits(), name));
    } else {
      u8 raw[sizeof(Field)];
      std::memcpy(raw, &field, sizeof raw);
      raw[below(sizeof raw)] = static_cast<u8>(random_());
      std::memcpy(static_cast<void*>(&field), raw, sizeof raw);
    }
  }

  template <class Record>
  void change_fields(u64 offset) {
    auto record = test::load<Record>(image(), offset);
    u32 chosen = below(static_cast<u32>(wire::field_count<Record>()));
    wire::for_each_field(record, [&]<class Field>(std::string_view name, Field& field) {
      if (chosen-- == 0) change_field(field, name);
    });
    test::store(image(), offset, record);
  }

  void change_trailer() {
    const auto h = test::header_of(image());
    change_fields<format::trailer>(h.table_offset + h.table_size);
  }

  void change_bytes() { size_ = LLVMFuzzerMutate(raw(), size_, room_.size()); }

  [[nodiscard]] std::uint8_t* raw() const { return reinterpret_cast<std::uint8_t*>(room_.data()); }

  [[nodiscard]] u64 any_record() { return offsets_[below_size(offsets_.size())]; }

  void change_record() {
    if (offsets_.empty()) return;
    const u64 at = any_record();
    const auto type = test::load<format::record_header>(image(), at).type.get();
    image::all_records::for_each([&]<class Record>() {
      if (Record::record == type) change_fields<Record>(at + sizeof(format::record_header));
    });
  }

  void change_envelope() {
    if (!offsets_.empty()) change_fields<format::record_header>(any_record());
  }

  void change_extent() {
    const auto at = test::find_record(image(), format::record_type::extents, below(2));
    if (!at) return;
    const u64 body = *at + sizeof(format::record_header);
    const auto table = test::load<state::extents>(image(), body);
    if (table.count == 0) return;
    change_fields<state::extent>(body + sizeof table +
                                 below_size(table.count) * sizeof(state::extent));
  }

  [[nodiscard]] u64 record_size(u64 at) const {
    return sizeof(format::record_header) +
           align_up(test::load<format::record_header>(image(), at).size, format::record_alignment);
  }

  void swap_records() {
    if (offsets_.size() < 2) return;
    const u64 i = below_size(offsets_.size() - 1);
    const u64 first = offsets_[i], second = offsets_[i + 1];
    auto* begin = image().data();
    std::rotate(begin + first, begin + second, begin + second + record_size(second));
  }

  // The page-aligned room behind the metadata takes one more record, if it is large enough.
  void repeat_record() {
    if (offsets_.empty()) return;
    auto h = test::header_of(image());
    const u64 at = any_record(), n = record_size(at), end = h.metadata_offset + h.metadata_size;
    if (end + n > h.data_offset || h.data_offset > size_) return;
    std::vector<std::byte> copy(image().begin() + static_cast<long>(at),
                                image().begin() + static_cast<long>(at + n));
    std::memmove(image().data() + at + n, image().data() + at, end - at);
    std::memcpy(image().data() + at, copy.data(), n);
    h.metadata_size = h.metadata_size + n;
    test::store(image(), format::header_offset, h);
  }

  void remove_record() {
    if (offsets_.empty()) return;
    auto h = test::header_of(image());
    const u64 at = any_record(), n = record_size(at), end = h.metadata_offset + h.metadata_size;
    std::memmove(image().data() + at, image().data() + at + n, end - at - n);
    std::memset(image().data() + end - n, 0, n);
    h.metadata_size = h.metadata_size - n;
    test::store(image(), format::header_offset, h);
  }

  void change_size() {
    auto h = test::header_of(image());
    switch (below(3)) {
      case 0:
        size_ = below_size(size_ + 1);
        break;
      case 1:
        h.metadata_size = changed(h.metadata_size, {});
        break;
      default:
        h.image_size = size_;
        break;
    }
    test::store(image(), format::header_offset, h);
  }

  std::span<std::byte> room_;
  std::size_t size_;
  std::minstd_rand random_;
  std::vector<u64> offsets_;
};

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max, unsigned seed) {
  if (size < format::header_offset + sizeof(format::file_header))
    return LLVMFuzzerMutate(data, size, max);
  return mutator({reinterpret_cast<std::byte*>(data), max}, size, seed).run();
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const bytes whole{reinterpret_cast<const std::byte*>(data), size};
  if (size < format::header_offset + sizeof(format::file_header)) return 0;
  const auto h = test::header_of(whole);
  report why;
  if (!image::validate_header(h, size, why).ok()) return 0;

  const auto metadata = test::piece(whole, h.metadata_offset, h.metadata_size);
  const auto table = test::piece(whole, h.table_offset, h.table_size);
  require(metadata && table && test::piece(whole, h.data_offset, h.data_size));
  require(h.metadata_offset >= format::header_offset + h.header_size);
  // A copy, so that a look behind the metadata's end is seen.
  const std::vector<std::byte> copy(metadata->begin(), metadata->end());
  if (!image::validate_metadata(h, copy, why).ok()) return 0;
  check_memory(h, copy);
  check_files(copy);
  check_objects(copy);
  check_rest(copy);
  check_agent(h, copy);

  require(test::piece(whole, h.table_offset + h.table_size, sizeof(format::trailer)).has_value());
  const auto t = test::load<format::trailer>(whole, h.table_offset + h.table_size);
  if (!image::validate_trailer(h, t, format::checksum(*table), why).ok()) return 0;
  require(h.table_offset + h.table_size + sizeof t == size);
  return 0;
}
