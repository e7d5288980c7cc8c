// SPDX-License-Identifier: MIT
//
// Each pair is compared and nothing remembered from one record to the next: see image_rules.hpp.
#include "image_rules.hpp"

#include <cstring>

#include "ckpt/image/all_records.hpp"

namespace ckpt::fuzz {

namespace {

__extension__ typedef unsigned __int128 wide;

bool is_round(wide n) { return n % 4096 == 0; }
wide rounded(wide n) { return (n + 4095) / 4096 * 4096; }

}  // namespace

// --- header and trailer --------------------------------------------------------------------------
fault header_fault(const format::file_header& h, u64 file_size) {
  if (std::memcmp(&h, "\x89""ckpt\r\n\x1a", 8) != 0) return "signature";
  if (h.major != 1) return "major version";
  format::file_header blank = h;
  std::memset(static_cast<void*>(&blank.header_checksum), 0, 8);
  if (XXH3_64bits(&blank, sizeof blank) != h.header_checksum) return "header checksum";
  if (static_cast<u16>(h.machine.get()) != 62) return "machine";
  if (h.page_shift != 12) return "page size";
  if (h.features.bits() != 0) return "features";
  if (h.image_size != file_size) return "size of the file";
  const wide window = h.window_address, window_end = window + h.window_size;
  if (!is_round(window) || !is_round(window_end) || window_end <= window) return "window";
  if (window_end > wide{1} << 56) return "window beyond user space";
  if (h.header_size < sizeof h) return "header size";
  if (h.metadata_size > wide{1} << 32) return "size of the metadata";
  const wide records = h.metadata_offset, data = h.data_offset, table = h.table_offset;
  if (!is_round(records) || records < wide{512} + h.header_size) return "place of the metadata";
  if (data != rounded(records + h.metadata_size)) return "place of the data";
  if (!is_round(h.data_size) || table != data + h.data_size) return "place of the table";
  if (!is_round(h.block_size) || h.block_size == 0 || h.block_size > 1u << 24) return "block size";
  wide blocks = wide{h.data_size} / h.block_size;
  if (blocks * h.block_size != h.data_size) ++blocks;
  if (h.table_size != blocks * 8) return "size of the table";
  if (h.image_size != table + h.table_size + 48) return "size of the image";
  return {};
}

fault trailer_fault(const format::file_header& h, const format::trailer& t, bytes table) {
  if (std::memcmp(&t, "tpkc\r\n\x1a\x89", 8) != 0) return "signature at the end";
  if (std::memcmp(&t.id, &h.id, 16) != 0) return "id at the end";
  if (t.image_size != h.image_size) return "size at the end";
  format::trailer blank = t;
  std::memset(static_cast<void*>(&blank.trailer_checksum), 0, 8);
  if (XXH3_64bits(&blank, sizeof blank) != t.trailer_checksum) return "trailer checksum";
  if (XXH3_64bits(table.data(), table.size()) != t.table_checksum) return "checksum of the table";
  return {};
}

namespace {

// --- records -------------------------------------------------------------------------------------
/// Whether a field holds what its type allows.
template <class Field>
[[nodiscard]] bool is_legal(const Field& field) {
  if constexpr (requires { field.get(); }) {
    if constexpr (std::is_enum_v<typename Field::value_type>) return legal(field.get());
  } else if constexpr (requires { field.view(); }) {
    u8 raw[sizeof field];
    std::memcpy(raw, &field, sizeof raw);
    bool ended = false;
    for (const u8 b : raw) {
      if (ended && b != 0) return false;
      ended = ended || b == 0;
    }
  }
  return true;
}
template <class E>
[[nodiscard]] bool is_legal(const wire::flags<E>& field) {
  return (field.bits() | all_of(E{})) == all_of(E{});
}
template <std::size_t N>
[[nodiscard]] bool is_legal(const wire::reserved<N>& field) {
  constexpr u8 zeros[N] = {};
  return std::memcmp(&field, zeros, N) == 0;
}

class image_rules {
 public:
  image_rules(const format::file_header& h, bytes metadata) : h_(h) {
    fault_ = split(metadata);
    if (fault_.empty()) fault_ = legality();
  }

