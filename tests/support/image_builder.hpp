// SPDX-License-Identifier: MIT
//
// Puts small images together in memory, with the core's own metadata_builder and writer. What it
// makes is valid unless a test says otherwise; how to break it afterwards is in image_repair.hpp.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "ckpt/image/all_records.hpp"
#include "ckpt/image/writer.hpp"
#include "support/gathering_files.hpp"
#include "support/image_repair.hpp"

namespace ckpt::test {

/// Memory for a metadata_builder.
class vector_memory {
 public:
  [[nodiscard]] format::growing_memory source() { return {grow, this}; }

 private:
  static result<mutable_bytes> grow(void* self, u64 n) {
    auto& memory = static_cast<vector_memory*>(self)->memory_;
    memory.resize(n + n / 2);
    return mutable_bytes(memory);
  }
  std::vector<std::byte> memory_;
};

/// Traps where a test's own preparation fails: it is not what the test is about.
inline void must(const result<void>& outcome) {
  outcome.value();
}

class image_builder {
 public:
  static constexpr u64 window = 0x10000;
  static constexpr u64 window_pages = 16;
  static constexpr u64 restarter_pages = 2;
  static constexpr u64 code = 0x400000;
  static constexpr u64 stack = 0x7ffd00000000;

  /// The smallest image: one of each record that must be there, no memory.
  image_builder() {
    host.node = wire::text<64>("node");
    host.release = wire::text<64>("6.1.0");
    host.architecture = wire::text<64>("x86_64");
    host.realtime_ns = 1'600'000'000'000'000'000;
    host.writer_version = 100u;
    process.pid = 4711;
    process.parent = 1;
    process.umask = 022u;
    process.thread_count = 1u;
    cpu.components = 7;
    cpu.vendor = wire::text<16>("GenuineTest");
    thread.tid = 4711;
    thread.name = wire::text<16>("victim");
  }

