// SPDX-License-Identifier: MIT
//
// Two images side by side: mappings and pages, descriptors, threads, settings. Memory is compared in
// ascending order and a piece at a time, so that size costs time only.
#include <array>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <set>

#include "columns.hpp"
#include "commands.hpp"
#include "image_error.hpp"
#include "json_stream.hpp"
#include "mapping_kind.hpp"
#include "picture_output.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

namespace {

using mapping = program_memory::mapping;

constexpr std::size_t text_cells = 32;

struct difference {
  std::string field;
  json a, b;
};

/// Pages of a range that both have.
struct page_count {
  u64 compared = 0;  // those that either image has bytes of
  u64 changed = 0;
  u64 appeared = 0;  // zero in the first
  u64 vanished = 0;  // zero in the second

  [[nodiscard]] u64 different() const { return changed + appeared + vanished; }
  void operator+=(const page_count& o) {
    compared += o.compared;
    changed += o.changed;
    appeared += o.appeared;
    vanished += o.vanished;
  }
};

json to_json(const page_count& n) {
  return {{"compared", n.compared},
          {"changed", n.changed},
          {"appeared", n.appeared},
          {"vanished", n.vanished}};
}

enum class change { same, added, removed };

std::string_view word_of(change how) {
  return how == change::added ? "added" : how == change::removed ? "removed" : "common";
}

/// A range of addresses with the one mapping that each has there, if any.
struct piece {
  range where;
  const mapping* a = nullptr;
  const mapping* b = nullptr;

  [[nodiscard]] change how() const {
    return a == nullptr ? change::added : b == nullptr ? change::removed : change::same;
  }
  [[nodiscard]] const mapping& one() const { return b != nullptr ? *b : *a; }
};

// ---------------------------------------------------------------------------------------------
// memory

std::vector<piece> pieces_of(const program_memory& a, const program_memory& b) {
  std::vector<piece> all;
  auto x = a.mappings().begin(), y = b.mappings().begin();
  const auto x_end = a.mappings().end(), y_end = b.mappings().end();
  u64 at = 0;
  const auto begin_of = [&](auto m, auto end) {
    return m == end ? ~u64{0} : std::max(at, m->where().begin);
  };
  while (x != x_end || y != y_end) {
    const u64 begin_x = begin_of(x, x_end), begin_y = begin_of(y, y_end);
    piece p{{std::min(begin_x, begin_y), 0}, nullptr, nullptr};
    p.where.end = ~u64{0};
    if (x != x_end) p.where.end = begin_x > p.where.begin ? begin_x : x->where().end;
    if (y != y_end)
      p.where.end = std::min(p.where.end, begin_y > p.where.begin ? begin_y : y->where().end);
    if (x != x_end && begin_x == p.where.begin) p.a = &*x;
    if (y != y_end && begin_y == p.where.begin) p.b = &*y;
    all.push_back(p);
    at = p.where.end;
    if (x != x_end && x->where().end <= at) ++x;
    if (y != y_end && y->where().end <= at) ++y;
  }
  return all;
}

std::vector<difference> attribute_differences(const piece& p) {
  std::vector<difference> all;
  const auto add = [&](std::string field, json a, json b) {
    if (a != b) all.push_back({std::move(field), std::move(a), std::move(b)});
  };
  add("protection", protection_text(p.a->segment), protection_text(p.b->segment));
  add("kind", spoken_name(p.a->segment.kind.get()), spoken_name(p.b->segment.kind.get()));
  add("name", text_json(p.a->name), text_json(p.b->name));
  const auto offset = [](const mapping& m, u64 address) -> json {
    if (m.segment.inode == 0 && m.segment.object == 0) return json();
    return hex_number(m.segment.file_offset + (address - m.segment.address));
  };
  add("file_offset", offset(*p.a, p.where.begin), offset(*p.b, p.where.begin));
  return all;
}

/// The pages of two pieces of memory, whose bytes are in the runs and zero elsewhere.
class page_comparison {
 public:
  using reads = std::function<void(u64, mutable_bytes)>;

  page_comparison(reads a, reads b, progress& bar)
      : read_a_(std::move(a)), read_b_(std::move(b)), bar_(bar) {}