  [[nodiscard]] fault metadata_fault(bytes metadata) const {
    if (XXH3_64bits(metadata.data(), metadata.size()) != h_.metadata_checksum) return "checksum of the metadata";
    if (!fault_.empty()) return fault_;
    for (const auto rule : {&image_rules::once, &image_rules::memory, &image_rules::objects,
                            &image_rules::extents, &image_rules::traps, &image_rules::files,
                            &image_rules::special_files, &image_rules::signals, &image_rules::threads})
      if (const fault found = (this->*rule)(); !found.empty()) return found;
    return {};
  }

  /// Of metadata without a fault.
  [[nodiscard]] fault agent_fault() const {
    const u64 pushed = h_.agent_stack - 16;
    bool entry = false, stack = false;
    for (const auto& s : all<state::segment>()) {
      if (kind_of(s) > 4) continue;
      const u32 may = s.fields.protection.bits();
      entry = entry || ((may & 4) != 0 && covers(s, h_.agent_entry));
      stack = stack || ((may & 2) != 0 && covers(s, pushed));
    }
    if (!entry) return "entry of the agent";
    if (!stack || h_.agent_stack % 16 != 0) return "stack of the agent";
    return {};
  }

  [[nodiscard]] const std::vector<plain_record>& records() const { return records_; }

 private:
  template <class Record>
  struct found {
    Record fields;
    bytes tail;
    u64 files;  // open files described before it
  };

  // --- taking apart ------------------------------------------------------------------------------
  fault split(bytes metadata) {
    const auto number = [&](u64 at, unsigned n) {
      u64 value = 0;
      for (unsigned i = n; i-- > 0;) value = value << 8 | std::to_integer<u64>(metadata[at + i]);
      return value;
    };
    for (u64 at = 0; at != metadata.size();) {
      if (metadata.size() - at < 16) return "half a record";
      const u64 type = number(at, 2), flags = number(at + 2, 2), fixed = number(at + 4, 4);
      const u64 size = number(at + 8, 8);
      at += 16;
      if (flags > 1) return "flags of a record";
      if (fixed > size) return "structure larger than its record";
      const wide end = wide{at} + size, next = (end + 7) / 8 * 8;
      if (next > metadata.size()) return "record is cut off";
      for (u64 pad = static_cast<u64>(end); pad < next; ++pad)
        if (metadata[pad] != std::byte{0}) return "padding";
      records_.push_back({static_cast<u16>(type), flags == 1, metadata.subspan(at, fixed),
                          metadata.subspan(at + fixed, size - fixed)});
      at = static_cast<u64>(next);
    }
    return {};
  }

  template <class Record>
  static Record read(bytes fixed) {
    // Older images have fewer fields, which are zero, newer ones more, which are passed over.
    u8 raw[sizeof(Record)] = {};
    for (u64 i = 0; i < sizeof raw && i < fixed.size(); ++i) raw[i] = std::to_integer<u8>(fixed[i]);
    Record record;
    std::memcpy(static_cast<void*>(&record), raw, sizeof raw);
    return record;
  }

  fault legality() const {
    for (const auto& r : records_) {
      bool known = false, good = true;
      image::all_records::for_each([&]<class Record>() {
        if (static_cast<u16>(Record::record) != r.type) return;
        known = true;
        const auto record = read<Record>(r.fixed);
        wire::for_each_field(record,
                             [&](std::string_view, const auto& field) { good = good && is_legal(field); });
      });
      if (!known && r.critical) return "unknown record that matters";
      if (!good) return "value without a name";
    }
    return {};
  }

  template <class Record>
  [[nodiscard]] std::vector<found<Record>> all() const {
    std::vector<found<Record>> list;
    u64 files = 0;
    for (const auto& r : records_) {
      if (r.type == static_cast<u16>(Record::record)) list.push_back({read<Record>(r.fixed), r.tail, files});
      if (r.type == static_cast<u16>(format::record_type::open_file)) ++files;
    }
    return list;
  }
  template <class Element>
  static std::vector<Element> table(bytes tail) {
    std::vector<Element> elements;
    for (; tail.size() >= sizeof(Element); tail = tail.subspan(sizeof(Element)))
      elements.push_back(read<Element>(tail.first(sizeof(Element))));
    return elements;
  }

  static u32 kind_of(const found<state::segment>& s) { return static_cast<u32>(s.fields.kind.get()); }
  static bool covers(const found<state::segment>& s, u64 address) {
    return address >= s.fields.address && address - s.fields.address < s.fields.length;
  }
  template <class A>
  static wide end_of(const A& a) {
    return wide{a.address} + a.length;
  }
  template <class A, class B>
  static bool meet(const A& a, const B& b) {
    return end_of(a) > b.address && end_of(b) > a.address;
  }
  template <class A, class B>
  static bool lies_in(const A& a, const B& b) {
    return a.address >= b.address && end_of(a) <= end_of(b);
  }

