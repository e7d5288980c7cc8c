// SPDX-License-Identifier: MIT
//
// The whole image was validated when it was opened but for its data: this reads that.
#include "verify_data.hpp"

#include "commands.hpp"
#include "json_stream.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

void verify(image_file& image, const request& asked, std::ostream& out) {
  verify_rest(image);
  damaged_blocks damage;
  {
    progress bar("verify", image.block_count());
    damage = find_damage(image, [&](u64 block) { bar.at(block); });
  }
  if (asked.json) {
    json_stream to(out);
    begin_document(to, asked);
    to.member("whole", damage.count == 0);
    to.member("blocks", image.block_count());
    to.member("block_size", image.header().block_size.get());
    to.member("data_size", image.header().data_size.get());
    to.member("damaged_blocks", damage.count);
    to.begin_array("damaged");
    for (const u64 i : damage.first) {
      const auto address = program_memory(image).address_of_data(image.block(i).begin);
      to.value({{"block", i}, {"address", address ? json(hex_number(*address)) : json()}});
    }
    to.end_array();
    to.end_object();
  }
  refuse_damage(image, damage);
  if (!asked.json)
    out << printable(asked.image()) << ": whole, " << image.block_count() << " blocks, "
        << size_text(image.header().data_size) << " of data\n";
}

}  // namespace ckpt::tools