  page_count compare(const std::vector<range>& a, const std::vector<range>& b,
                     const std::function<void(range)>& changed) {
    page_count count;
    range run{0, 0};
    auto x = a.begin(), y = b.begin();
    u64 at = 0;
    for (;;) {
      while (x != a.end() && x->end <= at) ++x;
      while (y != b.end() && y->end <= at) ++y;
      if (x == a.end() && y == b.end()) break;
      const u64 begin_x = x == a.end() ? ~u64{0} : std::max(at, x->begin);
      const u64 begin_y = y == b.end() ? ~u64{0} : std::max(at, y->begin);
      const u64 begin = std::min(begin_x, begin_y);
      u64 end = ~u64{0};
      if (x != a.end()) end = begin_x > begin ? begin_x : x->end;
      if (y != b.end()) end = std::min(end, begin_y > begin ? begin_y : y->end);
      end = std::min(end, begin + most);
      compare_part({begin, end}, begin_x == begin, begin_y == begin, count, [&](u64 page) {
        if (page != run.end) {
          if (!run.empty()) changed(run);
          run = {page, page};
        }
        run.end = page + page_size;
      });
      at = end;
    }
    if (!run.empty()) changed(run);
    return count;
  }

 private:
  static constexpr u64 most = 256 * 1024;

  template <class OnPage>
  void compare_part(range where, bool in_a, bool in_b, page_count& count, OnPage&& on_page) {
    const u64 n = where.length();
    const auto a = std::span(a_).first(n), b = std::span(b_).first(n);
    if (in_a)
      read_a_(where.begin, a);
    else
      std::ranges::fill(a, std::byte{0});
    if (in_b)
      read_b_(where.begin, b);
    else
      std::ranges::fill(b, std::byte{0});
    bar_.advance((in_a ? n : 0) + (in_b ? n : 0));
    count.compared += n / page_size;
    for (u64 i = 0; i < n; i += page_size) {
      const auto page_a = a.subspan(i, page_size), page_b = b.subspan(i, page_size);
      if (std::memcmp(page_a.data(), page_b.data(), page_size) == 0) continue;
      if (is_zero(page_a))
        ++count.appeared;
      else if (is_zero(page_b))
        ++count.vanished;
      else
        ++count.changed;
      on_page(where.begin + i);
    }
  }
  static bool is_zero(bytes page) {
    return std::ranges::all_of(page, [](std::byte x) { return x == std::byte{0}; });
  }