  // --- the rules ---------------------------------------------------------------------------------
  fault once() const {
    u64 tables = 0;
    for (const auto& t : all<state::extents>()) tables += t.fields.object == 0 ? 1 : 0;
    if (all<state::host>().size() != 1 || all<state::process>().size() != 1 ||
        all<state::memory_layout>().size() != 1 || all<state::cpu>().size() != 1 || tables != 1)
      return "a record not there once";
    const auto threads = all<state::thread>().size();
    if (threads == 0 || threads != all<state::process>()[0].fields.thread_count) return "number of threads";
    return {};
  }

  fault memory() const {
    wide free = 4096;
    for (const auto& s : all<state::segment>()) {
      const auto& f = s.fields;
      if (!is_round(f.address) || !is_round(f.length) || f.length == 0) return "edges of a segment";
      if (f.address < free) return "segments overlap";
      free = end_of(f);
      if (free > wide{1} << 56) return "segment beyond user space";
      if (f.address < wide{h_.window_address} + h_.window_size && h_.window_address < free)
        return "segment in the window";
      if (kind_of(s) == 5 && f.length > 32 * 4096) return "long vDSO";
      if ((kind_of(s) == 7) != (f.object != 0)) return "segment and object";
      if (kind_of(s) == 7 && (!is_round(f.file_offset) || wide{f.file_offset} + f.length > wide{1} << 62))
        return "part of an object";
    }
    return {};
  }

  fault objects() const {
    const auto objects = all<state::shared_object>();
    u64 number = 0;
    for (const auto& o : objects)
      if (o.fields.number != ++number || o.fields.size > u64{1} << 62) return "objects";
    if (number > 1024) return "too many objects";
    for (const auto& s : all<state::segment>())
      if (s.fields.object > number) return "object that is not there";
    u64 contents = 0;
    for (const auto& t : all<state::extents>()) {
      if (t.fields.object == 0) continue;
      if (t.fields.object != ++contents) return "contents out of order";
      if (number == 0) continue;
      if (contents > number) return "contents of nothing";
      for (const auto& e : table<state::extent>(t.tail))
        if (end_of(e) > rounded(objects[contents - 1].fields.size)) return "contents behind the end";
    }
    if (number != 0 && contents != number) return "object without contents";
    for (const auto& f : all<state::open_file>())
      if (f.fields.content > contents) return "file without contents";
    return {};
  }

  fault extents() const {
    const auto segments = all<state::segment>();
    wide loaded = 0;
    for (const auto& t : all<state::extents>()) {
      if (wide{t.fields.count} * sizeof(state::extent) != t.tail.size()) return "number of extents";
      wide free = 0;
      for (const auto& e : table<state::extent>(t.tail)) {
        if (!is_round(e.address) || !is_round(e.length) || e.length == 0) return "edges of an extent";
        if (e.address < free) return "extents overlap";
        free = end_of(e);
        if (free > wide{1} << 62) return "extent too far out";
        if (e.data != loaded) return "data of an extent";
        loaded += e.length;
        if (t.fields.object != 0) continue;
        bool within = false;
        for (const auto& s : segments)
          within = within || (lies_in(e, s.fields) && kind_of(s) != 6 && kind_of(s) != 7);
        if (!within) return "extent outside";
      }
    }
    return loaded == h_.data_size ? fault() : "length of the data";
  }

  fault traps() const {
    wide free = 0;
    for (const auto& t : all<state::trap_range>()) {
      const auto& f = t.fields;
      if (!is_round(f.address) || !is_round(f.length) || f.length == 0) return "edges of a trap";
      if (f.address < free) return "traps overlap";
      free = end_of(f);
      if (free > ~u64{0}) return "trap that wraps";
      for (const u64 touched : {h_.agent_entry.get(), h_.agent_stack - 16})
        if (touched >= f.address && touched < free) return "trap on the agent";
      bool within = false;
      for (const auto& s : all<state::segment>())
        within = within || (lies_in(f, s.fields) && kind_of(s) != 5 && kind_of(s) != 6);
      if (!within) return "trap outside";
      if (f.kind != state::trap_kind::beyond_end) continue;
      for (const auto& table_of : all<state::extents>())
        for (const auto& e : table<state::extent>(table_of.tail))
          if (table_of.fields.object == 0 && meet(e, f)) return "extent beyond the end";
    }
    return {};
  }

