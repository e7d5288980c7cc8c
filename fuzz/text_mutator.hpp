// SPDX-License-Identifier: MIT
//
// Changes a text as one who sees numbers, words and lines in it would: a number becomes one at an edge, a
// word one that stands elsewhere, lines are swapped, repeated and taken out. Bit by bit a fuzzer takes a
// million runs to write -1 where the kernel writes 5.
#pragma once

#include <cctype>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);

namespace ckpt::fuzz {

class text_mutator {
 public:
  /// The first `prefix` bytes are no text: they say how it is read. Among thousands of inputs that have been
  /// learnt most are refused; `whole` are some that are not, prefix included, to begin anew with.
  text_mutator(unsigned seed, std::size_t prefix, std::span<const std::string_view> whole = {})
      : random_(seed), prefix_(prefix), whole_(whole) {}

  std::size_t mutate(std::uint8_t* data, std::size_t size, std::size_t max) {
    if (!whole_.empty() && below(6) == 0) {
      const std::string_view chosen = whole_[below(whole_.size())];
      if (chosen.size() > max) return size;
      std::memcpy(data, chosen.data(), chosen.size());
      text_.assign(chosen.substr(prefix_));
      change_number(numbers());
      if (below(2) == 0) change();
      return put_back(data, max);
    }
    if (size <= prefix_ || below(3) == 0) return LLVMFuzzerMutate(data, size, max);
    text_.assign(reinterpret_cast<const char*>(data) + prefix_, size - prefix_);
    for (unsigned changes = 1 + below(3); changes > 0; --changes) change();
    return put_back(data, max);
  }

 private:
  struct piece {
    std::size_t begin, end;
  };

  std::size_t put_back(std::uint8_t* data, std::size_t max) {
    if (text_.size() > max - prefix_) text_.resize(max - prefix_);
    std::memcpy(data + prefix_, text_.data(), text_.size());
    return prefix_ + text_.size();
  }

  unsigned below(std::size_t n) { return n == 0 ? 0 : static_cast<unsigned>(random_() % n); }
  template <class List>
  auto& any(List& list) {
    return list[below(std::size(list))];
  }
  [[nodiscard]] std::string at(piece p) const { return text_.substr(p.begin, p.end - p.begin); }
  void put(piece p, std::string_view with) { text_.replace(p.begin, p.end - p.begin, with); }

  /// The longest runs of what belongs(character) says.
  template <class Belongs>
  std::vector<piece> runs(Belongs belongs) const {
    std::vector<piece> found;
    for (std::size_t i = 0; i < text_.size(); ++i) {
      if (!belongs(text_[i])) continue;
      if (found.empty() || found.back().end != i) found.push_back({i, i});
      found.back().end = i + 1;
    }
    return found;
  }
  /// With their newlines.
  [[nodiscard]] std::vector<piece> lines() const {
    std::vector<piece> found;
    for (std::size_t i = 0; i < text_.size();) {
      const auto newline = text_.find('\n', i);
      found.push_back({i, newline == std::string::npos ? text_.size() : newline + 1});
      i = found.back().end;
    }
    return found;
  }
  /// Decimal or hexadecimal; the letters of a word are none.
  [[nodiscard]] std::vector<piece> numbers() const {
    std::vector<piece> found;
    for (const piece p : runs([](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; })) {
      const std::string text = at(p);
      if (text.find_first_not_of("0123456789abcdef") == std::string::npos &&
          text.find_first_of("0123456789") != std::string::npos)
        found.push_back(p);
    }
    return found;
  }

  void change() {
    switch (below(8)) {
      case 0:
      case 1:
      case 2: return change_number(numbers());
      case 3: return exchange(runs([](char c) { return c > ' '; }));
      case 4: return exchange(runs([](char c) { return c != '\n'; }));
      case 5: return change_lines(lines());
      case 6: return change_separator();
      default: text_.resize(below(text_.size() + 1)); return;
    }
  }

  void change_number(const std::vector<piece>& found) {
    static constexpr std::string_view edges[] = {
        "", "0", "1", "2", "3", "00", "7", "8", "9", "64", "65", "255", "256", "1000", "999999999", "1000000000",
        "2147483647", "2147483648", "4294967295", "4294967296", "9223372036", "9223372037",
        "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
        "ff", "7fffffff", "ffffffff", "100000000", "7ffffffff000", "ffffffffffffffff", "10000000000000000"};
    if (found.empty()) return;
    const piece chosen = any(found);
    std::string number = at(chosen);
    switch (below(7)) {
      case 0: number = at(any(found)); break;
      case 1:
      case 2: number.insert(0, 1, '-'); break;
      case 3: number.back() = static_cast<char>(number.back() + (below(2) == 0 ? 1 : -1)); break;
      case 4: number += "0123456789abcdef"[below(16)]; break;
      default: number = any(edges); break;
    }
    put(chosen, number);
  }

  void exchange(const std::vector<piece>& words) {
    if (!words.empty()) put(any(words), at(any(words)));
  }

  void change_lines(const std::vector<piece>& found) {
    if (found.empty()) return;
    const piece chosen = any(found);
    switch (below(3)) {
      case 0: put(chosen, {}); break;
      case 1: text_.insert(chosen.begin, at(any(found))); break;
      default: {
        const std::string moved = at(chosen);
        put(chosen, {});
        const auto left = lines();
        text_.insert(left.empty() ? 0 : any(left).begin, moved);
      }
    }
  }

  void change_separator() {
    static constexpr std::string_view marks = " \t\n:-/().,%[]@=?";
    const auto found = runs([](char c) { return marks.find(c) != std::string_view::npos; });
    if (found.empty()) return;
    const piece chosen = any(found);
    const std::string with(1 + below(2), marks[below(marks.size())]);
    put(below(2) == 0 ? chosen : piece{chosen.begin, chosen.begin}, with);
  }

  std::minstd_rand random_;
  std::size_t prefix_;
  std::span<const std::string_view> whole_;
  std::string text_;
};

}  // namespace ckpt::fuzz
