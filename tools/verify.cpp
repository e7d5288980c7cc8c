// SPDX-License-Identifier: MIT
//
// The whole image was validated when it was opened but for its data and for what only a restart needs:
// this looks at those, so that what it calls whole the restarter does not refuse.
#include <optional>

#include "ckpt/image/agent_place.hpp"
#include "commands.hpp"
#include "image_error.hpp"
#include "printable.hpp"
#include "program_memory.hpp"

namespace ckpt::tools {

namespace {

std::string where_text(image_file& image, u64 block) {
  const program_memory memory(image);
  const auto address = memory.address_of_data(image.block(block).begin);
  return address ? ", at address " + address_text(*address) : "";
}

// What lies beside the data.
void verify_rest(image_file& image) {
  report why;
  if (!image::check_agent(image.header(), image.metadata(), why).ok())
    throw image_error(std::string(why.line()));
  if (!image.padding_is_zero()) throw image_error("damaged between metadata and data");
}

}  // namespace

void verify(image_file& image, const std::string& name, std::ostream& out) {
  verify_rest(image);
  u64 damaged = 0;
  std::optional<u64> first;
  for (u64 i = 0; i < image.block_count(); ++i) {
    if (image.verify_block(i)) continue;
    ++damaged;
    if (!first) first = i;
  }
  if (first)
    throw image_error(std::to_string(damaged) + " of " + std::to_string(image.block_count()) +
                      " blocks of the data are damaged (checksum mismatch), the first is block " +
                      std::to_string(*first) + where_text(image, *first));
  out << printable(name) << ": whole, " << image.block_count() << " blocks, "
      << size_text(image.header().data_size) << " of data\n";
}

}  // namespace ckpt::tools
