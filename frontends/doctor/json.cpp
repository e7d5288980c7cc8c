// SPDX-License-Identifier: MIT
//
// The doctor's findings for programs: docs/doctor.schema.json.
#include <nlohmann/json.hpp>

#include "examination.hpp"

namespace ckpt::doctor {
namespace {

using json = nlohmann::ordered_json;

json list_of(const std::vector<finding>& findings) {
  json list = json::array();
  for (const auto& f : findings)
    list.push_back({{"check", f.check}, {"reason", f.reason}, {"cure", f.cure}});
  return list;
}

json list_of(const std::vector<facility>& facilities) {
  json list = json::array();
  for (const auto& f : facilities) {
    json here = nullptr;
    if (f.is != facility::state::unknown) here = f.is == facility::state::yes;
    list.push_back({{"name", f.name}, {"here", here}, {"value", f.value}, {"costs", f.costs},
                    {"cure", f.cure}});
  }
  return list;
}

}  // namespace

std::string json_of(const examination& e) {
  constexpr int version = 1;  // raised when a member changes or goes
  json facts = json::object();
  for (const auto& f : e.facts)
    std::visit([&](const auto& value) { facts[f.key] = value; }, f.value);
  const json document = {
      {"doctor", version},
      {"ckpt", CKPT_VERSION},
      {"of", e.of == subject::process ? "process" : e.of == subject::image ? "image" : "machine"},
      {"subject", e.title},
      {"verdict", e.yes() ? "yes" : "no"},
      {"facts", std::move(facts)},
      {"stops", list_of(e.stops)},
      {"notes", list_of(e.notes)},
      {"losses", list_of(e.losses)},
      {"unseen", list_of(e.unseen)},
      {"facilities", list_of(e.facilities)}};
  // Names are bytes: what is not UTF-8 comes out as U+FFFD.
  return document.dump(2, ' ', true, json::error_handler_t::replace) + '\n';
}

}  // namespace ckpt::doctor