  /// A program as one might meet it: code, heap, stack, vdso, texts, descriptors, a lock.
  static image_builder typical() {
    using state::segment_kind;
    image_builder b;
    b.thread.rip = code + 0x123;
    b.thread.rsp = stack + 0x2ff0;
    b.text(state::text_kind::program, "/usr/bin/victim");
    b.text(state::text_kind::directory, "/home/user");
    b.text(state::text_kind::command_line, std::string("victim\0--count\0two words\0", 25));
    b.text(state::text_kind::environment, std::string("HOME=/home/user\0LANG=C\0", 23));
    b.segment(code, 4, segment_kind::private_file, 5, "/usr/bin/victim");
    b.segment(0x600000, 64, segment_kind::anonymous, 3, "[heap]");
    b.segment(stack, 3, segment_kind::stack, 3, "[stack]");
    b.segment(stack + 0x10000, 1, segment_kind::vvar, 1, "[vvar]");
    b.segment(stack + 0x11000, 1, segment_kind::vdso, 5, "[vdso]");
    b.page(code, 'c').page(code + page_size, 'd');
    b.page(0x600000, 'h').page(0x603000, 'i').page(0x604000, 'j');
    b.page(stack + 2 * page_size, 's').page(stack + 0x11000, 'v');
    b.open_file(state::file_kind::outside, 2, 0, "/dev/pts/0");
    b.open_file(state::file_kind::regular, 02001, 42, "/home/user/log file");
    b.open_file(state::file_kind::deleted, 2, 7, "/tmp/gone (deleted)",
                b.contents(std::string(5000, 'x')));
    b.descriptor(0, 0).descriptor(1, 0).descriptor(3, 1, 1).descriptor(9, 2);
    state::file_lock lock{};
    lock.open_file = 1u;
    lock.kind = state::lock_kind::posix;
    lock.exclusive = 1u;
    b.record(lock);
    state::shared_object gone{};
    gone.number = 1u;
    gone.kind = state::object_kind::deleted;
    gone.size = 5000u;
    b.record(gone, "/tmp/gone");
    b.contents(std::string(2 * page_size, 'y'));
    state::shared_object shared{};
    shared.number = 2u;
    shared.kind = state::object_kind::anonymous;
    shared.size = 4 * page_size;
    b.record(shared, "/dev/zero (deleted)");
    b.shared_segment(0x700000, 4, 2, 0).shared_segment(0x710000, 2, 2, 2 * page_size);
    state::pipe_content pipe{};
    pipe.inode = 77u;
    pipe.capacity = 65536u;
    b.record(pipe, "not yet read");
    b.open_file(state::file_kind::eventfd, 2, 0, "anon_inode:[eventfd]");
    b.open_file(state::file_kind::timerfd, 2, 0, "anon_inode:[timerfd]");
    b.open_file(state::file_kind::signalfd, 2, 0, "anon_inode:[signalfd]");
    b.open_file(state::file_kind::epoll, 2, 0, "anon_inode:[eventpoll]");
    b.open_file(state::file_kind::socket, 2, 0, "socket:[78]");
    b.descriptor(10, 3).descriptor(11, 4).descriptor(12, 5).descriptor(13, 6).descriptor(14, 7);
    state::event_counter counter{};
    counter.open_file = 3u;
    counter.count = 5u;
    b.record(counter);
    state::timer_file alarm{};
    alarm.open_file = 4u;
    alarm.clock = 1;
    alarm.due_ns = 1'000'000;
    alarm.interval_ns = 2'000'000;
    alarm.ticks = 3u;
    b.record(alarm);
    state::signal_file signals{};
    signals.open_file = 5u;
    signals.mask = 1u << 9;
    b.record(signals);
    state::epoll queue{};
    queue.open_file = 6u;
    queue.count = 2u;
    state::epoll_entry watched[2]{};
    watched[0].descriptor = 10;
    watched[0].open_file = 3u;
    watched[0].events = 0x19u;
    watched[0].data = 10u;
    watched[1].descriptor = 500;
    watched[1].open_file = 4u;
    watched[1].events = 0x80000001u;
    b.record(queue, text_of_bytes(bytes_of(watched)));
    state::socket_end socket{};
    socket.open_file = 7u;
    socket.peer = state::no_peer;
    socket.type = 2u;
    socket.shut = 3u;
    b.record(socket, std::string("\3\0\0\0one\0\0\0\0", 11));
    state::extended_state x87{};
    x87.tid = 4711;
    b.record(x87, std::string(512, '\0'));
    state::signal_action action{};
    action.signal = 2u;
    action.handler = code + 0x200;
    b.record(action);
    state::pending_signal pending{};
    pending.signal = 10;
    b.record(pending);
    state::interval_timer timer{};
    timer.value_us = 1'500'000;
    b.record(timer);
    state::posix_timer periodic{};
    periodic.id = 3;
    periodic.signal = 34;
    periodic.interval_ns = 250'000'000;
    periodic.due_ns = 7;
    periodic.state = state::timer_running;
    b.record(periodic);
    state::process_settings settings{};
    settings.dumpable = 1;
    settings.oom_score_adj = 100;
    b.record(settings);
    state::thread_settings scheduling{};
    scheduling.tid = 4711;
    scheduling.nice = 5;
    b.record(scheduling, std::string("\x03\0\0\0\0\0\0\0", 8));
    state::credentials who{};
    who.tid = 4711;
    who.uid = 1000u, who.effective_uid = 1000u, who.saved_uid = 1000u, who.file_uid = 1000u;
    who.gid = 100u, who.effective_gid = 100u, who.saved_gid = 100u, who.file_gid = 100u;
    who.bounding = 0x1ffffffffffu;
    who.group_count = 2u;
    b.record(who, std::string("\x64\0\0\0\x1b\0\0\0", 8));
    state::trap_range guard{};
    guard.address = stack;
    guard.length = page_size;
    guard.kind = state::trap_kind::guard;
    b.record(guard);
    state::resource_limit limit{};
    limit.resource = 3u;
    limit.soft = 8u << 20;
    limit.hard = ~u64{0};
    b.record(limit);
    return b;
  }

