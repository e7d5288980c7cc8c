// SPDX-License-Identifier: MIT
//
// Changes an image as one who knows the format would. What a field is it reads off the records' own
// descriptions: Hana walks the members of a structure, and the type of each says what may be put there.
// A new kind of record is therefore mutated from the day on that it stands in all_records.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <random>
#include <string_view>
#include <type_traits>

#include "ckpt/image/window.hpp"
#include "image_parts.hpp"
#include "support/image_builder.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);

namespace ckpt::fuzz {

/// What a tail is an array of.
template <class Record>
struct tail_of {
  using element = void;
};
template <>
struct tail_of<state::extents> {
  using element = state::extent;
};
template <>
struct tail_of<state::epoll> {
  using element = state::epoll_entry;
};

class image_mutator {
 public:
  explicit image_mutator(unsigned seed) : random_(seed) {}

  /// The new size of the image at the beginning of `room`. Among thousands of inputs that have been learnt most
  /// are refused: now and then it begins anew with one that is whole, so that what it breaks is all there is.
  std::size_t mutate(std::span<std::byte> room, std::size_t size) {
    const bool anew = below(3) == 0;
    auto parts = anew ? whole() : image_parts::of(room.first(size));
    if (!parts || below(24) == 0) return change_bytes(room, size);
    for (u32 changes = 1 + below(anew ? 2 : 4); changes > 0; --changes) change(*parts);
    settle(*parts);
    const std::size_t put = parts->put(room);
    if (put == 0) return change_bytes(room, size);
    return damage(room, put);
  }

  /// Records of two images in one, written to `out`; 0 when they cannot be.
  std::size_t cross(bytes first, bytes second, std::span<std::byte> out) {
    auto parts = image_parts::of(first);
    const auto others = image_parts::of(second);
    if (!parts || !others || others->records.empty()) return 0;
    auto& records = parts->records;
    const auto from = others->records.begin() + position(others->records.size());
    const auto n = std::min<std::ptrdiff_t>(1 + below(below(2) == 0 ? 3 : 40), others->records.end() - from);
    const auto at = records.begin() + position(records.size() + 1);
    // In the place of as many, or besides.
    const auto gone = below(2) == 0 ? std::min<std::ptrdiff_t>(n, records.end() - at) : 0;
    const auto place = records.erase(at, at + gone);
    records.insert(place, from, from + n);
    if (below(8) == 0) parts->header = others->header;
    settle(*parts);
    return parts->put(out);
  }

 private:
  std::optional<image_parts> whole() {
    static const auto typical = image_parts::of(test::image_builder::typical().build());
    static const auto rare = with_table_last(image_parts::of(rare_state().build()));
    return below(2) == 0 ? typical : rare;
  }
  /// Behind it is nothing: a look too far is seen.
  static std::optional<image_parts> with_table_last(std::optional<image_parts> parts) {
    if (parts)
      std::stable_partition(parts->records.begin(), parts->records.end(), [](const record_part& record) {
        return record.head.type != format::record_type::extents;
      });
    return parts;
  }
  /// What a typical program has not: a guard beside the agent, memory behind the end of a file, messages in a
  /// pipe, both ends of a pair, a vDSO as long as may be.
  static test::image_builder rare_state() {
    using build = test::image_builder;
    build b;
    b.segment(build::code, 2, state::segment_kind::private_file, 5, "/usr/bin/victim");
    b.segment(0x600000, 4, state::segment_kind::private_file, 3, "/usr/lib/short");
    b.segment(build::stack, 4, state::segment_kind::stack, 3, "[stack]");
    b.segment(build::stack + 0x10000, image::vdso_room / page_size, state::segment_kind::vdso, 5, "[vdso]");
    b.page(build::code, 'c').page(0x600000, 'd').page(0x601000, 'e').page(build::stack + 3 * page_size, 's');
    state::trap_range guard{};
    guard.address = build::code + page_size;
    guard.length = page_size;
    guard.kind = state::trap_kind::guard;
    b.record(guard);
    state::trap_range beyond{};
    beyond.address = 0x602000u;
    beyond.length = 2 * page_size;
    beyond.kind = state::trap_kind::beyond_end;
    b.record(beyond);
    state::pipe_content packets{};
    packets.packets = 1u;
    b.record(packets, std::string("\3\0\0\0one\0\0\0\0", 11));
    state::socket_end end{};
    end.type = 1u;
    for (const u32 n : {0u, 1u}) {
      b.open_file(state::file_kind::socket, 2, 0, "socket:[78]").descriptor(static_cast<i32>(n), n);
      if (n == 0) continue;
      end.peer = 1u;
      b.record(end, std::string("\1\0\0\0x", 5));
      end.open_file = 1u;
      end.peer = 0u;
      b.record(end);
    }
    return b;
  }

