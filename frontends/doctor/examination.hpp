// SPDX-License-Identifier: MIT
//
// What the doctor has found: facts, and findings by what they mean. The table and the JSON
// (docs/doctor.schema.json) are two ways to print the same.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ckpt/base/text.hpp"

namespace ckpt::doctor {

enum class subject { process, image, machine };

/// One line about one thing, and what helps. `check` is a word of the schema, by which scripts tell
/// findings apart.
struct finding {
  std::string check;
  std::string reason;
  std::string cure;
};

/// `key` is the JSON member, `text` what people read.
struct fact {
  std::string key;
  std::variant<bool, u64, std::string> value;
  std::string text;
};

/// Something that the kernel of this machine has or lacks.
struct facility {
  enum class state { yes, no, unknown };
  std::string name;
  state is = state::unknown;
  std::string value;
  std::string costs;  // when it is missing
  std::string cure;
};

struct examination {
  subject of = subject::machine;
  std::string title;  // what was looked at
  std::vector<fact> facts;
  std::vector<finding> stops;   // each alone makes the answer no
  std::vector<finding> notes;   // worth knowing; the answer stays yes
  std::vector<finding> losses;  // what a restart here would not have
  std::vector<finding> unseen;  // could not be looked at, or only a checkpoint can
  std::vector<facility> facilities;

  [[nodiscard]] bool yes() const { return stops.empty(); }

  void tell(std::string key, std::variant<bool, u64, std::string> value, std::string text) {
    facts.push_back({std::move(key), std::move(value), std::move(text)});
  }
  void stop(std::string check, std::string_view reason, std::string cure) {
    stops.push_back({std::move(check), std::string(reason), std::move(cure)});
  }
  void mention(std::string check, std::string_view reason, std::string cure = {}) {
    notes.push_back({std::move(check), std::string(reason), std::move(cure)});
  }
  void lose(std::string check, std::string_view reason, std::string cure = {}) {
    losses.push_back({std::move(check), std::string(reason), std::move(cure)});
  }
  void miss(std::string check, std::string_view reason, std::string cure = {}) {
    unseen.push_back({std::move(check), std::string(reason), std::move(cure)});
  }
};

/// A line's parts, with names quoted.
template <class... Parts>
[[nodiscard]] std::string line_of(const Parts&... parts) {
  fixed_text<5000> text;
  (text.append(parts), ...);
  return std::string(text.view());
}

/// "3 threads", "1 thread".
[[nodiscard]] std::string count_of(u64 count, std::string_view one);

void print_table(const examination& e);
/// Ends with a newline; other than ASCII is escaped.
[[nodiscard]] std::string json_of(const examination& e);

}  // namespace ckpt::doctor
