// SPDX-License-Identifier: MIT
#include "cpu_cap.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "ckpt/sys/x86_64/cpu_level.hpp"

namespace ckpt::command {
namespace {

/// What each level adds, and last what none has, as sysdeps/x86/cpu-tunables.c of glibc names it. Before
/// 2.33 some names ended in _Usable; names that a glibc does not know it passes over.
constexpr char third[] = "AVX,AVX2,BMI1,BMI2,F16C,FMA,LZCNT,MOVBE,XSAVE,"
                         "AVX_Usable,AVX2_Usable,FMA_Usable,AVX_Fast_Unaligned_Load";
constexpr char fourth[] = "AVX512F,AVX512BW,AVX512CD,AVX512DQ,AVX512VL,"
                          "AVX512F_Usable,AVX512DQ_Usable";
constexpr char beyond[] = "AVX512ER,AVX512PF,FMA4,RTM,XSAVEC,FMA4_Usable,XSAVEC_Usable";

constexpr char tunable_name[] = "glibc.cpu.hwcaps=";
constexpr std::string_view tunable = tunable_name;

std::string without(unsigned level) {
  std::string list;
  const auto add = [&](std::string_view names) {
    for (std::size_t at = 0; at < names.size();) {
      const auto end = std::min(names.find(',', at), names.size());
      if (!list.empty()) list += ',';
      list.append("-").append(names.substr(at, end - at));
      at = end + 1;
    }
  };
  if (level < 3) add(third);
  if (level < 4) add(fourth);
  add(beyond);
  return list;
}

}  // namespace

std::string capped_tunables(std::string_view users, unsigned level) {
  const std::string list = without(level);
  std::string all;
  bool done = false;
  // Of a tunable that is there twice the last counts, so each gets it.
  for (std::size_t at = 0; at < users.size();) {
    const auto end = std::min(users.find(':', at), users.size());
    const auto entry = users.substr(at, end - at);
    at = end + 1;
    if (entry.empty()) continue;
    if (!all.empty()) all += ':';
    all += entry;
    if (!entry.starts_with(tunable)) continue;
    if (entry.size() > tunable.size()) all += ',';
    all += list;
    done = true;
  }
  if (done) return all;
  if (!all.empty()) all += ':';
  return all.append(tunable).append(list);
}

std::string cap_processor(std::string_view option) {
  const char* variable = std::getenv("CKPT_CPU");
  const std::string_view wanted = !option.empty() ? option : variable != nullptr ? variable : "";
  const unsigned level = sys::arch::parse_level(wanted);
  if (level == 0) return {};  // the agent says so of a variable
  const char* users = std::getenv("GLIBC_TUNABLES");
  const char* now = std::getenv("LD_BIND_NOW");
  // To look a function up at its first call, ld.so saves registers in a way and in a room that it has
  // chosen for this processor, whatever the tunables say.
  if (setenv("GLIBC_TUNABLES", capped_tunables(users != nullptr ? users : "", level).c_str(), 1) != 0 ||
      ((now == nullptr || *now == '\0') && setenv("LD_BIND_NOW", "1", 1) != 0))
    throw std::bad_alloc();
  return std::string(wanted);
}

}  // namespace ckpt::command
