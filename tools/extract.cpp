// SPDX-License-Identifier: MIT
//
// A piece of the image as a file of its own: a segment, or what the image carries of shared memory,
// memory files and files without a name.
#include <array>
#include <iostream>
#include <optional>

#include "columns.hpp"
#include "commands.hpp"
#include "enumerators.hpp"
#include "image_error.hpp"
#include "json_stream.hpp"
#include "output_file.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

namespace {

constexpr std::string_view deleted = " (deleted)";

struct object {
  u64 number;
  std::string name;
  std::string kind;
  u64 size;
  bool whole;
  std::optional<i32> descriptor;  // the first that leads to it
};

std::vector<object> objects_of(const image_file& image) {
  std::vector<object> all;
  for (const auto& [o, name] : image.all<state::shared_object>())
    all.push_back({o.number, std::string(text_of_bytes(name)), spoken_name(o.kind.get()), o.size,
                   o.flags.has(state::object_flag::whole), {}});
  const auto files = image.all<state::open_file>();
  for (const auto& [d, tail] : image.all<state::descriptor>()) {
    const auto& f = files.at(d.open_file);
    if (f.fields.content == 0) continue;
    // An image of format 1.0 has contents of deleted files without records of objects.
    if (f.fields.content > all.size())
      all.resize(f.fields.content, {0, "", "deleted", 0, true, {}});
    object& o = all[f.fields.content - 1];
    if (o.number == 0) {
      o.number = f.fields.content;
      o.name = text_of_bytes(f.tail);
      o.size = f.fields.size;
    }
    if (!o.descriptor) o.descriptor = d.number;
  }
  return all;
}

bool is_called(std::string_view name, std::string_view wanted) {
  if (name == wanted) return true;
  return name.ends_with(deleted) && name.substr(0, name.size() - deleted.size()) == wanted;
}

/// What the command line names: addresses, or all of an object.
struct piece {
  range where;
  u64 object = 0;
  bool whole = true;
};

class chooser {
 public:
  chooser(const image_file& image, const program_memory& memory)
      : image_(image), memory_(memory), objects_(objects_of(image)) {}

  [[nodiscard]] piece chosen(std::string_view what) const {
    if (what.starts_with("fd:")) return of_descriptor(what.substr(3));
    if (what.starts_with("object:")) {
      const auto number = parse_number(what.substr(7), 10);
      if (!number.ok() || *number == 0 || *number > objects_.size())
        throw image_error("there is no " + printable(what));
      return all_of(objects_[*number - 1]);
    }
    if (const auto found = named(what)) return *found;
    return at_address(what);
  }

  [[nodiscard]] const std::vector<object>& objects() const { return objects_; }

 private:
  static void demand_contents(const program_memory::mapping& m) {
    if (m.segment.kind == state::segment_kind::vvar)
      throw image_error("address " + address_text(m.where().begin) +
                        " is the kernel's data page, which no image holds");
  }

  static piece all_of(const object& o) { return {{0, o.size}, o.number, o.whole}; }

  [[nodiscard]] piece of_descriptor(std::string_view text) const {
    const auto number = parse_number(text, 10);
    if (number.ok())
      for (const auto& [d, tail] : image_.all<state::descriptor>()) {
        if (static_cast<u64>(d.number.get()) != *number) continue;
        const auto file = image_.all<state::open_file>().at(d.open_file).fields;
        if (file.content != 0) return all_of(objects_.at(file.content - 1));
        throw image_error("the image has no contents of descriptor " + std::to_string(*number) +
                          ", only its name");
      }
    throw image_error("there is no descriptor " + printable(text));
  }

  [[nodiscard]] std::optional<piece> named(std::string_view what) const {
    std::vector<piece> found;
    for (const auto& o : objects_)
      if (is_called(o.name, what)) found.push_back(all_of(o));
    if (found.empty())
      for (const auto& m : memory_.mappings()) {
        if (!is_called(m.name, what)) continue;
        demand_contents(m);
        found.push_back({m.where()});
      }
    if (found.size() > 1)
      throw image_error(std::to_string(found.size()) + " things are called " + printable(what) +
                        "; choose one by its address or number (readckpt extract IMAGE)");
    if (found.empty()) return std::nullopt;
    return found.front();
  }

