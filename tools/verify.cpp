// SPDX-License-Identifier: MIT
//
// The whole image was validated when it was opened but for its data: this reads that.
#include <optional>

#include "commands.hpp"
#include "image_error.hpp"
#include "json_stream.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

namespace {

constexpr std::size_t most_shown = 1000;

std::string where_text(image_file& image, u64 block) {
  const program_memory memory(image);
  const auto address = memory.address_of_data(image.block(block).begin);
  return address ? ", at address " + address_text(*address) : "";
}

}  // namespace

void verify(image_file& image, const request& asked, std::ostream& out) {
  u64 damaged = 0;
  std::optional<u64> first;
  std::vector<u64> shown;
  {
    progress bar("verify", image.block_count());
    for (u64 i = 0; i < image.block_count(); ++i) {
      bar.at(i);
      if (image.verify_block(i)) continue;
      ++damaged;
      if (!first) first = i;
      if (shown.size() < most_shown) shown.push_back(i);
    }
  }
  if (asked.json) {
    json_stream to(out);
    begin_document(to, asked);
    to.member("whole", damaged == 0);
    to.member("blocks", image.block_count());
    to.member("block_size", image.header().block_size.get());
    to.member("data_size", image.header().data_size.get());
    to.member("damaged_blocks", damaged);
    to.begin_array("damaged");
    for (const u64 i : shown) {
      const auto address = program_memory(image).address_of_data(image.block(i).begin);
      to.value({{"block", i}, {"address", address ? json(hex_number(*address)) : json()}});
    }
    to.end_array();
    to.end_object();
  }
  if (first)
    throw image_error(std::to_string(damaged) + " of " + std::to_string(image.block_count()) +
                      " blocks of the data are damaged (checksum mismatch), the first is block " +
                      std::to_string(*first) + where_text(image, *first));
  if (!asked.json)
    out << printable(asked.image()) << ": whole, " << image.block_count() << " blocks, "
        << size_text(image.header().data_size) << " of data\n";
}

}  // namespace ckpt::tools