  u32 below(u32 n) { return static_cast<u32>(random_() % n); }
  std::ptrdiff_t position(std::size_t n) {
    return n == 0 ? 0 : static_cast<std::ptrdiff_t>(random_() % n);
  }

  void change(image_parts& parts) {
    parts_ = &parts;
    auto& records = parts.records;
    if (records.empty()) return change_fields(parts.header);
    // By their kind, as often as not: most records are segments and descriptors.
    const auto type = records[static_cast<std::size_t>(position(records.size()))].head.type;
    auto& any = below(2) == 0 ? one_of(kinds()[below(static_cast<u32>(kinds().size()))]) : one_of(type);
    switch (below(17)) {
      case 0: return change_fields(parts.header);
      case 1: return change_envelope(any);
      case 2: return change_length(any);
      case 3: return move_record(records);
      case 4: records.insert(records.begin() + position(records.size() + 1), record_part(any)); return;
      case 5: records.erase(records.begin() + position(records.size())); return;
      case 6: records.insert(records.begin() + position(records.size() + 1), new_record()); return;
      case 7:
      case 8:
      case 9: return change_elements();
      case 10: return change_one_of(format::record_type::segment);
      case 11: return end_in_padding(parts);
      default: return change_structure(any);
    }
  }

  /// The last record is one with padding, which is cut off.
  void end_in_padding(image_parts& parts) {
    auto& records = parts.records;
    const auto padded = std::find_if(records.begin() + position(records.size()), records.end(), [](const auto& r) {
      return r.body.size() % format::record_alignment != 0;
    });
    if (padded == records.end()) return;
    std::rotate(padded, padded + 1, records.end());
    parts.ends_in_padding = true;
  }

  /// Mostly the numbers that follow from others are right, so that the rules behind are asked as well.
  void settle(image_parts& parts) {
    if (below(8) != 0) parts.settle_threads();
    if (below(4) != 0) parts.settle_extents();
  }

  // --- a field, by its type --------------------------------------------------------------------
  template <class Record>
  void change_fields(Record& record) {
    u32 chosen = below(static_cast<u32>(wire::field_count<Record>()));
    if (below(4) == 0) return move_border(record, chosen);
    std::vector<u64> beside;
    wire::for_each_field(record, [&]<class Field>(std::string_view, Field& field) {
      if constexpr (requires { field.get(); }) beside.push_back(static_cast<u64>(field.get()));
    });
    wire::for_each_field(record, [&]<class Field>(std::string_view name, Field& field) {
      if (chosen-- == 0) change_field(field, name, beside);
    });
  }

  /// One number gets what the next one loses: an address and a length that end where they did.
  template <class Record>
  void move_border(Record& record, u32 chosen) {
    const u64 by = below(2) == 0 ? 1 + below(16) : page_size;
    u32 at = 0;
    wire::for_each_field(record, [&]<class Field>(std::string_view, Field& field) {
      if constexpr (requires { field.get(); }) {
        using value = typename Field::value_type;
        if constexpr (!std::is_enum_v<value>) {
          if (at == chosen) field = static_cast<value>(static_cast<u64>(field.get()) + by);
          if (at == chosen + 1) field = static_cast<value>(static_cast<u64>(field.get()) - by);
        }
      }
      ++at;
    });
  }

  template <class Field>
  void change_field(Field& field, std::string_view name, const std::vector<u64>& beside) {
    if constexpr (requires { field.get(); }) {
      using value = typename Field::value_type;
      if constexpr (std::is_enum_v<value>) {
        // One with a name, mostly.
        u64 to = below(4) == 0 ? number() : below(40);
        for (int tries = 0; tries < 8 && !legal(static_cast<value>(to)); ++tries) to = below(10);
        field = static_cast<value>(to);
      } else {
        field = static_cast<value>(changed(static_cast<u64>(field.get()), name, beside));
      }
    } else if constexpr (requires { field.bits(); }) {
      using value = typename Field::value_type;
      field = static_cast<value>(field.bits() ^ value{1} << below(below(4) == 0 ? 8 * sizeof(value) : 3));
    } else {  // text, blobs, reserved bytes
      static_assert(std::is_trivially_copyable_v<Field>);
      u8 raw[sizeof(Field)];
      std::memcpy(raw, &field, sizeof raw);
      raw[below(sizeof raw)] = below(2) == 0 ? u8{0} : static_cast<u8>(random_());
      std::memcpy(static_cast<void*>(&field), raw, sizeof raw);
    }
  }

