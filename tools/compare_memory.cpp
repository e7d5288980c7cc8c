// SPDX-License-Identifier: MIT
#include "compare_memory.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "image_error.hpp"
#include "mapping_kind.hpp"
#include "picture.hpp"
#include "printable.hpp"

namespace ckpt::tools {

namespace {

using mapping = program_memory::mapping;

constexpr std::size_t text_cells = 32;
constexpr u64 most_at_once = 256 * 1024;

/// visit(range, x, y) in ascending order for each stretch within which nothing of either list
/// begins or ends; x and y are what lies there, null where nothing does. Neither list overlaps
/// itself.
template <class T, class Where, class Visit>
void overlay(const std::vector<T>& a, const std::vector<T>& b, Where&& where, Visit&& visit) {
  auto x = a.begin(), y = b.begin();
  for (u64 at = 0;;) {
    while (x != a.end() && where(*x).end <= at) ++x;
    while (y != b.end() && where(*y).end <= at) ++y;
    if (x == a.end() && y == b.end()) return;
    const auto begin_of = [&](auto i, auto end) {
      return i == end ? ~u64{0} : std::max(at, where(*i).begin);
    };
    const u64 begin_x = begin_of(x, a.end()), begin_y = begin_of(y, b.end());
    const u64 begin = std::min(begin_x, begin_y);
    u64 end = ~u64{0};
    if (x != a.end()) end = begin_x > begin ? begin_x : where(*x).end;
    if (y != b.end()) end = std::min(end, begin_y > begin ? begin_y : where(*y).end);
    visit(range{begin, end}, begin_x == begin ? &*x : nullptr, begin_y == begin ? &*y : nullptr);
    at = end;
  }
}

std::vector<difference> attribute_differences(const piece& p) {
  std::vector<difference> all;
  const auto add = [&](std::string field, json a, json b) {
    if (a != b) all.push_back({std::move(field), std::move(a), std::move(b)});
  };
  add("protection", protection_text(p.a->segment), protection_text(p.b->segment));
  add("kind", spoken_name(p.a->segment.kind.get()), spoken_name(p.b->segment.kind.get()));
  add("name", text_json(p.a->name), text_json(p.b->name));
  const auto offset = [](const mapping& m, u64 address) -> json {
    if (m.segment.inode == 0 && m.segment.object == 0) return json();
    return hex_number(m.segment.file_offset + (address - m.segment.address));
  };
  add("file_offset", offset(*p.a, p.where.begin), offset(*p.b, p.where.begin));
  return all;
}

bool is_zero(bytes page) {
  return std::ranges::all_of(page, [](std::byte x) { return x == std::byte{0}; });
}

bool is_mapped(const program_memory& memory, u64 object) {
  return std::ranges::any_of(memory.mappings(),
                             [&](const mapping& m) { return m.segment.object == object; });
}

}  // namespace

memory_comparison::memory_comparison(image_file& a, std::string name_a, image_file& b,
                                     std::string name_b)
    : a_(a),
      b_(b),
      name_a_(std::move(name_a)),
      name_b_(std::move(name_b)),
      memory_a_(a),
      memory_b_(b),
      bar_(std::in_place, "diff", a.header().data_size + b.header().data_size),
      room_a_(most_at_once),
      room_b_(most_at_once) {}

page_count memory_comparison::pieces(const visitor& visit) {
  page_count total;
  const auto compare_piece = [&](range where, const mapping* a, const mapping* b) {
    compared_piece done{{where, a, b}, {}, {}, {}};
    const bool both = done.what.how() == change::same;
    if (both) done.attributes = attribute_differences(done.what);
    if (visit.begin) visit.begin(done);
    done.cells.resize(std::min(text_cells, cells_for(where.length())));
    if (both)
      done.pages = compare(done.what, [&](range run) {
        add_to_cells(done.cells, where, run);
        if (visit.differs) visit.differs(run);
      });
    total += done.pages;
    visit.end(done);
  };
  overlay(
      memory_a_.mappings(), memory_b_.mappings(), [](const mapping& m) { return m.where(); },
      compare_piece);
  return total;
}

std::vector<compared_object> memory_comparison::objects() {
  std::vector<compared_object> all;
  const auto of_b = b_.all<state::shared_object>();
  for (const auto& [x, name] : a_.all<state::shared_object>()) {
    const auto y = std::ranges::find_if(of_b, [&](const auto& other) {
      const auto& o = other.fields;
      return x.device == o.device && x.inode == o.inode && x.kind == o.kind &&
             text_of_bytes(name) == text_of_bytes(other.tail);
    });
    if (y == of_b.end()) continue;
    const auto& other = y->fields;
    if (is_mapped(memory_a_, x.number) && is_mapped(memory_b_, other.number)) continue;
    const auto count = compare_objects(x.number, other.number);
    if (count.different() > 0 || x.size != other.size)
      all.push_back({std::string(text_of_bytes(name)), x.size, other.size, count});
  }
  return all;
}

page_count memory_comparison::compare(const piece& p, const on_range& differs) {
  const auto runs_in = [&](const program_memory& memory) {
    std::vector<range> runs;
    memory.for_each_run(p.where, [&](range run) { runs.push_back(run); });
    return runs;
  };
  return compare_runs(
      runs_in(memory_a_), [&](u64 at, mutable_bytes to) { memory_a_.read(at, to); },
      runs_in(memory_b_), [&](u64 at, mutable_bytes to) { memory_b_.read(at, to); }, differs);
}

page_count memory_comparison::compare_objects(u64 number_a, u64 number_b) {
  const auto runs_of = [](const program_memory& memory, u64 number) {
    std::vector<range> runs;
    memory.for_each_object_run(number, [&](range run) { runs.push_back(run); });
    return runs;
  };
  return compare_runs(
      runs_of(memory_a_, number_a),
      [&](u64 at, mutable_bytes to) { memory_a_.read_object(number_a, at, to); },
      runs_of(memory_b_, number_b),
      [&](u64 at, mutable_bytes to) { memory_b_.read_object(number_b, at, to); }, [](range) {});
}

/// The bytes are in the runs, and zero elsewhere.
page_count memory_comparison::compare_runs(const std::vector<range>& a, const reader& read_a,
                                           const std::vector<range>& b, const reader& read_b,
                                           const on_range& differs) {
  page_count count;
  range run{0, 0};  // of pages that differ
  const auto fill = [&](const range* in, const reader& read, const std::string& name, u64 at,
                        mutable_bytes to) {
    if (in == nullptr) {
      std::ranges::fill(to, std::byte{0});
      return;
    }
    try {
      read(at, to);
    } catch (const image_error& e) {
      throw named_error(name, e.what());
    }
    bar_->advance(to.size());
  };
  const auto compare_part = [&](range where, const range* in_a, const range* in_b) {
    const auto part_a = std::span(room_a_).first(where.length());
    const auto part_b = std::span(room_b_).first(where.length());
    fill(in_a, read_a, name_a_, where.begin, part_a);
    fill(in_b, read_b, name_b_, where.begin, part_b);
    count.compared += where.length() / page_size;
    for (u64 i = 0; i < where.length(); i += page_size) {
      const auto page_a = part_a.subspan(i, page_size), page_b = part_b.subspan(i, page_size);
      if (std::memcmp(page_a.data(), page_b.data(), page_size) == 0) continue;
      ++(is_zero(page_a) ? count.appeared : is_zero(page_b) ? count.vanished : count.changed);
      const u64 page = where.begin + i;
      if (page != run.end) {
        if (!run.empty()) differs(run);
        run = {page, page};
      }
      run.end = page + page_size;
    }
  };
  overlay(
      a, b, [](range r) { return r; },
      [&](range where, const range* in_a, const range* in_b) {
        for (u64 at = where.begin; at < where.end; at += most_at_once)
          compare_part({at, std::min(where.end, at + most_at_once)}, in_a, in_b);
      });
  if (!run.empty()) differs(run);
  return count;
}

}  // namespace ckpt::tools