  state::host host{};
  state::process process{};
  state::memory_layout layout{};
  state::cpu cpu{};
  state::thread thread{};
  u64 block_size = page_size;

  image_builder& segment(u64 address, u64 pages,
                         state::segment_kind kind = state::segment_kind::anonymous,
                         u32 protection = 3, std::string_view name = {}) {
    state::segment s{};
    s.address = address;
    s.length = pages * page_size;
    s.kind = kind;
    s.protection = protection;
    segments_.push_back({s, std::string(name)});
    return *this;
  }
  /// A page of memory that is full of one character.
  image_builder& page(u64 address, char fill) {
    pages_[address] = std::string(page_size, fill);
    return *this;
  }
  image_builder& page(u64 address, std::string content) {
    content.resize(page_size);
    pages_[address] = std::move(content);
    return *this;
  }
  image_builder& text(state::text_kind kind, std::string content) {
    state::text t{};
    t.kind = kind;
    texts_.push_back({t, std::move(content)});
    return *this;
  }
  /// Part of a shared object, from an offset on; by ascending address like all segments.
  image_builder& shared_segment(u64 address, u64 pages, u64 object, u64 offset) {
    segment(address, pages, state::segment_kind::shared, 3, "/dev/zero (deleted)");
    segments_.back().first.object = object;
    segments_.back().first.file_offset = offset;
    std::sort(segments_.begin(), segments_.end(), [](const auto& a, const auto& c) {
      return a.first.address.get() < c.first.address.get();
    });
    return *this;
  }
  /// The contents of a deleted file; the number is for open_file().
  u64 contents(std::string content) {
    contents_.push_back(std::move(content));
    return contents_.size();
  }
  image_builder& open_file(state::file_kind kind, u32 flags, i64 offset, std::string_view path,
                           u64 content = 0) {
    state::open_file f{};
    f.id = open_files_++;
    f.kind = kind;
    f.flags = flags;
    f.offset = offset;
    f.content = content;
    return record(f, path);
  }
  image_builder& descriptor(i32 number, u32 file, u32 flags = 0) {
    state::descriptor d{};
    d.number = number;
    d.open_file = file;
    d.flags = flags;
    return record(d);
  }
  /// Any record, after those above.
  template <class Record>
  image_builder& record(const Record& fields, std::string_view tail = {}) {
    more_.push_back([fields, tail = std::string(tail)](format::metadata_builder& out) {
      must(out.add(fields, bytes_of_text(tail)));
    });
    return *this;
  }
  /// A record of a type that no version knows.
  image_builder& unknown_record(u16 type, bool critical) {
    more_.push_back([=](format::metadata_builder& out) {
      const u64 at = out.size();
      state::text body{};
      must(out.add(body, bytes_of_text("unknown")));
      // The builder gives every record a known type; the bytes are the caller's own memory.
      auto* raw = const_cast<std::byte*>(out.view().data()) + at;
      format::record_header head{};
      std::memcpy(&head, raw, sizeof head);
      head.type = static_cast<format::record_type>(type);
      head.flags = critical ? u16{1} : u16{0};
      std::memcpy(raw, &head, sizeof head);
    });
    return *this;
  }

  [[nodiscard]] image_bytes build() const {
    gathering_files file;
    must(write(file));
    const auto raw = bytes_of_text(file.content());
    return {raw.begin(), raw.end()};
  }

