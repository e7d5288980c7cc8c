// SPDX-License-Identifier: MIT
//
// Text for scdoc(5), from which the manual pages are made: plain text with its marks quoted, and
// the small part of Markdown that docs/FORMAT.md is written in.
#pragma once

#include <istream>
#include <string>
#include <string_view>

namespace ckpt::tools {

/// Nothing in it is a mark of scdoc any more.
[[nodiscard]] std::string quote_for_scdoc(std::string_view text);

/// A line of an example, between lines of three backquotes.
[[nodiscard]] std::string literal(std::string_view line);

/// A line with Markdown's marks: `code` becomes bold, [text](link) becomes text.
[[nodiscard]] std::string inline_marks(std::string_view line);

/// Markdown: headings one level higher, since a page has its own title, which replaces the first;
/// paragraphs, lists, fenced code, tables, of which those with more than four columns become lists
/// of terms.
[[nodiscard]] std::string scdoc_of_markdown(std::istream& in);

}  // namespace ckpt::tools