  u64 changed(u64 value, std::string_view name, const std::vector<u64>& beside) {
    switch (below(10)) {
      case 0: return value + 1;
      case 1: return value - 1;
      case 2: return value + page_size;
      case 3: return value - page_size;
      case 4: return value ^ u64{1} << below(64);
      case 8: return value + (u64{1} << (60 + below(4)));  // a product with it wraps, and is the same
      case 5: return some_other(name);
      case 6: return some_other({});
      case 7: {
        // Address and length whose sum wraps, or comes to lie where another begins.
        const u64 other = beside[static_cast<std::size_t>(position(beside.size()))];
        const u64 to = below(2) == 0 ? u64{below(3)} * page_size : some_other(name);
        return to - other;
      }
      default: return number();
    }
  }

  u64 number() {
    static constexpr u64 edges[] = {
        0, 1, 2, 3, 7, 8, 63, 64, 65, 4095, 4096, 4097, 0x10000, 0x7fffffff, 0x80000000, ~u32{0},
        u64{1} << 32, u64{1} << 40, u64{1} << 47, u64{1} << 56, u64{1} << 61, u64{1} << 62,
        (u64{1} << 63) - 1, u64{1} << 63, ~u64{0} - 4095, ~u64{0}};
    return edges[below(static_cast<u32>(std::size(edges)))];
  }

  /// What a field of that name holds elsewhere, any field without one: an address of another segment,
  /// the window's, the number of another file; sometimes the page beside it.
  u64 some_other(std::string_view name) {
    std::vector<u64> values;
    const auto collect = [&](const auto& structure) {
      wire::for_each_field(structure, [&]<class Field>(std::string_view other, const Field& field) {
        if constexpr (requires { field.get(); })
          if (name.empty() || other == name) values.push_back(static_cast<u64>(field.get()));
      });
    };
    collect(parts_->header);
    for (const auto& record : parts_->records)
      with_type(record, [&]<class Record>() {
        collect(test::load<Record>(record.body, 0));
        using element = typename tail_of<Record>::element;
        if constexpr (!std::is_void_v<element>)
          for (u64 at = sizeof(Record); at + sizeof(element) <= record.body.size(); at += sizeof(element))
            collect(test::load<element>(record.body, at));
      });
    if (values.empty()) return number();
    const u64 value = values[static_cast<std::size_t>(position(values.size()))];
    switch (below(4)) {
      case 0: return value + page_size;
      case 1: return value - page_size;
      default: return value;
    }
  }

  // --- a record --------------------------------------------------------------------------------
  template <class F>
  static void with_type(const record_part& record, F&& f) {
    image::all_records::for_each([&]<class Record>() {
      if (Record::record == record.head.type) f.template operator()<Record>();
    });
  }

  /// A structure that is shorter than this version's keeps its length.
  void change_structure(record_part& record) {
    with_type(record, [&]<class Record>() {
      change_at<Record>(record.body, 0);
    });
  }
  template <class Structure>
  void change_at(std::vector<std::byte>& body, u64 at) {
    const u64 n = at < body.size() ? std::min<u64>(sizeof(Structure), body.size() - at) : 0;
    if (n == 0) return;
    Structure s{};
    std::memcpy(static_cast<void*>(&s), body.data() + at, n);
    change_fields(s);
    std::memcpy(body.data() + at, &s, n);
  }

  record_part& one_of(format::record_type type) {
    const auto found = parts_->of_type(type);
    return parts_->records[found[static_cast<std::size_t>(position(found.size()))]];
  }
  [[nodiscard]] std::vector<format::record_type> kinds() const {
    std::vector<format::record_type> found;
    for (const auto& record : parts_->records)
      if (std::find(found.begin(), found.end(), record.head.type) == found.end()) found.push_back(record.head.type);
    return found;
  }

  void change_one_of(format::record_type type) {
    const auto found = parts_->of_type(type);
    if (!found.empty()) change_structure(parts_->records[found[static_cast<std::size_t>(position(found.size()))]]);
  }

  void change_envelope(record_part& record) { change_fields(record.head); }

  void change_length(record_part& record) {
    const auto n = static_cast<std::size_t>(position(record.body.size() + 1));
    if (below(2) == 0)
      record.body.resize(n);
    else
      record.body.resize(record.body.size() + 1 + below(64), static_cast<std::byte>(below(2)));
    record.settle();
    if (below(2) == 0) record.head.fixed_size = static_cast<u32>(position(record.body.size() + 1));
  }

