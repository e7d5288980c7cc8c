// SPDX-License-Identifier: MIT
//
// What a tool of somebody else's does with the core: it opens an image, has it validated, and lists
// the records, the segments and the runs of bytes in it.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "ckpt/format/checksum.hpp"
#include "ckpt/format/header.hpp"
#include "ckpt/image/metadata_view.hpp"

namespace {

int refuse(std::string_view why) {
  std::fprintf(stderr, "list_image: %.*s\n", static_cast<int>(why.size()), why.data());
  return 1;
}

}  // namespace

int main(int count, char** words) {
  if (count != 2) return 2;
  std::ifstream file(words[1], std::ios::binary);
  const std::vector<char> image{std::istreambuf_iterator<char>(file), {}};
  ckpt::format::file_header header{};
  if (image.size() < ckpt::format::header_offset + sizeof header) return refuse("too short");
  std::memcpy(&header, image.data() + ckpt::format::header_offset, sizeof header);

  ckpt::report why;
  if (!ckpt::image::validate_header(header, image.size(), why).ok()) return refuse(why.line());
  const ckpt::bytes metadata =
      std::as_bytes(std::span(image)).subspan(header.metadata_offset, header.metadata_size);
  if (ckpt::format::checksum(metadata) != header.metadata_checksum)
    return refuse("the metadata are damaged");
  if (!ckpt::image::validate_metadata(header, metadata, why).ok()) return refuse(why.line());

  int records = 0;
  for (ckpt::format::record_cursor cursor(metadata); !cursor.done(); ++records)
    if (!cursor.next().ok()) return refuse("a record is malformed");
  std::printf("records %d\n", records);
  const auto program = ckpt::image::text(metadata, ckpt::state::text_kind::program);
  std::printf("program %.*s\n", static_cast<int>(program.size()),
              reinterpret_cast<const char*>(program.data()));
  ckpt::image::for_each<ckpt::state::segment>(
      metadata, [](const ckpt::state::segment& s, ckpt::bytes name) {
        std::printf("segment %llx %llx %.*s\n",
                    static_cast<unsigned long long>(s.address.get()),
                    static_cast<unsigned long long>(s.address + s.length),
                    static_cast<int>(name.size()), reinterpret_cast<const char*>(name.data()));
      });
  ckpt::image::for_each<ckpt::state::extents>(
      metadata, [](const ckpt::state::extents& table, ckpt::bytes entries) {
        if (table.object != 0) return;
        for (ckpt::u64 i = 0; i < table.count; ++i) {
          const auto e = ckpt::image::extent_at(entries, i);
          std::printf("extent %llx %llx\n", static_cast<unsigned long long>(e.address.get()),
                      static_cast<unsigned long long>(e.address + e.length));
        }
      });
  return 0;
}
