// SPDX-License-Identifier: MIT
//
// The whole image was validated when it was opened but for its data: this reads that.
#include "verify_data.hpp"

#include "commands.hpp"
#include "printable.hpp"

namespace ckpt::tools {

void verify(image_file& image, const std::string& name, std::ostream& out) {
  verify_data(image);
  out << printable(name) << ": whole, " << image.block_count() << " blocks, "
      << size_text(image.header().data_size) << " of data\n";
}

}  // namespace ckpt::tools
