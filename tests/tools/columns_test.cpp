// SPDX-License-Identifier: MIT
//
// Columns line up by characters, not by bytes.
#include "columns.hpp"

#include <sstream>

#include "support/catch.hpp"

namespace ckpt::tools {
namespace {

TEST_CASE("columns are as wide as their widest cell") {
  columns table({"NAME", ">SIZE", "REST"});
  table.add({"a", "1000000", "x"});
  table.add({"Grüße", "1", ""});
  std::ostringstream out;
  table.print(out);
  CHECK(out.str() ==
        "  NAME      SIZE  REST\n"
        "  a      1000000  x\n"
        "  Grüße        1\n");
}

TEST_CASE("a table without rows has its titles") {
  std::ostringstream out;
  columns({"A", ">B"}).print(out);
  CHECK(out.str() == "  A  B\n");
}

}  // namespace
}  // namespace ckpt::tools
