// SPDX-License-Identifier: MIT
//
// One broken image for each rule, and the line that says so. Everything else in such an image is
// right, checksums included, so a rule that is forgotten makes its case pass validation and fail
// here.
#include "ckpt/image/metadata_view.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/image_builder.hpp"

namespace ckpt::image {
namespace {

using format::file_header;
using format::record_header;
using format::record_type;
using test::edit;
using test::edit_envelope;
using test::edit_header;
using test::image_builder;
using test::image_bytes;

/// What a reader says of the image; empty when it accepts it.
std::string verdict(const image_bytes& image, u64 file_size) {
  report why;
  const auto h = test::header_of(image);
  if (!validate_header(h, file_size, why).ok()) return std::string(why.line());
  const auto metadata = *test::piece(image, h.metadata_offset, h.metadata_size);
  if (!validate_metadata(h, metadata, why).ok()) return std::string(why.line());
  const auto table = *test::piece(image, h.table_offset, h.table_size);
  const auto t = test::load<format::trailer>(image, h.table_offset + h.table_size);
  if (!validate_trailer(h, t, format::checksum(table), why).ok()) return std::string(why.line());
  return {};
}
std::string verdict(const image_bytes& image) {
  return verdict(image, image.size());
}

template <class Change>
std::string with_header(Change change) {
  auto image = image_builder::typical().build();
  edit_header(image, change);
  return verdict(image);
}
template <class Record, class Change>
std::string with_record(std::size_t n, Change change) {
  auto image = image_builder::typical().build();
  REQUIRE(edit<Record>(image, n, change));
  return verdict(image);
}
template <class Change>
std::string with_envelope(record_type type, Change change) {
  auto image = image_builder::typical().build();
  const auto at = test::find_record(image, type);
  REQUIRE(at.has_value());
  edit_envelope(image, *at, change);
  return verdict(image);
}
/// Changes the extents of a table: change(extent array, number).
template <class Change>
std::string with_extents(std::size_t table, Change change) {
  auto image = image_builder::typical().build();
  const auto at = test::find_record(image, record_type::extents, table);
  REQUIRE(at.has_value());
  auto* first = reinterpret_cast<state::extent*>(image.data() + *at + sizeof(record_header) +
                                                 sizeof(state::extents));
  change(first);
  test::repair(image);
  return verdict(image);
}

TEST_CASE("what the builder makes is accepted") {
  CHECK(verdict(image_builder().build()).empty());
  CHECK(verdict(image_builder::typical().build()).empty());
  auto large_blocks = image_builder::typical();
  large_blocks.block_size = format::default_block_size;
  CHECK(verdict(large_blocks.build()).empty());
}

TEST_CASE("a flipped bit anywhere in header, metadata, table or trailer is noticed") {
  const auto good = image_builder::typical().build();
  const auto h = test::header_of(good);
  const auto flipped = [&](u64 offset) {
    auto image = good;
    image[offset] ^= std::byte{0x10};
    return verdict(image);
  };
  for (u64 i = 0; i < sizeof h; ++i) {
    INFO("header byte " << i);
    CHECK_FALSE(flipped(format::header_offset + i).empty());
  }
  for (u64 i = 0; i < h.metadata_size; ++i)
    if (flipped(h.metadata_offset + i) != "the metadata is damaged (checksum mismatch)")
      FAIL("metadata byte " << i);
  for (u64 i = h.table_offset; i < good.size(); ++i) {
    INFO("byte " << i);
    CHECK_FALSE(flipped(i).empty());
  }
}

TEST_CASE("what stands for events is checked") {
  const auto counter = [](auto change) { return with_record<state::event_counter>(0, change); };
  CHECK(counter([](auto& e) { e.open_file = 99u; }) == "an eventfd is malformed");
  CHECK(counter([](auto& e) { e.semaphore = 2u; }) == "an eventfd is malformed");
  CHECK(counter([](auto& e) { e.count = ~u64{0}; }) == "an eventfd is malformed");
  CHECK(counter([](auto& e) { e.count = ~u64{0} - 1; }).empty());
  const auto timer = [](auto change) { return with_record<state::timer_file>(0, change); };
  CHECK(timer([](auto& t) { t.open_file = 99u; }) == "a timerfd is malformed");
  CHECK(timer([](auto& t) { t.due_ns = -1; }) == "a timerfd is malformed");
  CHECK(timer([](auto& t) { t.due_at_ns = -1; }) == "a timerfd is malformed");
  CHECK(timer([](auto& t) { t.interval_ns = -1; }) == "a timerfd is malformed");
  CHECK(with_record<state::signal_file>(0, [](auto& s) { s.open_file = 99u; }) ==
        "a signalfd is malformed");
  const auto queue = [](auto change) { return with_record<state::epoll>(0, change); };
  CHECK(queue([](auto& e) { e.open_file = 99u; }) == "an epoll is malformed");
  CHECK(queue([](auto& e) { e.count = 1u; }) == "an epoll is malformed");
  CHECK(queue([](auto& e) { e.count = (u64{1} << 63) + 2; }) == "an epoll is malformed");
  const auto entry = [](auto change) {
    auto image = image_builder::typical().build();
    const auto at = test::find_record(image, record_type::epoll);
    change(*reinterpret_cast<state::epoll_entry*>(image.data() + *at + sizeof(record_header) +
                                                  sizeof(state::epoll)));
    test::repair(image);
    return verdict(image);
  };
  CHECK(entry([](auto& e) { e.open_file = 99u; }) == "an epoll is malformed");
  CHECK(entry([](auto& e) { e.descriptor = -1; }) == "an epoll is malformed");
  CHECK(entry([](auto& e) { e.data = 1u; }).empty());
}

TEST_CASE("sockets and packets are checked") {
  const auto socket = [](auto change) { return with_record<state::socket_end>(0, change); };
  CHECK(socket([](auto& s) { s.open_file = 99u; }) == "a socket is malformed");
  CHECK(socket([](auto& s) { s.peer = 99u; }) == "a socket is malformed");
  CHECK(socket([](auto& s) { s.peer = s.open_file; }) == "a socket is malformed");
  CHECK(socket([](auto& s) { s.type = 3u; }) == "a socket is malformed");
  CHECK(socket([](auto& s) { s.shut = 4u; }) == "a socket is malformed");
  auto cut = image_builder::typical();
  state::socket_end end{};
  end.open_file = 7u;
  end.peer = state::no_peer;
  end.type = 1u;
  cut.record(end, std::string("\5\0\0\0one", 7));
  CHECK(verdict(cut.build()) == "a socket is malformed");
  CHECK(with_record<state::pipe_content>(0, [](auto& p) { p.packets = 2u; }) ==
        "the packets of a pipe are malformed");
  // The pipe's content, read as packets, is cut off.
  CHECK(with_record<state::pipe_content>(0, [](auto& p) { p.packets = 1u; }) ==
        "the packets of a pipe are malformed");
}

TEST_CASE("the header says in words why it is refused") {
  CHECK(verdict(image_bytes(8192)) == "not a ckpt image");
  CHECK(with_header([](file_header& h) { h.major = u16{2}; }) ==
        "format version 2.1 is not one this ckpt reads (1.x); use the ckpt that wrote it or a "
        "newer one");
  CHECK(with_header([](file_header& h) { h.minor = u16{9}; }).empty());
  CHECK(with_header([](file_header& h) { h.machine = static_cast<format::machine>(183); }) ==
        "made for another architecture (ELF machine 183)");
  CHECK(with_header([](file_header& h) { h.page_shift = u16{14}; }) ==
        "made with another page size");
  CHECK(with_header([](file_header& h) { h.features = u32{2}; }) ==
        "uses a feature this ckpt does not know");
  CHECK(with_header([](file_header& h) { h.features.set(format::feature::being_updated); }) ==
        "incomplete: it was being written");
  auto image = image_builder::typical().build();
  test::store(image, format::header_offset + 40, u64{5});
  CHECK(verdict(image) == "the header is damaged (checksum mismatch)");
}

TEST_CASE("a file that is cut off or followed by something is refused") {
  const auto image = image_builder::typical().build();
  const auto n = std::to_string(image.size());
  CHECK(verdict(image, image.size() - 1) ==
        "cut off: " + std::to_string(image.size() - 1) + " of " + n + " bytes");
  CHECK(verdict(image, image.size() + 3) == "followed by 3 bytes that do not belong to it");
}

TEST_CASE("offsets and sizes of the header must fit together") {
  const auto malformed = [](auto change) {
    return with_header(change) == "the header is malformed";
  };
  CHECK(malformed([](file_header& h) { h.window_address = u64{0x10001}; }));
  CHECK(malformed([](file_header& h) { h.window_size = u64{0}; }));
  CHECK(malformed([](file_header& h) { h.window_size = h.window_size + 1; }));
  CHECK(malformed([](file_header& h) { h.window_address = user_space_end; }));
  CHECK(malformed([](file_header& h) { h.window_address = ~u64{0} - 0xfff; }));
  CHECK(malformed([](file_header& h) { h.metadata_offset = h.metadata_offset + 8; }));
  CHECK(malformed([](file_header& h) { h.metadata_offset = u64{0}; }));
  CHECK(malformed([](file_header& h) { h.metadata_size = h.metadata_size + page_size; }));
  CHECK(malformed([](file_header& h) { h.metadata_size = ~u64{0}; }));
  CHECK(malformed([](file_header& h) { h.metadata_size = format::max_metadata_size + 1; }));
  CHECK(malformed([](file_header& h) { h.header_size = h.header_size - 1; }));
  CHECK(malformed([](file_header& h) { h.header_size = u32{8000}; }));
  CHECK(malformed([](file_header& h) { h.data_offset = h.data_offset + page_size; }));
  CHECK(malformed([](file_header& h) { h.data_offset = ~u64{0}; }));
  CHECK(malformed([](file_header& h) { h.data_size = h.data_size - 1; }));
  CHECK(malformed([](file_header& h) { h.table_offset = h.table_offset + 8; }));
  CHECK(malformed([](file_header& h) { h.table_size = h.table_size + 8; }));
  CHECK(malformed([](file_header& h) { h.table_size = ~u64{0}; }));
  CHECK(malformed([](file_header& h) { h.block_size = u64{0}; }));
  CHECK(malformed([](file_header& h) { h.block_size = u64{512}; }));
  CHECK(malformed([](file_header& h) { h.block_size = u64{4097}; }));
  CHECK(malformed([](file_header& h) { h.block_size = u64{1} << 25; }));
  CHECK(malformed([](file_header& h) { h.block_size = 2 * page_size; }));  // table now too long
}

/// Moves everything behind the metadata, so that only one thing is wrong with a header.
void shift(file_header& h, u64 bytes) {
  h.data_offset = h.data_offset + bytes;
  h.table_offset = h.table_offset + bytes;
  h.image_size = h.image_size + bytes;
}

TEST_CASE("each rule of the header holds when all the others are kept") {
  // In a file of exactly the size the header says.
  const auto verdict_of = [](auto change) {
    auto image = image_builder::typical().build();
    edit_header(image, change);
    report why;
    const auto h = test::header_of(image);
    return validate_header(h, h.image_size, why).ok() ? "" : std::string(why.line());
  };
  const std::string malformed = "the header is malformed";
  CHECK(verdict_of([](file_header&) {}).empty());
  CHECK(verdict_of([](file_header& h) {
          h.window_address = h.window_address + 1;
          h.window_size = h.window_size - 1;
        }) == malformed);
  CHECK(verdict_of([](file_header& h) { shift(h, page_size); }) == malformed);
  CHECK(verdict_of([](file_header& h) {
          h.data_size = h.data_size - 8;
          h.table_offset = h.table_offset - 8;
          h.image_size = h.image_size - 8;
        }) == malformed);
  CHECK(verdict_of([](file_header& h) {
          h.table_offset = h.table_offset + 8;
          h.image_size = h.image_size + 8;
        }) == malformed);
  CHECK(verdict_of([](file_header& h) { h.image_size = h.image_size + 1; }) == malformed);
  CHECK(verdict_of([](file_header& h) { h.image_size = h.image_size - 1; }) == malformed);
  const auto with_metadata = [&](u64 size) {
    return verdict_of([&](file_header& h) {
      shift(h, page_up(h.metadata_offset + size) - h.data_offset);
      h.metadata_size = size;
    });
  };
  CHECK(with_metadata(format::max_metadata_size).empty());
  CHECK(with_metadata(format::max_metadata_size + 1) == malformed);
  // Metadata at the end of the address space must not wrap to the start of the file.
  CHECK(verdict_of([](file_header& h) {
          h.metadata_offset = ~u64{0} - 0xfff;
          h.metadata_size = u64{0xfff};
          h.data_offset = u64{0};
          h.data_size = u64{page_size};
          h.table_offset = u64{page_size};
          h.table_size = u64{8};
          h.image_size = page_size + 8 + sizeof(format::trailer);
        }) == malformed);
}

TEST_CASE("a header from a later minor version may be longer") {
  CHECK(with_header([](file_header& h) { h.header_size = h.header_size + 64; }).empty());
}

TEST_CASE("the trailer belongs to this image") {
  const auto broken = [](auto change) {
    auto image = image_builder::typical().build();
    const u64 at = image.size() - sizeof(format::trailer);
    auto t = test::load<format::trailer>(image, at);
    change(t);
    t.trailer_checksum = format::own_checksum(t);
    test::store(image, at, t);
    return verdict(image);
  };
  const std::string other = "the end of the image is damaged or belongs to another";
  CHECK(broken([](auto&) {}).empty());
  CHECK(broken([](auto& t) { t.signature = format::image_magic; }) == other);
  CHECK(broken([](auto& t) { t.id.bytes[15] ^= 1; }) == other);
  CHECK(broken([](auto& t) { t.image_size = t.image_size - 1; }) == other);
  CHECK(broken([](auto& t) { t.table_checksum = t.table_checksum ^ 1; }) ==
        "the checksums of the data are damaged (checksum mismatch)");
}

TEST_CASE("records that must be there once are") {
  const std::string missing = "a record that must be there once is missing or repeated";
  const auto become = [](u16 type, bool critical) {
    return [=](record_header& head) {
      head.type = static_cast<record_type>(type);
      head.flags = critical ? u16{1} : u16{0};
    };
  };
  for (auto type : {record_type::host, record_type::process, record_type::memory_layout,
                    record_type::cpu, record_type::thread}) {
    INFO("without type " << static_cast<int>(type));
    CHECK(with_envelope(type, become(0x7000, false)) == missing);
  }
  auto twice = image_builder::typical();
  CHECK(verdict(twice.record(twice.host).build()) == missing);
  auto two_tables = image_builder::typical();
  CHECK(verdict(two_tables.record(state::extents{}).build()) == missing);
  auto two_threads = image_builder::typical();
  two_threads.process.thread_count = 2u;
  CHECK(verdict(two_threads.record(two_threads.thread).build()).empty());
}

TEST_CASE("an unknown record is skipped, or refused when it is critical") {
  CHECK(verdict(image_builder::typical().unknown_record(0x7000, false).build()).empty());
  CHECK(verdict(image_builder::typical().unknown_record(0x7000, true).build()) ==
        "has a record of unknown type 28672; it was made by a newer ckpt");
}

TEST_CASE("a record with an illegal field or a wrong size is refused") {
  CHECK(with_record<state::segment>(0, [](auto& s) { s.protection = u32{8}; }) ==
        "a record of type 6 is malformed");
  CHECK(with_record<state::segment>(0, [](auto& s) {
          s.kind = static_cast<state::segment_kind>(8);
        }) == "a record of type 6 is malformed");
  CHECK(with_record<state::thread>(0, [](auto& t) { t.flags = u32{4}; }) ==
        "a record of type 8 is malformed");
  CHECK(with_record<state::host>(0, [](auto& h) {
          h.node = std::bit_cast<wire::text<64>>(std::array<u8, 64>{'a', 0, 'b'});
        }) == "a record of type 1 is malformed");
  CHECK(with_envelope(record_type::host, [](auto& head) { head.size = ~u64{0}; }) ==
        "a record is cut off or malformed");
  CHECK(with_envelope(record_type::host, [](auto& head) { head.fixed_size = ~u32{0}; }) ==
        "a record is cut off or malformed");
}

TEST_CASE("there are as many threads as the process says") {
  CHECK(with_record<state::process>(0, [](auto& p) { p.thread_count = 2u; }) ==
        "has 1 of 2 threads");
}

TEST_CASE("segments lie in order, in user space, beside the restarter") {
  const auto moved = [](std::size_t n, u64 address, u64 length) {
    return with_record<state::segment>(n, [&](auto& s) {
      s.address = address;
      s.length = length;
    });
  };
  const std::string impossible = "a segment has an impossible address";
  const std::string overlap = "the segments overlap or are out of order";
  CHECK(moved(0, 0, page_size) == impossible);
  CHECK(moved(0, image_builder::code + 1, page_size) == impossible);
  CHECK(moved(0, image_builder::code, page_size + 1) == impossible);
  CHECK(moved(0, image_builder::code + 1, page_size - 1) == impossible);
  CHECK(moved(0, image_builder::code, 0) == impossible);
  CHECK(moved(0, image_builder::code, ~u64{0} - 0xfff) == impossible);
  CHECK(moved(4, user_space_end - page_size, 2 * page_size) == impossible);
  CHECK(moved(0, image_builder::code, 0x200000 + page_size) == overlap);
  CHECK(moved(1, image_builder::code, page_size) == overlap);
  CHECK(moved(1, page_size, page_size) == overlap);
  CHECK(moved(0, image_builder::window + 15 * page_size, page_size) ==
        "segment 1f000-20000 lies where the restarter is");
  CHECK(moved(0, page_size, 0x400000) == "segment 1000-401000 lies where the restarter is");
}

TEST_CASE("extents ascend within one segment each and cover the data") {
  const std::string impossible = "an extent has an impossible address";
  const std::string data = "an extent lies outside the data";
  const std::string outside = "an extent lies outside every segment";
  // The first table: code (2 pages), heap (1, then 2), stack, vdso.
  CHECK(with_extents(0, [](state::extent*) {}).empty());
  CHECK(with_extents(0, [](state::extent* e) { e[0].address = e[0].address + 1; }) == impossible);
  CHECK(with_extents(0, [](state::extent* e) { e[0].length = u64{0}; }) == impossible);
  CHECK(with_extents(0, [](state::extent* e) { e[0].length = ~u64{0}; }) == impossible);
  CHECK(with_extents(0, [](state::extent* e) { std::swap(e[1].address, e[3].address); }) ==
        impossible);
  CHECK(with_extents(0, [](state::extent* e) { e[2].address = e[1].address; }) == impossible);
  CHECK(with_extents(0, [](state::extent* e) { e[0].data = u64{page_size}; }) == data);
  CHECK(with_extents(0, [](state::extent* e) { e[4].length = u64{1} << 40; }) == data);
  CHECK(with_extents(0, [](state::extent* e) { e[1].address = u64{0x500000}; }) == outside);
  CHECK(with_extents(0, [](state::extent* e) {
          e[0].address = image_builder::code + 3 * page_size;
        }) == outside);
  CHECK(with_extents(0, [](state::extent* e) { e[4].address = u64{1} << 55; }) == outside);
  CHECK(with_extents(0, [](state::extent* e) {
          e[4].address = image_builder::stack + 0x10000;  // [vvar]
        }) == outside);
  CHECK(with_extents(0, [](state::extent* e) {
          e[0].address = e[0].address + 8;
          e[0].length = e[0].length - 8;
        }) == impossible);
  CHECK(with_extents(1, [](state::extent* e) { e[0].address = u64{1} << 62; }) == impossible);
  CHECK(with_extents(1, [](state::extent* e) { e[0].length = u64{1} << 40; }) == data);
  CHECK(with_extents(2, [](state::extent* e) { e[0].length = u64{page_size}; }) ==
        "the extents do not cover the data");
}

TEST_CASE("a table of extents has the size its count says") {
  const std::string wrong = "a table of extents has the wrong size";
  CHECK(with_record<state::extents>(0, [](auto& t) { t.count = t.count - 1; }) == wrong);
  CHECK(with_record<state::extents>(0, [](auto& t) { t.count = t.count + 1; }) == wrong);
  // 24 * count wraps around to the same size.
  CHECK(with_record<state::extents>(0, [](auto& t) { t.count = t.count + (u64{1} << 61); }) ==
        wrong);
  CHECK(with_record<state::extents>(1, [](auto& t) { t.object = 2u; }) ==
        "file contents are out of order");
}

TEST_CASE("only a regular file has a path that was given") {
  const auto give = [](auto& f) { f.marks.set(state::file_mark::as_given); };
  CHECK(with_record<state::open_file>(1, give).empty());
  CHECK(with_record<state::open_file>(0, give) == "an open file is malformed");
  CHECK(with_record<state::open_file>(2, give) == "an open file is malformed");
}

TEST_CASE("descriptors and locks refer to open files that came before") {
  CHECK(with_record<state::open_file>(1, [](auto& f) { f.id = 2u; }) ==
        "the open files are out of order");
  CHECK(with_record<state::open_file>(0, [](auto& f) { f.stdio = 3u; }) ==
        "the open files are out of order");
  CHECK(with_record<state::open_file>(2, [](auto& f) { f.content = 3u; }) ==
        "the contents of a file are missing");
  const std::string order = "the descriptors are out of order";
  CHECK(with_record<state::descriptor>(3, [](auto& d) { d.open_file = 3u; }) == order);
  CHECK(with_record<state::descriptor>(3, [](auto& d) { d.number = 3; }) == order);
  CHECK(with_record<state::descriptor>(0, [](auto& d) { d.number = -1; }) == order);
  CHECK(with_record<state::descriptor>(3, [](auto& d) { d.number = max_descriptor + 1; }) == order);
  CHECK(with_record<state::file_lock>(0, [](auto& l) { l.open_file = 3u; }) == "a lock on no file");
}

TEST_CASE("signals have numbers from 1 to 64") {
  const std::string none = "a signal that does not exist";
  for (u32 bad : {0u, 65u, ~0u}) {
    CHECK(with_record<state::signal_action>(0, [&](auto& a) { a.signal = bad; }) == none);
    CHECK(with_record<state::pending_signal>(
              0, [&](auto& p) { p.signal = static_cast<i32>(bad); }) == none);
  }
  CHECK(with_record<state::signal_action>(0, [](auto& a) { a.signal = 64u; }).empty());
}

TEST_CASE("the views find what is there") {
  const auto image = image_builder::typical().build();
  const auto h = test::header_of(image);
  const auto metadata = *test::piece(image, h.metadata_offset, h.metadata_size);
  int descriptors = 0;
  for_each<state::descriptor>(metadata, [&](const auto&, bytes) { ++descriptors; });
  CHECK(descriptors == 9);
  CHECK(first<state::process>(metadata).pid == 4711);
  CHECK(first<state::segment>(metadata).address == image_builder::code);
  CHECK(text_of_bytes(text(metadata, state::text_kind::directory)) == "/home/user");
  CHECK(text(metadata, state::text_kind::auxiliary_vector).empty());
  CHECK(first<state::process>({}).pid == 0);
}

TEST_CASE("the number of groups is that of the groups there are") {
  const auto with = [](auto change) { return with_record<state::credentials>(0, change); };
  constexpr std::string_view line = "the groups of a thread are malformed";
  CHECK(with([](state::credentials& c) { c.group_count = 1u; }) == line);
  CHECK(with([](state::credentials& c) { c.group_count = 3u; }) == line);
  CHECK(with([](state::credentials& c) { c.group_count = 0x40000002u; }) == line);
  CHECK(with([](state::credentials&) {}).empty());
}

TEST_CASE("timers that no kernel has are refused") {
  const auto with = [](auto change) { return with_record<state::posix_timer>(0, change); };
  constexpr std::string_view line = "a POSIX timer is malformed";
  CHECK(with([](state::posix_timer& t) { t.id = -1; }) == line);
  CHECK(with([](state::posix_timer& t) { t.signal = 65; }) == line);
  CHECK(with([](state::posix_timer& t) { t.signal = 0; }) == line);
  CHECK(with([](state::posix_timer& t) { t.interval_ns = -1; }) == line);
  CHECK(with([](state::posix_timer& t) { t.overrun = -1; }) == line);
  CHECK(with([](state::posix_timer& t) { t.state = 3u; }) == line);
  CHECK(with([](state::posix_timer& t) {
          t.notify = sys::abi::sigev_none;
          t.signal = 0;
        }).empty());
}

TEST_CASE("shared objects are numbered in order, and all that belongs to them is there") {
  using state::segment;
  using state::shared_object;
  constexpr std::string_view malformed = "the shared objects are malformed";
  const auto object = [](int which, auto change) {
    return with_record<shared_object>(which, change);
  };
  CHECK(object(0, [](auto& o) { o.number = 0u; }) == malformed);
  CHECK(object(1, [](auto& o) { o.number = 1u; }) == malformed);
  CHECK(object(1, [](auto& o) { o.number = 3u; }) == malformed);
  CHECK(object(1, [](auto& o) { o.size = state::largest_object + 1; }) == malformed);
  constexpr std::string_view larger = "the contents of a shared object are larger than the object";
  CHECK(object(0, [](auto& o) { o.size = 4096u; }) == larger);
  CHECK(object(1, [](auto& o) { o.size = 0u; }) == larger);
  CHECK(object(1, [](auto& o) { o.size = page_size + 1; }).empty());
  // The two parts of the second object stand between the heap and the stack.
  const auto part = [](auto change) { return with_record<segment>(3, change); };
  constexpr std::string_view impossible = "a segment belongs to an impossible object";
  CHECK(part([](auto& s) { s.object = 0u; }) == impossible);
  CHECK(part([](auto& s) { s.object = state::max_objects + 1; }) == impossible);
  CHECK(part([](auto& s) { s.kind = state::segment_kind::anonymous; }) == impossible);
  CHECK(part([](auto& s) { s.object = 3u; }) == "a segment belongs to an object that is not there");
  CHECK(part([](auto& s) { s.object = state::max_objects; }) ==
        "a segment belongs to an object that is not there");
  CHECK(part([](auto& s) { s.object = 1u; }).empty());
  constexpr std::string_view offset = "a segment shows an impossible part of its object";
  CHECK(part([](auto& s) { s.file_offset = 8u; }) == offset);
  CHECK(part([](auto& s) { s.file_offset = ~u64{0} - page_size + 1; }) == offset);
  CHECK(part([](auto& s) { s.file_offset = state::largest_object; }) == offset);
}

TEST_CASE("an image without shared objects knows deleted files by their contents") {
  image_builder b;
  b.segment(image_builder::code, 1, state::segment_kind::anonymous, 7, "");
  b.page(image_builder::code, 'c');
  b.open_file(state::file_kind::deleted, 2, 0, "/tmp/gone", b.contents("x"));
  const auto image = b.build();
  const auto h = test::header_of(image);
  report why;
  CHECK(validate_metadata(h, *test::piece(image, h.metadata_offset, h.metadata_size), why).ok());
}

TEST_CASE("a range that cannot be touched lies in one segment, in order") {
  const auto with = [](auto change) { return with_record<state::trap_range>(0, change); };
  constexpr std::string_view impossible =
      "a range that cannot be touched has an impossible address";
  constexpr std::string_view outside = "a range that cannot be touched lies outside every segment";
  CHECK(with([](state::trap_range& t) { t.address = t.address + 1; }) == impossible);
  CHECK(with([](state::trap_range& t) { t.length = 0u; }) == impossible);
  CHECK(with([](state::trap_range& t) { t.length = ~u64{0} - page_size + 1; }) == impossible);
  CHECK(with([](state::trap_range& t) {
          t.address = image_builder::stack + 2 * page_size;
          t.length = 2 * page_size;
        }) == outside);
  CHECK(with([](state::trap_range& t) { t.address = t.address - page_size; }) == outside);
  CHECK(with([](state::trap_range& t) { t.address = page_size; }) == outside);
  CHECK(with([](state::trap_range& t) { t.address = u64{1} << 50; }) == outside);
  // The kernel's own pages are no place for it.
  CHECK(with([](state::trap_range& t) { t.address = t.address + 0x11000; }) == outside);
  CHECK(with([](state::trap_range&) {}).empty());
  CHECK(with([](state::trap_range& t) { t.address = image_builder::stack + 2 * page_size; }).empty());
  // Nor is the place for it where the restarter goes on: the agent's stack ends with the second page.
  CHECK(with([](state::trap_range& t) { t.length = 3 * page_size; }) == impossible);
  CHECK(with([](state::trap_range& t) { t.address = image_builder::stack + page_size; }) == impossible);
  CHECK(with([](state::trap_range& t) { t.address = image_builder::code; }) == impossible);
  // Beyond the end of a file there is nothing that could be loaded into.
  constexpr std::string_view beyond = "an extent lies beyond the end of its file";
  const auto beyond_end = [](state::trap_range& t) { t.kind = state::trap_kind::beyond_end; };
  CHECK(with(beyond_end).empty());
  CHECK(with([&](state::trap_range& t) {
          beyond_end(t);
          t.address = image_builder::stack + 2 * page_size;
        }) == beyond);
}

TEST_CASE("a vDSO has the room that the restarter has for it") {
  const auto with = [](u64 length) {
    return with_record<state::segment>(6, [&](state::segment& s) { s.length = length; });
  };
  CHECK(with(vdso_room).empty());
  CHECK(with(vdso_room + page_size) == "a segment has an impossible address");
}

}  // namespace
}  // namespace ckpt::image