  fault files() const {
    for (const auto& f : all<state::open_file>()) {
      if (f.fields.id != f.files || f.fields.stdio > 2) return "open files";
      if (f.fields.marks.bits() != 0 && f.fields.kind != state::file_kind::regular) return "mark of a file";
    }
    i64 last = -1;
    for (const auto& d : all<state::descriptor>()) {
      if (d.fields.number <= last || d.fields.number > 1 << 30) return "descriptors";
      if (d.fields.open_file >= d.files) return "descriptor of no file";
      last = d.fields.number;
    }
    for (const auto& l : all<state::file_lock>())
      if (l.fields.open_file >= l.files) return "lock on no file";
    return {};
  }

  /// Each message has its length before it.
  static bool holds_messages(bytes tail) {
    wide at = 0;
    while (at < tail.size()) {
      if (at + 4 > tail.size()) return false;
      wide length = 0;
      for (u64 i = 4; i-- > 0;) length = length << 8 | std::to_integer<u8>(tail[static_cast<u64>(at) + i]);
      at += 4 + length;
    }
    return at == tail.size();
  }

  fault special_files() const {
    for (const auto& p : all<state::pipe_content>())
      if (p.fields.packets > 1 || (p.fields.packets == 1 && !holds_messages(p.tail))) return "pipe";
    for (const auto& e : all<state::event_counter>())
      if (e.fields.open_file >= e.files || e.fields.semaphore > 1 || e.fields.count + 1 == 0) return "eventfd";
    for (const auto& t : all<state::timer_file>())
      if (t.fields.open_file >= t.files || t.fields.due_ns < 0 || t.fields.due_at_ns < 0 ||
          t.fields.interval_ns < 0)
        return "timerfd";
    for (const auto& s : all<state::signal_file>())
      if (s.fields.open_file >= s.files) return "signalfd";
    for (const auto& e : all<state::epoll>()) {
      if (e.fields.open_file >= e.files) return "epoll of no file";
      if (wide{e.fields.count} * sizeof(state::epoll_entry) != e.tail.size()) return "size of an epoll";
      for (const auto& entry : table<state::epoll_entry>(e.tail)) {
        if (entry.open_file >= e.files) return "epoll watches no file";
        if (entry.descriptor < 0 || entry.descriptor > 1 << 30) return "epoll watches no descriptor";
      }
    }
    for (const auto& s : all<state::socket_end>()) {
      const u32 type = s.fields.type;
      if (type != 1 && type != 2 && type != 5) return "type of a socket";
      if (s.fields.open_file >= s.files || s.fields.shut > 3 || s.fields.peer == s.fields.open_file)
        return "socket";
      if (s.fields.peer >= s.files && s.fields.peer != 0xffffffff) return "peer of a socket";
      if (!holds_messages(s.tail)) return "messages of a socket";
    }
    return {};
  }

  static bool is_signal(i64 n) { return n >= 1 && n <= 64; }

  fault signals() const {
    for (const auto& a : all<state::signal_action>())
      if (!is_signal(a.fields.signal)) return "signal of an action";
    for (const auto& p : all<state::pending_signal>())
      if (!is_signal(p.fields.signal)) return "pending signal";
    for (const auto& t : all<state::posix_timer>()) {
      const auto& f = t.fields;
      if (f.id < 0 || f.interval_ns < 0 || f.overrun < 0 || f.state > 2) return "POSIX timer";
      if (f.notify != 1 && !is_signal(f.signal)) return "signal of a POSIX timer";
    }
    return {};
  }

  fault threads() const {
    for (const auto& t : all<state::thread_settings>())
      if (t.tail.size() > 1024) return "affinity";
    for (const auto& c : all<state::credentials>())
      if (c.fields.group_count > 65536 || wide{c.fields.group_count} * 4 != c.tail.size()) return "groups";
    return {};
  }

  const format::file_header& h_;
  std::vector<plain_record> records_;
  fault fault_;
};

}  // namespace

metadata_opinion opinion_on(const format::file_header& h, bytes metadata) {
  const image_rules rules(h, metadata);
  const fault found = rules.metadata_fault(metadata);
  return {rules.records(), found, found.empty() ? rules.agent_fault() : found};
}

}  // namespace ckpt::fuzz