  [[nodiscard]] piece at_address(std::string_view what) const {
    const auto number = [](std::string_view text) {
      if (text.starts_with("0x") || text.starts_with("0X")) text.remove_prefix(2);
      return parse_number(text, 16);
    };
    const auto dash = what.find('-');
    const auto begin = number(what.substr(0, dash));
    if (!begin.ok())
      throw image_error("nothing in it is called " + printable(what) +
                        " (readckpt extract IMAGE lists what there is)");
    const auto* m = memory_.find(*begin);
    if (m == nullptr) throw image_error("address " + address_text(*begin) + " is not mapped");
    demand_contents(*m);
    if (dash == what.npos) return {m->where()};
    const auto end = number(what.substr(dash + 1));
    if (!end.ok() || *end <= *begin)
      throw image_error(printable(what) + " is not BEGIN-END, two addresses in hexadecimal digits");
    if (!memory_.run_from(*begin).contains(range{*begin, *end}))
      throw image_error("addresses " + address_text(*begin) + "-" + address_text(*end) +
                        " are not all mapped, only up to " +
                        address_text(memory_.run_from(*begin).end));
    return {{*begin, *end}};
  }

  const image_file& image_;
  const program_memory& memory_;
  std::vector<object> objects_;
};

void list_json(const program_memory& memory, const std::vector<object>& objects,
               const request& asked, std::ostream& out) {
  json_stream to(out);
  begin_document(to, asked);
  to.begin_array("pieces");
  for (const auto& o : objects)
    to.value({{"what", "object:" + std::to_string(o.number)},
              {"kind", o.kind},
              {"size", o.size},
              {"whole", o.whole},
              {"descriptor", o.descriptor ? json(*o.descriptor) : json()},
              {"name", text_json(o.name)}});
  for (const auto& m : memory.mappings())
    if (m.segment.kind != state::segment_kind::vvar)
      to.value({{"what", address_text(m.where().begin)},
                {"kind", spoken_name(m.segment.kind.get())},
                {"size", m.segment.length.get()},
                {"whole", true},
                {"descriptor", json()},
                {"name", text_json(m.name)}});
  to.end_array();
  to.end_object();
}

void list(const program_memory& memory, const std::vector<object>& objects, std::ostream& out) {
  columns table({"WHAT", "KIND", ">SIZE", ">FD", "NAME"});
  for (const auto& o : objects)
    table.add({"object:" + std::to_string(o.number), o.kind, size_text(o.size),
               o.descriptor ? std::to_string(*o.descriptor) : "", printable(o.name)});
  for (const auto& m : memory.mappings())
    if (m.segment.kind != state::segment_kind::vvar)
      table.add({address_text(m.where().begin), spoken_name(m.segment.kind.get()),
                 size_text(m.segment.length), "", printable(m.name)});
  table.print(out);
}

void write_piece(program_memory& memory, const piece& what, output_file& out) {
  static std::array<std::byte, 256 * 1024> buffer;
  u64 at = what.where.begin;
  progress bar("extract", what.where.length());
  const auto write_run = [&](range run) {
    run = run.intersect(what.where);
    if (run.empty()) return;
    out.skip(run.begin - at);
    for (at = run.begin; at < run.end;) {
      const auto part = std::span(buffer).first(std::min<u64>(buffer.size(), run.end - at));
      if (what.object != 0)
        memory.read_object(what.object, at, part);
      else
        memory.read(at, part);
      out.write(part);
      at += part.size();
      bar.at(at - what.where.begin);
    }
  };
  if (what.object != 0)
    memory.for_each_object_run(what.object, write_run);
  else
    memory.for_each_run(what.where, write_run);
  out.skip(what.where.end - at);
}

}  // namespace

void extract(image_file& image, const request& asked, std::ostream& out) {
  program_memory memory(image);
  const chooser choose(image, memory);
  if (asked.operands.size() < 2) {
    if (asked.json)
      list_json(memory, choose.objects(), asked, out);
    else
      list(memory, choose.objects(), out);
    return;
  }
  const piece what = choose.chosen(asked.operands[1]);
  output_file file(asked.output);
  write_piece(memory, what, file);
  file.finish();
  if (!what.whole)
    std::cerr << "readckpt: " << printable(asked.image()) << ": " << printable(asked.operands[1])
              << " is in the image as far as it was mapped, the rest is zeros now\n";
  if (asked.json) {
    json_stream to(out);
    begin_document(to, asked);
    to.member("what", text_json(asked.operands[1]));
    to.member("file", text_json(asked.output));
    to.member("size", file.position());
    to.member("whole", what.whole);
    to.end_object();
  }
}

}  // namespace ckpt::tools
