// SPDX-License-Identifier: MIT
//
// What libFuzzer calls to change a text; the first byte chooses a parser.
#include "text_mutator.hpp"

namespace {

using namespace std::string_view_literals;

constexpr std::string_view whole[] = {
    "\0/jobs/a%20b?version=3"sv,   "\0https://host:80/jobs/\xc3\xa9"sv, "\1bytes=5-99"sv,   "\1bytes=5-"sv,
    "\1bytes=-7"sv,                "\2Bearer abc"sv,                     "\3exec:cat >x"sv, "\3cssrv://host:80/a"sv,
    "\3cssrvs://[::1]:10301/a/b"sv,
};

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                               unsigned seed) {
  return ckpt::fuzz::text_mutator(seed, 1, whole).mutate(data, size, max);
}