  /// Writes through the core's writer. `file` may go wrong.
  template <image::gather_kernel Kernel>
  [[nodiscard]] result<void> write(Kernel& file) const {
    std::string data;
    vector_memory memory;
    format::metadata_builder metadata(memory.source());
    describe(metadata, data);

    const std::string restarter = fake_restarter();
    auto h = format::header_for(restarter.size(), metadata.size(), data.size(), block_size);
    for (u8 i = 0; i < 16; ++i) h.id.bytes[i] = static_cast<u8>(0xa0 + i);
    h.window_address = window;
    h.window_size = window_pages * page_size;
    h.agent_entry = code + 0x200;
    h.agent_stack = stack + 0x2000;
    h.metadata_checksum = format::checksum(metadata.view());
    const auto head = bytes_of_text(restarter).first(format::header_offset);
    const auto rest = bytes_of_text(restarter).subspan(format::header_offset + sizeof h);
    h.restarter_checksum = format::checksum(
        bytes_of_text(std::string(text_of_bytes(head)) + std::string(text_of_bytes(rest))));
    h.header_checksum = format::own_checksum(h);

    std::vector<wire::le<u64>> table(h.table_size / sizeof(u64));
    const auto always = [] { return result<void>(); };
    image::block_hasher hasher(block_size, std::span(table));
    image::writer out(file, 0, hasher, std::span(table), always);
    CKPT_TRY(out.put(head));
    CKPT_TRY(out.put(bytes_of(h)));
    CKPT_TRY(out.put(rest));
    CKPT_TRY(out.put(metadata.view()));
    CKPT_TRY(out.pad_to(h.data_offset));
    CKPT_TRY(out.put_data(bytes_of_text(data)));
    return out.finish(h);
  }

 private:
  struct run {
    u64 address;
    u64 length;
    u64 data;
  };

  [[nodiscard]] static std::string fake_restarter() {
    std::string bytes = "\177ELF";
    for (u64 i = bytes.size(); i < restarter_pages * page_size; ++i)
      bytes += static_cast<char>(i * 7);
    return bytes;
  }

  // Pages that follow each other within one segment are one extent.
  [[nodiscard]] std::vector<run> memory_runs(std::string& data) const {
    std::vector<run> runs;
    for (const auto& [address, content] : pages_) {
      bool joins = !runs.empty() && runs.back().address + runs.back().length == address;
      for (const auto& [s, name] : segments_) joins = joins && s.address != address;
      if (joins)
        runs.back().length += page_size;
      else
        runs.push_back({address, page_size, data.size()});
      data += content;
    }
    return runs;
  }

  static void add_table(format::metadata_builder& metadata, u64 object,
                        const std::vector<run>& runs) {
    state::extents table{};
    table.object = object;
    table.count = runs.size();
    must(metadata.begin(table));
    for (const auto& r : runs) {
      state::extent e{};
      e.address = r.address;
      e.length = r.length;
      e.data = r.data;
      must(metadata.append(bytes_of(e)));
    }
    must(metadata.end());
  }

  void describe(format::metadata_builder& metadata, std::string& data) const {
    must(metadata.add(host, bytes_of_text("#1 SMP test")));
    must(metadata.add(process));
    for (const auto& [t, tail] : texts_) must(metadata.add(t, bytes_of_text(tail)));
    must(metadata.add(layout));
    must(metadata.add(cpu));
    for (const auto& [s, name] : segments_) must(metadata.add(s, bytes_of_text(name)));
    add_table(metadata, 0, memory_runs(data));
    for (std::size_t i = 0; i < contents_.size(); ++i) {
      const u64 length = page_up(contents_[i].size());
      add_table(metadata, i + 1, {{0, length, data.size()}});
      data += contents_[i] + std::string(length - contents_[i].size(), '\0');
    }
    must(metadata.add(thread));
    for (const auto& add : more_) add(metadata);
  }

  std::vector<std::pair<state::segment, std::string>> segments_;
  std::vector<std::pair<state::text, std::string>> texts_;
  std::map<u64, std::string> pages_;
  std::vector<std::string> contents_;
  std::vector<std::function<void(format::metadata_builder&)>> more_;
  u32 open_files_ = 0;
};

}  // namespace ckpt::test
