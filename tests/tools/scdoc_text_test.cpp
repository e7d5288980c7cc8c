// SPDX-License-Identifier: MIT
#include "scdoc_text.hpp"

#include <sstream>

#include "support/catch.hpp"

namespace {

using namespace ckpt::tools;

std::string converted(const std::string& markdown) {
  std::istringstream in(markdown);
  return scdoc_of_markdown(in);
}

TEST_CASE("marks of scdoc in plain text are quoted") {
  CHECK(quote_for_scdoc("CKPT_NAME *x* a\\b") == "CKPT\\_NAME \\*x\\* a\\\\b");
  CHECK(quote_for_scdoc("# no heading") == "\\# no heading");
  CHECK(literal("printf(\"\\n\"); a_b") == "printf(\"\\\\n\"); a_b");
}

TEST_CASE("code becomes bold and a link its text") {
  CHECK(inline_marks("the `file_header` of [it](#it)") == "the *file\\_header* of it");
}

TEST_CASE("headings rise by one level and the title goes") {
  CHECK(converted("# Title\ntext\n## Part\nmore\n### piece\nend\n") ==
        "text\n\n# PART\n\nmore\n\n## piece\n\nend\n");
}

TEST_CASE("lists and code stand apart from the text before them") {
  CHECK(converted("text:\n- one\n  goes on\n- two\n```\na_b\n```\n") ==
        "text:\n\n- one\n  goes on\n- two\n\n```\na_b\n```\n");
}

TEST_CASE("a narrow table stays one") {
  CHECK(converted("| n | what |\n|---:|---|\n| 1 | `one` |\n") ==
        "|] *n*\n:< *what*\n|] 1\n:< *one*\n");
}

TEST_CASE("a wide table becomes a list of terms") {
  CHECK(converted("| offset | size | type | field | meaning |\n|---:|---:|---|---|---|\n"
                  "| 0 | 8 | le u64 | `a_b` | first |\n| 8 | | | | end |\n") ==
        "*a\\_b* (offset 0, size 8, type le u64)\n\tfirst\n\n(offset 8)\n\tend\n");
}

}  // namespace
