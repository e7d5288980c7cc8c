// SPDX-License-Identifier: MIT
//
// `readckpt diff`: how two images differ, as a table, as JSON, and as a picture.
#include <string>

#include "columns.hpp"
#include "commands.hpp"
#include "compare_memory.hpp"
#include "compare_records.hpp"
#include "json_stream.hpp"
#include "mapping_kind.hpp"
#include "picture_output.hpp"
#include "printable.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

namespace {

std::string_view word_of(change how) {
  return how == change::added ? "added" : how == change::removed ? "removed" : "common";
}

json to_json(const page_count& n) {
  return {{"compared", n.compared},
          {"changed", n.changed},
          {"appeared", n.appeared},
          {"vanished", n.vanished}};
}

json to_json(const record_change& c) {
  json fields = json::array();
  for (const auto& d : c.fields)
    fields.push_back({{"field", d.field}, {"a", d.a}, {"b", d.b}});
  return {{"record", c.record},
          {"key", c.key.empty() ? json() : json(c.key)},
          {"change", word_of(c.how)},
          {"differences", fields}};
}

std::string cell_text(const json& value) {
  if (value.is_null()) return "";
  std::string text = value.is_string() ? printable(value.get<std::string>())
                                       : value.dump(-1, ' ', true);
  constexpr std::size_t longest = 48;
  if (text.size() > longest) text = printable(text.substr(0, longest)) + "...";
  return text;
}

void compare_json(image_file& a, image_file& b, const request& asked, std::ostream& out) {
  memory_comparison both(a, asked.operands[0], b, asked.operands[1]);
  json_stream to(out);
  begin_document(to, asked);
  to.member("other", text_json(asked.operands[1]));
  to.begin_array("mappings");
  const auto total = both.pieces({
      .begin = [&](const compared_piece& c) {
        const auto& m = c.what.one();
        to.begin_object();
        to.member("address", hex_number(c.what.where.begin));
        to.member("length", c.what.where.length());
        to.member("change", word_of(c.what.how()));
        to.member("protection", protection_text(m.segment));
        to.member("name", text_json(m.name));
        json fields = json::array();
        for (const auto& d : c.attributes)
          fields.push_back({{"field", d.field}, {"a", d.a}, {"b", d.b}});
        to.member("differences", fields);
        to.begin_array("different_pages");
      },
      .differs = [&](range run) { to.value({hex_number(run.begin), run.length() / page_size}); },
      .end = [&](const compared_piece& c) {
        to.end_array();
        to.member("pages", to_json(c.pages));
        to.end_object();
      }});
  to.end_array();
  to.member("pages", to_json(total));
  to.begin_array("objects");
  for (const auto& o : both.objects())
    to.value({{"name", text_json(o.name)},
              {"size_a", o.size_a},
              {"size_b", o.size_b},
              {"pages", to_json(o.pages)}});
  to.end_array();
  const auto list = [&](std::string_view name, const std::vector<record_change>& changes) {
    to.begin_array(name);
    for (const auto& c : changes) to.value(to_json(c));
    to.end_array();
  };
  list("descriptors", descriptor_changes(a, b));
  list("threads", thread_changes(a, b));
  list("state", state_changes(a, b));
  to.end_object();
}

std::string sign_of(change how, bool different) {
  return how == change::added ? "+" : how == change::removed ? "-" : different ? "~" : "";
}

tint tint_of(change how) {
  return how == change::added     ? tint::added
         : how == change::removed ? tint::removed
                                  : tint::changed;
}

std::string pages_text(const page_count& n) {
  std::string text = std::to_string(n.changed) + " changed";
  if (n.appeared > 0) text += ", " + std::to_string(n.appeared) + " new";
  if (n.vanished > 0) text += ", " + std::to_string(n.vanished) + " now zero";
  return text;
}

void print_changes(const char* title, const std::vector<record_change>& changes,
                   std::ostream& out, bool& any) {
  if (changes.empty()) return;
  any = true;
  out << '\n' << title << '\n';
  columns table({"", "WHAT", "FIELD", "A", "B"});
  for (const auto& c : changes) {
    std::string what = c.record + (c.key.empty() ? "" : " " + printable(c.key));
    std::string sign = sign_of(c.how, true);
    for (const auto& d : c.fields) {
      // Of what is new or gone the name is enough; JSON has all of it.
      if (c.how != change::same && d.field != "path" && d.field != "name" && d.field != "kind")
        continue;
      table.add({sign, what, d.field, cell_text(d.a), cell_text(d.b)}, tint_of(c.how));
    }
    if (c.how != change::same &&
        std::ranges::none_of(c.fields, [](const difference& d) {
          return d.field == "path" || d.field == "name" || d.field == "kind";
        }))
      table.add({sign, what, "", "", ""}, tint_of(c.how));
  }
  table.print(out);
}

/// What a restart makes of each mapping of a file: its bytes are in the image, so the file is not needed.
bool lost_only_its_file(const compared_piece& c) {
  const auto& p = c.what;
  return p.how() == change::same && c.pages.different() == 0 &&
         (p.a->segment.kind == state::segment_kind::private_file ||
          p.a->segment.kind == state::segment_kind::shared_file) &&
         p.b->segment.kind == state::segment_kind::anonymous && p.b->name.empty() &&
         protection_text(p.a->segment) == protection_text(p.b->segment);
}

void compare_text(image_file& a, image_file& b, const request& asked, std::ostream& out) {
  memory_comparison both(a, asked.operands[0], b, asked.operands[1]);
  columns table({"", "ADDRESS", "RWX", ">SIZE", ">PAGES", "DIFFERENT", "NAME"});
  u64 same = 0, shown = 0, nameless = 0;
  const auto total = both.pieces({
      .begin = {}, .differs = {}, .end = [&](const compared_piece& c) {
        const auto& p = c.what;
        if (p.how() == change::same && c.attributes.empty() && c.pages.different() == 0) {
          ++same;
          return;
        }
        if (lost_only_its_file(c)) {
          ++nameless;
          return;
        }
        ++shown;
        const auto& m = p.one();
        std::string rights = protection_text(m.segment);
        if (p.how() == change::same && protection_text(p.a->segment) != rights)
          rights = protection_text(p.a->segment) + ">" + rights;
        std::string name = printable(m.name);
        if (p.how() == change::same && p.a->name != p.b->name)
          name = printable(p.a->name) + " > " + (name.empty() ? "(no name)" : name);
        table.add({sign_of(p.how(), true),
                   address_text(p.where.begin) + "-" + address_text(p.where.end), rights,
                   size_text(p.where.length()),
                   p.how() == change::same ? std::to_string(c.pages.compared) : "",
                   p.how() == change::same ? pages_text(c.pages) : "", name},
                  tint_of(p.how()));
        if (p.how() != change::same) return;
        std::string strip = "|";
        for (const double d : c.cells) strip += heat_cell(out, d);
        table.trail(strip + "|");
      }});
  const auto objects = both.objects();
  both.finish();
  const auto made = [](const image_file& image) {
    return image.one<state::host>().fields.realtime_ns.get();
  };
  const double later = static_cast<double>(made(b) - made(a)) / 1e9;
  char seconds[64];
  std::snprintf(seconds, sizeof seconds, "%.3f", later < 0 ? -later : later);
  out << "A  " << printable(asked.operands[0]) << "\nB  " << printable(asked.operands[1]) << ", "
      << seconds << (later < 0 ? " seconds earlier" : " seconds later") << "\n\n";
  out << "memory: " << total.compared << " pages compared, " << pages_text(total) << "; " << same
      << (same == 1 ? " mapping is" : " mappings are") << " the same\n";
  if (nameless > 0)
    out << "        " << nameless << (nameless == 1 ? " mapping of a file is" : " mappings of files are")
        << " the same bytes without the file, as after a restart\n";
  bool any = shown + nameless > 0;
  if (shown > 0) {
    out << "\nmappings (+ new, - gone, ~ different; the strip shows where)\n";
    table.print(out);
  }
  if (!objects.empty()) {
    any = true;
    out << "\ncontents\n";
    columns contents({">SIZE IN A", ">IN B", "PAGES", "NAME"});
    for (const auto& o : objects)
      contents.add({std::to_string(o.size_a), std::to_string(o.size_b), pages_text(o.pages),
                    printable(o.name)}, tint::changed);
    contents.print(out);
  }
  print_changes("descriptors", descriptor_changes(a, b), out,
                any);
  print_changes("threads", thread_changes(a, b), out, any);
  print_changes("state", state_changes(a, b), out, any);
  if (!any) out << "no difference\n";
}

void compare_picture(image_file& a, image_file& b, const request& asked) {
  memory_comparison both(a, asked.operands[0], b, asked.operands[1]);
  picture p;
  p.title = "From " + asked.operands[0] + " to " + asked.operands[1];
  u64 added = 0, removed = 0;
  const auto total = both.pieces({
      .begin = {}, .differs = {}, .end = [&](const compared_piece& c) {
        const auto how = c.what.how();
        const auto& m = c.what.one();
        picture_bar bar{c.what.where, protection_text(m.segment), "#999", "", std::string(m.name),
                        c.cells, true};
        if (how == change::same && c.pages.different() > 0) bar.note = pages_text(c.pages);
        if (how == change::added) {
          bar.colour = "#2a9d4a";
          bar.note = "+ new";
          added += c.what.where.length();
        } else if (how == change::removed) {
          bar.colour = "#c0392b";
          bar.note = "- gone";
          removed += c.what.where.length();
        }
        p.bars.push_back(std::move(bar));
      }});
  p.lines = {std::to_string(total.compared) + " pages compared, " + pages_text(total) + "; " +
                 size_text(added) + " of new mappings, " + size_text(removed) + " gone",
             "Blue cells have few pages that differ, red ones have nothing else."};
  const u64 different = total.different();
  p.legend = {{"#999", std::to_string(total.compared - different) + " pages the same",
               static_cast<double>(total.compared - different)},
              {"hsl(0,75%,50%)", std::to_string(different) + " different",
               static_cast<double>(different)}};
  write_picture(p, asked);
}

}  // namespace

void compare(image_file& a, image_file& b, const request& asked, std::ostream& out) {
  if (asked.json)
    compare_json(a, b, asked, out);
  else if (asked.format == "svg" || asked.format == "html")
    compare_picture(a, b, asked);
  else
    compare_text(a, b, asked, out);
}

}  // namespace ckpt::tools
