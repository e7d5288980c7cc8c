// SPDX-License-Identifier: MIT
//
// Where and when an image was made. Nothing of it is restored; tools show it.
#pragma once

#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct host {
  static constexpr auto record = format::record_type::host;
  wire::text<64> node;
  wire::text<64> release;
  wire::text<64> architecture;
  wire::le<i64> realtime_ns;
  wire::le<i64> monotonic_ns;
  wire::le<i64> boottime_ns;
  wire::le<u32> writer_version;
  wire::reserved<4> reserved;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::host, node, release, architecture, realtime_ns, monotonic_ns,
                        boottime_ns, writer_version, reserved);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::host> = description<8>{
    "host",
    "The machine and the moment. The tail is the kernel's version line (uname -v).",
    {"uname -n", "uname -r", "uname -m", "CLOCK_REALTIME at the freeze, in nanoseconds",
     "CLOCK_MONOTONIC at the freeze, in nanoseconds", "CLOCK_BOOTTIME at the freeze, in nanoseconds",
     "version of ckpt that wrote the image: major * 10000 + minor * 100 + patch", "zero"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<host, 224>());

inline i64 nanoseconds_of(int clock) {
  sys::abi::timespec t{};
  if (!sys::clock_gettime(clock, t).ok()) return 0;
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

// Context: helper, all threads frozen
inline result<void> capture_host(format::metadata_builder& out, u32 writer_version) {
  sys::abi::utsname names{};
  CKPT_TRY(sys::uname(names));
  host h{};
  h.node = wire::text<64>(names.nodename);
  h.release = wire::text<64>(names.release);
  h.architecture = wire::text<64>(names.machine);
  h.realtime_ns = nanoseconds_of(sys::abi::clock_realtime);
  h.monotonic_ns = nanoseconds_of(sys::abi::clock_monotonic);
  h.boottime_ns = nanoseconds_of(sys::abi::clock_boottime);
  h.writer_version = writer_version;
  return out.add(h, bytes_of_text(names.version));
}

}  // namespace ckpt::state