  reads read_a_, read_b_;
  progress& bar_;
  std::array<std::byte, most> a_, b_;
};

// ---------------------------------------------------------------------------------------------
// records

/// Objects by a key; the fields of the same key are compared.
struct record_change {
  std::string record;
  std::string key;  // empty where there is one only
  change how;
  std::vector<difference> fields;
};

using keyed = std::map<std::string, json>;

std::vector<record_change> changes_of(const std::string& record, const keyed& a, const keyed& b) {
  std::vector<record_change> all;
  // Numbers in their order.
  const auto order = [](const std::string& x, const std::string& y) {
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  };
  std::set<std::string, decltype(order)> keys(order);
  for (const auto& [key, value] : a) keys.insert(key);
  for (const auto& [key, value] : b) keys.insert(key);
  for (const auto& key : keys) {
    const auto x = a.find(key), y = b.find(key);
    if (x == a.end() || y == b.end()) {
      record_change c{record, key, x == a.end() ? change::added : change::removed, {}};
      const json& fields = x == a.end() ? y->second : x->second;
      for (const auto& [name, value] : fields.items())
        c.fields.push_back(x == a.end() ? difference{name, json(), value}
                                        : difference{name, value, json()});
      all.push_back(std::move(c));
      continue;
    }
    record_change c{record, key, change::same, {}};
    for (const auto& [name, value] : x->second.items()) {
      const json other = y->second.contains(name) ? y->second[name] : json();
      if (value != other) c.fields.push_back({name, value, other});
    }
    for (const auto& [name, value] : y->second.items())
      if (!x->second.contains(name)) c.fields.push_back({name, json(), value});
    if (!c.fields.empty()) all.push_back(std::move(c));
  }
  return all;
}

template <class Record>
keyed by(const image_file& image, const char* key) {
  keyed all;
  for (const auto& [fields, tail] : image.all<Record>()) {
    json object = tools::to_json(fields);
    add_tail(object, fields, tail);
    std::string name = key == nullptr ? "" : object[key].dump();
    if (key != nullptr) object.erase(key);
    all.emplace(std::move(name), std::move(object));
  }
  return all;
}

keyed threads_of(const image_file& image) {
  keyed all = by<state::thread>(image, "tid");
  for (const auto& [s, raw] : image.all<state::extended_state>()) {
    const auto found = all.find(std::to_string(s.tid));
    if (found != all.end())
      found->second["extended_state_" + std::to_string(s.component)] = hex_digits(raw);
  }
  return all;
}

keyed descriptors_of(const image_file& image) {
  keyed all;
  const auto files = image.all<state::open_file>();
  for (const auto& [d, tail] : image.all<state::descriptor>()) {
    const auto& f = files.at(d.open_file);
    json object = tools::to_json(f.fields);
    add_tail(object, f.fields, f.tail);
    for (const char* name : {"id", "content"}) object.erase(name);
    object["descriptor_flags"] = d.flags.get();
    all.emplace(std::to_string(d.number), std::move(object));
  }
  return all;
}

/// Words as fields, so that each that differs is told by itself.
keyed words_of(const image_file& image, state::text_kind kind) {
  json object = json::object();
  std::size_t number = 0;
  for (const auto& word : image.words(kind)) {
    const auto equals = word.find('=');
    const std::string shown = printable(word);
    if (kind == state::text_kind::environment && equals != word.npos)
      object[printable(word.substr(0, equals))] = text_json(word.substr(equals + 1));
    else
      object[std::to_string(number++)] = text_json(word);
  }
  return {{"", object}};
}

std::vector<record_change> state_changes(const image_file& a, const image_file& b) {
  std::vector<record_change> all;
  const auto add = [&](const char* record, const keyed& x, const keyed& y) {
    for (auto& c : changes_of(record, x, y)) all.push_back(std::move(c));
  };
  const auto one = [&]<class Record>(const char* key) {
    add(std::string(wire::describe<Record>.name).c_str(), by<Record>(a, key), by<Record>(b, key));
  };
  add("command_line", words_of(a, state::text_kind::command_line),
      words_of(b, state::text_kind::command_line));
  add("environment", words_of(a, state::text_kind::environment),
      words_of(b, state::text_kind::environment));
  const auto text = [](const image_file& image, state::text_kind kind) {
    return keyed{{"", {{"text", text_json(image.text(kind))}}}};
  };
  add("program", text(a, state::text_kind::program), text(b, state::text_kind::program));
  add("directory", text(a, state::text_kind::directory), text(b, state::text_kind::directory));
  one.operator()<state::host>(nullptr);
  one.operator()<state::process>(nullptr);
  one.operator()<state::cpu>(nullptr);
  one.operator()<state::memory_layout>(nullptr);
  one.operator()<state::process_settings>(nullptr);
  one.operator()<state::thread_settings>("tid");
  one.operator()<state::credentials>("tid");
  one.operator()<state::resource_limit>("resource");
  one.operator()<state::signal_action>("signal");
  one.operator()<state::posix_timer>("id");
  one.operator()<state::interval_timer>("which");
  one.operator()<state::pipe_content>("inode");
  return all;
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

// ---------------------------------------------------------------------------------------------
// the two together

struct compared_piece {
  piece what;
  std::vector<difference> attributes;
  page_count pages;
  std::vector<double> cells;  // of the piece, shares that differ
};

struct compared_object {
  std::string name;
  u64 size_a, size_b;
  page_count pages;
};

class comparison {
 public:
  comparison(image_file& a, image_file& b, const request& asked)
      : a_(a), b_(b), asked_(asked), memory_a_(a), memory_b_(b),
        bar_(std::in_place, "diff", a.header().data_size + b.header().data_size) {}

  /// Nothing more is compared: the bar goes before the text comes.
  void finish() { bar_.reset(); }

  /// begin(piece, attributes), run(range) for each run of pages that differ, end(compared_piece).
  template <class Begin, class Run, class End>
  page_count memory(Begin&& begin, Run&& on_run, End&& end) {
    page_count total;
    page_comparison* pages = comparison_of(
        [this](u64 at, mutable_bytes to) { memory_a_.read(at, to); },
        [this](u64 at, mutable_bytes to) { memory_b_.read(at, to); });
    for (const piece& p : pieces_of(memory_a_, memory_b_)) {
      compared_piece done{p, {}, {}, {}};
      if (p.how() == change::same) done.attributes = attribute_differences(p);
      begin(done);
      done.cells.resize(std::min(text_cells, cells_for(p.where.length())));
      if (p.how() == change::same) {
        done.pages = pages->compare(runs(memory_a_, p.where), runs(memory_b_, p.where),
                                    [&](range run) {
                                      add_to_cells(done.cells, p.where, run);
                                      on_run(run);
                                    });
        total += done.pages;
      }
      end(done);
    }
    return total;
  }

  /// What is not mapped anywhere: deleted and memory files that are only open.
  std::vector<compared_object> objects() {
    std::vector<compared_object> all;
    const auto of_b = b_.all<state::shared_object>();
    for (const auto& [x, name] : a_.all<state::shared_object>())
      for (const auto& [y, other] : of_b) {
        if (x.device != y.device || x.inode != y.inode || x.kind != y.kind ||
            text_of_bytes(name) != text_of_bytes(other))
          continue;
        if (is_mapped(memory_a_, x.number) && is_mapped(memory_b_, y.number)) break;
        const u64 number_a = x.number, number_b = y.number;
        auto* pages = comparison_of(
            [&](u64 at, mutable_bytes to) { memory_a_.read_object(number_a, at, to); },
            [&](u64 at, mutable_bytes to) { memory_b_.read_object(number_b, at, to); });
        const auto runs_of = [](const program_memory& memory, u64 number) {
          std::vector<range> runs;
          memory.for_each_object_run(number, [&](range run) { runs.push_back(run); });
          return runs;
        };
        const auto count = pages->compare(runs_of(memory_a_, number_a),
                                          runs_of(memory_b_, number_b), [](range) {});
        if (count.different() > 0 || x.size != y.size)
          all.push_back({std::string(text_of_bytes(name)), x.size, y.size, count});
        break;
      }
    return all;
  }

 private:
  static bool is_mapped(const program_memory& memory, u64 object) {
    return std::ranges::any_of(memory.mappings(),
                               [&](const mapping& m) { return m.segment.object == object; });
  }

  static std::vector<range> runs(const program_memory& memory, range where) {
    std::vector<range> all;
    memory.for_each_run(where, [&](range run) { all.push_back(run); });
    return all;
  }

  /// Damage is told with the name of the image that has it.
  page_comparison* comparison_of(page_comparison::reads a, page_comparison::reads b) {
    const auto named = [](page_comparison::reads read, std::string name) {
      return [read = std::move(read), name = std::move(name)](u64 at, mutable_bytes to) {
        try {
          read(at, to);
        } catch (const image_error& e) {
          throw named_error(name, e.what());
        }
      };
    };
    pages_ = std::make_unique<page_comparison>(named(std::move(a), asked_.operands[0]),
                                               named(std::move(b), asked_.operands[1]), *bar_);
    return pages_.get();
  }

  image_file& a_;
  image_file& b_;
  const request& asked_;
  program_memory memory_a_, memory_b_;
  std::optional<progress> bar_;
  std::unique_ptr<page_comparison> pages_;
};

void compare_json(image_file& a, image_file& b, const request& asked, std::ostream& out) {
  comparison both(a, b, asked);
  json_stream to(out);
  begin_document(to, asked);
  to.member("other", text_json(asked.operands[1]));
  to.begin_array("mappings");
  const auto total = both.memory(
      [&](const compared_piece& c) {
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
      [&](range run) { to.value({hex_number(run.begin), run.length() / page_size}); },
      [&](const compared_piece& c) {
        to.end_array();
        to.member("pages", to_json(c.pages));
        to.end_object();
      });
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
  list("descriptors", changes_of("descriptor", descriptors_of(a), descriptors_of(b)));
  list("threads", changes_of("thread", threads_of(a), threads_of(b)));
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

void compare_text(image_file& a, image_file& b, const request& asked, std::ostream& out) {
  comparison both(a, b, asked);
  columns table({"", "ADDRESS", "RWX", ">SIZE", ">PAGES", "DIFFERENT", "NAME"});
  u64 same = 0, shown = 0;
  const auto total = both.memory(
      [](const compared_piece&) {}, [](range) {},
      [&](const compared_piece& c) {
        const auto& p = c.what;
        if (p.how() == change::same && c.attributes.empty() && c.pages.different() == 0) {
          ++same;
          return;
        }
        ++shown;
        const auto& m = p.one();
        std::string rights = protection_text(m.segment);
        if (p.how() == change::same && protection_text(p.a->segment) != rights)
          rights = protection_text(p.a->segment) + ">" + rights;
        std::string name = printable(m.name);
        if (p.how() == change::same && p.a->name != p.b->name)
          name = printable(p.a->name) + " > " + name;
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
      });
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
  bool any = shown > 0;
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
  print_changes("descriptors", changes_of("descriptor", descriptors_of(a), descriptors_of(b)), out,
                any);
  print_changes("threads", changes_of("thread", threads_of(a), threads_of(b)), out, any);
  print_changes("state", state_changes(a, b), out, any);
  if (!any) out << "no difference\n";
}

void compare_picture(image_file& a, image_file& b, const request& asked) {
  comparison both(a, b, asked);
  picture p;
  p.title = "From " + asked.operands[0] + " to " + asked.operands[1];
  u64 added = 0, removed = 0;
  const auto total = both.memory(
      [](const compared_piece&) {}, [](range) {},
      [&](const compared_piece& c) {
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
      });
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
