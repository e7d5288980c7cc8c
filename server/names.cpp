// SPDX-License-Identifier: MIT
//
// Requests for what there is and what it is called: the list, DELETE, MOVE.
#include "session.hpp"

namespace ckpt::server {

void session::list() {
  auto found = std::make_shared<std::vector<entry>>();
  on_disk([this, found] { *found = server_.images.all(); },
          [this, found] {
            nlohmann::ordered_json images = nlohmann::ordered_json::array();
            for (const auto& e : *found) images.push_back(json_of(e));
            answer_json(http::status::ok, {{"images", images}});
          });
}

void session::remove() {
  if (target_.name.empty()) return answer(http::status::bad_request, "the name is empty", false);
  auto found = std::make_shared<bool>(false);
  on_disk([this, found] { *found = server_.images.remove(target_.name, target_.version); },
          [this, found] {
            if (!*found) return answer(http::status::not_found, "there is no such image", false);
            if (server_.told.verbose) note_request("removed");
            answer_json(http::status::ok, {{"removed", target_.name}});
          });
}

void session::move() {
  const auto& request = parser_->get();
  const auto refuse = [&](const std::string& why) {
    note_request(why);
    answer(http::status::bad_request, why, false);
  };
  if (target_.name.empty() || target_.version) return refuse("a move names an image, and no version");
  std::string why;
  const auto to = parse_target(view(request["Destination"]), why);
  if (!to) return refuse("the Destination is no name: " + why);
  if (to->name.empty() || to->version) return refuse("the Destination is no name");
  const bool replace = view(request["Overwrite"]) != "F";
  auto outcome = std::make_shared<moved>(moved::absent);
  on_disk([this, outcome, to = to->name, replace] { *outcome = server_.images.move(target_.name, to, replace); },
          [this, outcome, to = to->name] {
            if (*outcome == moved::absent) return answer(http::status::not_found, "there is no such image", false);
            if (*outcome == moved::occupied)
              return answer(http::status::precondition_failed, "there is an image of that name", false);
            if (server_.told.verbose) note_request("moved to " + shown(to));
            answer_json(http::status::created, {{"moved", target_.name}, {"to", to}});
          });
}

}  // namespace ckpt::server
