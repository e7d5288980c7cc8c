// SPDX-License-Identifier: MIT
//
// The validators of an image against whatever calls itself one. What they accept is used here as
// the restarter and the tools use it, and held against rules written down a second time: memory
// that may be mapped, extents that may be loaded, numbers that may be followed.
//
// image_mutator.cpp changes them as one who knows the format.
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "../tests/support/image_repair.hpp"
#include "ckpt/image/agent_place.hpp"

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
    require(s.kind != state::segment_kind::vdso || s.length <= image::vdso_room);
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

/// What the restarter touches itself, before any code of the image runs: a fault there is its own.
void check_touched(const format::file_header& h, bytes metadata) {
  std::vector<range> traps;
  image::for_each<state::trap_range>(metadata, [&](const state::trap_range& t, bytes) {
    const range where{t.address, t.address + t.length};
    require(where.begin < where.end && (traps.empty() || traps.back().end <= where.begin));
    traps.push_back(where);
    if (t.kind != state::trap_kind::beyond_end) return;
    image::for_each<state::extents>(metadata, [&](const state::extents& table, bytes tail) {
      for (u64 i = 0; i < table.count && table.object == 0; ++i) {
        const auto e = image::extent_at(tail, i);
        require(e.address + e.length <= where.begin || where.end <= e.address);
      }
    });
  });

  report why;
  if (!image::check_agent(h, metadata, why).ok()) return;
  const auto lies_in = [&](u64 address, state::protection needed) {
    bool lies = false;
    image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
      lies = lies || (s.address <= address && address < s.address + s.length &&
                      s.protection.has(needed) && s.kind <= state::segment_kind::stack);
    });
    for (const range& trap : traps) lies = lies && !trap.contains(address);
    return lies;
  };
  require(lies_in(h.agent_entry, state::protection::execute));
  for (u64 pushed = h.agent_stack - 16; pushed != h.agent_stack - 8; ++pushed)
    require(lies_in(pushed, state::protection::write));
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

}  // namespace

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
  check_touched(h, copy);

  require(test::piece(whole, h.table_offset + h.table_size, sizeof(format::trailer)).has_value());
  const auto t = test::load<format::trailer>(whole, h.table_offset + h.table_size);
  if (!image::validate_trailer(h, t, format::checksum(*table), why).ok()) return 0;
  require(h.table_offset + h.table_size + sizeof t == size);
  return 0;
}
