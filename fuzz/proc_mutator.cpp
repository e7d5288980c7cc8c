// SPDX-License-Identifier: MIT
//
// What libFuzzer calls to change a text; the first byte chooses a parser.
#include "text_mutator.hpp"

namespace {

using namespace std::string_view_literals;

constexpr std::string_view whole[] = {
    "\0" "7 (a) b) R 1 7 7 0 -1 4194304 98 0 0 0 5 6 0 0 20 -5 3 0 133790 3133440 412 18446744073709551615 4096 8192 "
    "140733385283664 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 12288 16384 20480 140733385288155 140733385288175 "
    "140733385288175 140733385289707 9\n"sv,
    "\1Name:\ta\nUmask:\t0022\nTgid:\t7\nTracerPid:\t0\nNSpid:\t7\t5\t1\nThreads:\t1\nSigPnd:\t00000000000000f0\n"
    "ShdPnd:\t0000000000000001\nSigBlk:\t0000000000010000\nSigIgn:\t8000000000000000\n"
    "SigCgt:\t0000000000000002\nSeccomp:\t2\n"sv,
    "\2pos:\t42\nflags:\t0102002\nmnt_id:\t29\nino:\t12345\n"sv,
    "\2lock:\t1: POSIX  ADVISORY  WRITE 1234 fe:00:1234 10 29\n"sv,
    "\2lock:\t1: DELEG  BREAKING  UNLCK -1 fe:00:1234 0 EOF\n"sv,
    "\2eventfd-count:               1f\neventfd-id: 1\neventfd-semaphore: 1\n"sv,
    "\2sigmask:\t0000001000000200\n"sv,
    "\2clockid: 1\nticks: 3\nsettime flags: 01\nit_value: (0, 49406829)\nit_interval: (1, 0)\n"sv,
    "\2tfd:        5 events:       19 data:                5  pos:0 ino:61af sdev:7\n"sv,
    "\3ID: 1\nsignal: 60/00007fff86e452a8\nnotify: thread/tid.2634\nClockID: -6\n"sv,
};

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                               unsigned seed) {
  return ckpt::fuzz::text_mutator(seed, 1, whole).mutate(data, size, max);
}
