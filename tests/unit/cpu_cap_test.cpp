// SPDX-License-Identifier: MIT
//
// What --cpu makes of the environment: what the user has there stays, and glibc is kept from the rest.
#include "command/cpu_cap.hpp"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <string>

#include "support/catch.hpp"

namespace ckpt::command {
namespace {

const std::string tunable = "glibc.cpu.hwcaps=";

/// The names that a value of the tunable takes away.
std::set<std::string> taken(std::string_view text) {
  REQUIRE(text.starts_with(tunable));
  text.remove_prefix(tunable.size());
  std::set<std::string> names;
  while (!text.empty()) {
    const auto end = std::min(text.find(','), text.size());
    REQUIRE(text.substr(0, end).starts_with('-'));
    CHECK(names.insert(std::string(text.substr(1, end - 1))).second);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return names;
}

bool has_all(const std::set<std::string>& names, std::initializer_list<const char*> wanted) {
  for (const char* name : wanted)
    if (!names.contains(name)) return false;
  return true;
}
bool has_any(const std::set<std::string>& names, std::initializer_list<const char*> unwanted) {
  for (const char* name : unwanted)
    if (names.contains(name)) return true;
  return false;
}

/// A variable of this process for the time of a test.
class variable {
 public:
  explicit variable(const char* name) : name_(name) {
    if (const char* value = std::getenv(name)) before_ = value;
    unsetenv(name);
  }
  ~variable() {
    if (before_) setenv(name_, before_->c_str(), 1);
    else unsetenv(name_);
  }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;
  void set(const char* value) const { setenv(name_, value, 1); }
  [[nodiscard]] std::optional<std::string> get() const {
    const char* value = std::getenv(name_);
    return value ? std::optional<std::string>(value) : std::nullopt;
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST_CASE("a level takes away what is beyond it and nothing below") {
  const auto second = taken(capped_tunables("", 2));
  CHECK(has_all(second, {"AVX", "AVX2", "BMI1", "BMI2", "F16C", "FMA", "LZCNT", "MOVBE", "XSAVE", "XSAVEC",
                         "AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL"}));
  CHECK_FALSE(has_any(second, {"SSE3", "SSSE3", "SSE4_1", "SSE4_2", "POPCNT", "CMPXCHG16B", "LAHF64_SAHF64"}));
  const auto third = taken(capped_tunables("", 3));
  CHECK(has_all(third, {"AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL", "XSAVEC"}));
  CHECK_FALSE(has_any(third, {"AVX", "AVX2", "BMI1", "BMI2", "F16C", "FMA", "LZCNT", "MOVBE", "XSAVE"}));
  const auto fourth = taken(capped_tunables("", 4));
  CHECK(has_all(fourth, {"AVX512ER", "AVX512PF", "RTM", "XSAVEC"}));
  CHECK_FALSE(has_any(fourth, {"AVX2", "AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL"}));
}

TEST_CASE("what the user has set stays and is completed") {
  const auto list = capped_tunables("", 3).substr(tunable.size());
  CHECK(capped_tunables("glibc.malloc.arena_max=1", 3) == "glibc.malloc.arena_max=1:" + tunable + list);
  CHECK(capped_tunables(tunable + "-ERMS", 3) == tunable + "-ERMS," + list);
  CHECK(capped_tunables(tunable, 3) == tunable + list);
  CHECK(capped_tunables(tunable + "-ERMS:glibc.malloc.perturb=7", 3) ==
        tunable + "-ERMS," + list + ":glibc.malloc.perturb=7");
  CHECK(capped_tunables("glibc.malloc.perturb=7:" + tunable + "-ERMS", 3) ==
        "glibc.malloc.perturb=7:" + tunable + "-ERMS," + list);
  // The last of two counts, and which that is, is glibc's to say.
  CHECK(capped_tunables(tunable + "-ERMS:" + tunable + "-RTM", 3) ==
        tunable + "-ERMS," + list + ":" + tunable + "-RTM," + list);
  CHECK(capped_tunables("::a=b:", 3) == "a=b:" + tunable + list);
  // A longer name is another tunable.
  CHECK(capped_tunables("glibc.cpu.hwcaps_mask=1", 3) == "glibc.cpu.hwcaps_mask=1:" + tunable + list);
}

TEST_CASE("the environment is changed for a level only") {
  const variable tunables("GLIBC_TUNABLES"), bind("LD_BIND_NOW"), level("CKPT_CPU");
  for (const char* none : {"", "v1", "x86-64-v5", "fast"}) {
    level.set(none);
    CHECK(cap_processor("").empty());
    CHECK_FALSE(tunables.get());
    CHECK_FALSE(bind.get());
  }
  level.set("v3");
  CHECK(cap_processor("") == "v3");
  CHECK(tunables.get() == capped_tunables("", 3));
  CHECK(bind.get() == "1");
}

TEST_CASE("the option comes before the variable, and LD_BIND_NOW that is set stays") {
  const variable tunables("GLIBC_TUNABLES"), bind("LD_BIND_NOW"), level("CKPT_CPU");
  level.set("x86-64-v4");
  tunables.set("glibc.malloc.perturb=7");
  bind.set("yes");
  CHECK(cap_processor("x86-64-v2") == "x86-64-v2");
  CHECK(tunables.get() == capped_tunables("glibc.malloc.perturb=7", 2));
  CHECK(bind.get() == "yes");
  bind.set("");  // which ld.so takes for unset
  CHECK(cap_processor("x86-64-v2") == "x86-64-v2");
  CHECK(bind.get() == "1");
}

}  // namespace
}  // namespace ckpt::command
