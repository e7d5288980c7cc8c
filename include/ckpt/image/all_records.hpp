// SPDX-License-Identifier: MIT
//
// The list of every record type. Who handles "any record" (the validator, the document, readckpt,
// the fuzzer) visits this list, so that a new kind of state is known everywhere at once.
#pragma once

#include "ckpt/state/cpu.hpp"
#include "ckpt/state/credentials.hpp"
#include "ckpt/state/files/epoll.hpp"
#include "ckpt/state/files/event_files.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/state/files/sockets.hpp"
#include "ckpt/state/host.hpp"
#include "ckpt/state/limits.hpp"
#include "ckpt/state/memory_layout.hpp"
#include "ckpt/state/posix_timers.hpp"
#include "ckpt/state/process.hpp"
#include "ckpt/state/process_settings.hpp"
#include "ckpt/state/segment.hpp"
#include "ckpt/state/shared_memory.hpp"
#include "ckpt/state/signals.hpp"
#include "ckpt/state/thread_settings.hpp"
#include "ckpt/state/timers.hpp"
#include "ckpt/state/x86_64/thread.hpp"

namespace ckpt::image {

template <class... Records>
struct record_list {
  /// Calls f.template operator()<Record>() for each.
  template <class F>
  static constexpr void for_each(F&& f) {
    (f.template operator()<Records>(), ...);
  }
  static constexpr std::size_t size = sizeof...(Records);
};

using all_records =
    record_list<state::host, state::process, state::text, state::memory_layout, state::cpu,
                state::segment, state::extents, state::thread, state::extended_state,
                state::signal_action, state::pending_signal, state::interval_timer,
                state::resource_limit, state::open_file, state::descriptor, state::file_lock,
                state::pipe_content, state::process_settings, state::thread_settings,
                state::posix_timer, state::trap_range, state::credentials, state::event_counter,
                state::timer_file, state::signal_file, state::epoll, state::socket_end,
                state::shared_object>;

/// Calls visit(record) with the decoded structure when the type is known.
/// errc::not_found for an unknown type, errc::malformed for an illegal field.
template <class Visitor>
result<void> visit_record(const format::record_view& view, Visitor&& visit) {
  errc outcome = errc::not_found;
  all_records::for_each([&]<class Record>() {
    if (view.type != Record::record) return;
    const auto record = wire::decode<Record>(view.fixed);
    outcome = record.error();
    if (record.ok()) visit(*record);
  });
  if (outcome == errc::none) return {};
  return outcome;
}

}  // namespace ckpt::image
