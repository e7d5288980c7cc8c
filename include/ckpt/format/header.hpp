// SPDX-License-Identifier: MIT
//
// The fixed parts of an image. An image is an ELF executable whose first pages are the restarter:
//
//   0                 ELF header and program headers, ET_EXEC, of the restarter
//   header_offset     file_header
//   …                 the rest of the restarter
//   metadata_offset   records (format/record.hpp), one checksum over all
//   data_offset       the extents' bytes one after the other, page aligned
//   table_offset      one checksum for each block_size bytes of data
//   …                 trailer: the last bytes of the file
//
// Everything before the data is known before the first byte is written, and everything that is
// known only afterwards comes last: an image can be written to a pipe and read from one.
#pragma once

#include "ckpt/base/range.hpp"
#include "ckpt/format/checksum.hpp"
#include "ckpt/wire/layout.hpp"

namespace ckpt::format {

inline constexpr u64 header_offset = 512;
inline constexpr u64 default_block_size = 128 * 1024;
inline constexpr u16 version_major = 1;
inline constexpr u16 version_minor = 1;
inline constexpr u64 max_metadata_size = u64{1} << 32;

/// Like PNG's: a byte that is not ASCII, line ends that text transfers change, and control-Z.
using magic = wire::blob<8>;
inline constexpr magic image_magic{{0x89, 'c', 'k', 'p', 't', '\r', '\n', 0x1a}};
inline constexpr magic trailer_magic{{'t', 'p', 'k', 'c', '\r', '\n', 0x1a, 0x89}};

enum class machine : u16 { x86_64 = 62 };  // ELF e_machine (psABI)
constexpr bool legal(machine) { return true; }  // another architecture is a readable image

/// Bits that change the meaning of the rest: a reader refuses an image with one it does not know.
enum class feature : u32 { being_updated = 1 };
constexpr u32 all_of(feature) { return 1; }

struct file_header {
  magic signature;
  wire::le<u16> major;
  wire::le<u16> minor;
  wire::le<u32> header_size;
  wire::le<format::machine> machine;
  wire::le<u16> page_shift;
  wire::flags<feature> features;
  wire::blob<16> id;
  wire::le<u64> image_size;
  wire::le<u64> window_address;
  wire::le<u64> window_size;
  wire::le<u64> metadata_offset;
  wire::le<u64> metadata_size;
  wire::le<u64> metadata_checksum;
  wire::le<u64> data_offset;
  wire::le<u64> data_size;
  wire::le<u64> table_offset;
  wire::le<u64> table_size;
  wire::le<u64> block_size;
  wire::le<u64> agent_entry;
  wire::le<u64> agent_stack;
  wire::le<u64> restarter_checksum;
  wire::le<u32> writer_boot;
  wire::le<u32> writer_host;
  wire::le<u32> writer_view;
  wire::le<i32> writer_pid;
  wire::le<u64> writer_start;
  wire::le<u64> header_checksum;
};

struct trailer {
  magic signature;
  wire::blob<16> id;
  wire::le<u64> image_size;
  wire::le<u64> table_checksum;
  wire::le<u64> trailer_checksum;
};

}  // namespace ckpt::format

BOOST_HANA_ADAPT_STRUCT(ckpt::format::file_header, signature, major, minor, header_size, machine,
                        page_shift, features, id, image_size, window_address, window_size,
                        metadata_offset, metadata_size, metadata_checksum, data_offset, data_size,
                        table_offset, table_size, block_size, agent_entry, agent_stack,
                        restarter_checksum, writer_boot, writer_host, writer_view, writer_pid,
                        writer_start, header_checksum);
BOOST_HANA_ADAPT_STRUCT(ckpt::format::trailer, signature, id, image_size, table_checksum,
                        trailer_checksum);

namespace ckpt::wire {
template <>
inline constexpr auto describe<format::file_header> = description<28>{
    "file_header",
    "At file offset 512. Every offset is from the start of the file, every size in bytes.",
    {"89 63 6b 70 74 0d 0a 1a", "a reader refuses another major version",
     "a reader skips records and ignores trailing fields of a later minor version",
     "bytes of this structure", "ELF e_machine of the program",
     "log2 of the page size of the machine that wrote the image",
     "bits a reader must all know; being_updated marks an image that is not whole",
     "random, drawn for each image; the trailer repeats it", "bytes of the whole file",
     "where the restarter is loaded: a hole in the program's own address space",
     "bytes of that hole the restarter may use", "where the records begin, page aligned",
     "bytes of all records", "XXH3-64 of the records", "where the data begins, page aligned",
     "bytes of data, a multiple of the page size", "where the checksums of the data begin",
     "8 bytes for each block, the last block may be short", "bytes of data each checksum covers",
     "address in the restored program where the agent goes on",
     "top of the stack the agent goes on with",
     "XXH3-64 of the file before metadata_offset, without this structure",
     "whose image it is, for who would overwrite it: low half of XXH3-64 of the kernel's boot_id",
     "likewise of uname -n", "number of the device that its /proc is (stat st_dev)",
     "its process number there; 0 when it is not known",
     "when it began, in clock ticks of CLOCK_BOOTTIME outside of any time namespace",
     "XXH3-64 of this structure with this field zero"}};
template <>
inline constexpr auto describe<format::trailer> = description<5>{
    "trailer",
    "The last bytes of the file. An image without it was cut off.",
    {"74 70 6b 63 0d 0a 1a 89", "the id of the file_header", "bytes of the whole file",
     "XXH3-64 of the checksums at table_offset", "XXH3-64 of this structure with this field zero"}};
}  // namespace ckpt::wire

namespace ckpt::format {

static_assert(wire::laid_out_in<file_header, 184>());
static_assert(wire::laid_out_in<trailer, 48>());

/// A header of this version for parts of these sizes, which follow each other: everything but the
/// id, the window, the agent and the checksums.
/// Context: any, no libc
[[nodiscard]] inline file_header header_for(u64 restarter_size, u64 metadata_size, u64 data_size,
                                            u64 block_size = default_block_size) {
  file_header h{};
  h.signature = image_magic;
  h.major = version_major;
  h.minor = version_minor;
  h.header_size = static_cast<u32>(sizeof h);
  h.machine = machine::x86_64;
  h.page_shift = u16{12};
  h.metadata_offset = restarter_size;
  h.metadata_size = metadata_size;
  h.data_offset = page_up(h.metadata_offset + h.metadata_size);
  h.data_size = data_size;
  h.block_size = block_size;
  h.table_offset = h.data_offset + h.data_size;
  h.table_size = (data_size + block_size - 1) / block_size * sizeof(u64);
  h.image_size = h.table_offset + h.table_size + sizeof(trailer);
  return h;
}

/// The checksum a structure carries over itself with that field zero.
[[nodiscard]] inline u64 own_checksum(file_header h) {
  h.header_checksum = u64{0};
  return checksum(bytes_of(h));
}
[[nodiscard]] inline u64 own_checksum(trailer t) {
  t.trailer_checksum = u64{0};
  return checksum(bytes_of(t));
}

}  // namespace ckpt::format