  void move_record(std::vector<record_part>& records) {
    const auto from = records.begin() + position(records.size());
    const auto to = records.begin() + position(records.size());
    if (below(2) == 0)
      std::iter_swap(from, to);
    else if (from < to)
      std::rotate(from, from + 1, to + 1);
    else
      std::rotate(to, from, from + 1);
  }

  /// Of any kind, also of one that the image has not; each number such as is found elsewhere.
  record_part new_record() {
    record_part made{};
    u32 chosen = below(static_cast<u32>(image::all_records::size) + 1);
    made.head.type = static_cast<format::record_type>(99);
    made.head.flags = u16{1};
    image::all_records::for_each([&]<class Record>() {
      if (chosen-- != 0) return;
      Record record{};
      wire::for_each_field(record, [&]<class Field>(std::string_view name, Field& field) {
        if constexpr (requires { field.get(); }) {
          using value = typename Field::value_type;
          field = static_cast<value>(std::is_enum_v<value> || below(2) == 0 ? u64{below(9)} : some_other(name));
        }
      });
      made.head.type = Record::record;
      made.head.fixed_size = static_cast<u32>(sizeof record);
      made.body.resize(sizeof record);
      std::memcpy(made.body.data(), &record, sizeof record);
    });
    if (below(2) == 0) made.body.resize(made.body.size() + below(64));
    made.head.size = made.body.size();
    return made;
  }

  // --- the elements of a tail ------------------------------------------------------------------
  void change_elements() {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < parts_->records.size(); ++i)
      with_type(parts_->records[i], [&]<class Record>() {
        if constexpr (!std::is_void_v<typename tail_of<Record>::element>) found.push_back(i);
      });
    if (found.empty()) return;
    auto& record = parts_->records[found[static_cast<std::size_t>(position(found.size()))]];
    with_type(record, [&]<class Record>() {
      using element = typename tail_of<Record>::element;
      if constexpr (!std::is_void_v<element>)
        if (record.body.size() >= sizeof(Record) + sizeof(element)) change_table<Record, element>(record);
    });
  }

  template <class Record, class Element>
  void change_table(record_part& record) {
    auto& body = record.body;
    const u64 count = (body.size() - sizeof(Record)) / sizeof(Element);
    const auto any = [&] {
      return sizeof(Record) + static_cast<u64>(position(count)) * sizeof(Element);
    };
    const u64 at = any(), other = any();
    const auto element = [&](u64 where) { return body.begin() + static_cast<std::ptrdiff_t>(where); };
    const std::vector<std::byte> copy(element(other), element(other) + sizeof(Element));
    switch (below(6)) {
      case 0: std::swap_ranges(element(at), element(at) + sizeof(Element), element(other)); break;
      case 1: body.insert(element(at), copy.begin(), copy.end()); break;
      case 2: body.erase(element(at), element(at) + sizeof(Element)); break;
      default: change_at<Element>(body, at); break;
    }
    record.settle();
    if (below(4) == 0) return;
    auto fixed = test::load<Record>(body, 0);
    fixed.count = static_cast<typename decltype(fixed.count)::value_type>((body.size() - sizeof(Record)) /
                                                                         sizeof(Element));
    test::store(std::span(body), 0, fixed);
  }

  // --- what stays wrong ------------------------------------------------------------------------
  /// Now and then something that put() has made right: sizes and offsets, the trailer, a checksum.
  std::size_t damage(std::span<std::byte> room, std::size_t size) {
    const auto image = room.first(size);
    auto h = test::header_of(image);
    const u64 end = h.table_offset + h.table_size;
    switch (below(24)) {
      case 0:
        change_fields(h);
        test::store(image, format::header_offset, h);
        if (below(4) != 0) test::repair_structure(image);
        return size;
      case 1: {
        auto t = test::load<format::trailer>(image, end);
        change_fields(t);
        test::store(image, end, t);
        if (below(4) != 0) test::repair_structure(image);
        return size;
      }
      case 2: {
        h.image_size = static_cast<u64>(position(size + 1));
        if (below(2) != 0) {
          test::store(image, format::header_offset, h);
          test::repair_structure(image.first(h.image_size));
        }
        return h.image_size;
      }
      case 3: {
        const std::size_t n = change_bytes(room, size);
        if (below(2) != 0) test::repair_structure(room.first(n));
        return n;
      }
      default: return size;
    }
  }

  static std::size_t change_bytes(std::span<std::byte> room, std::size_t size) {
    return LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(room.data()), size, room.size());
  }

  std::minstd_rand random_;
  image_parts* parts_ = nullptr;
};

}  // namespace ckpt::fuzz
