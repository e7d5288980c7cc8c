// SPDX-License-Identifier: MIT
//
// Where the images of a job are: in a file, on a server, or kept here because the server did not
// take them. What it goes on from, whether one has ended the program, and what becomes of them in
// the end.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "ckpt/format/header.hpp"
#include "ckpt/sys/file.hpp"
#include "job.hpp"
#include "job_image.hpp"
#include "job_lock.hpp"

namespace ckpt::command {

class job_place {
 public:
  job_place(const job_options& given, const agent::config& config, char** command)
      : given_(given), config_(config), command_(command) {}

  /// As the agent would choose it, absolute. False after a line that says what is wrong with it.
  [[nodiscard]] bool choose_name();
  [[nodiscard]] const std::string& pattern() const { return pattern_; }
  [[nodiscard]] bool take_lock(job_lock& lock) const;

  /// Says that somebody will not wait.
  using interruption = std::function<bool()>;
  enum class start { program, image, interrupted, failed };
  /// What the job begins with; failed after a line. A bad image is set aside where that is wanted.
  [[nodiscard]] start look(const interruption& stop);

  /// Right before the program is started: what is there now is not from it.
  void remember();
  /// In the program's process, instead of starting it.
  [[noreturn]] void become_image();
  /// In ckpt's.
  void started();

  /// Whether a checkpoint has ended the program, which has exited with status 0. Nothing, after a
  /// line, when nobody can say: a queue must not take that for its success.
  [[nodiscard]] std::optional<bool> ended_by_checkpoint(const interruption& stop) const;
  /// The program has ended by itself.
  void finish() const;

 private:
  image_look look_elsewhere(const seen_command& wanted, const interruption& stop,
                            std::string& name);
  [[nodiscard]] std::string set_aside_elsewhere() const;

  const job_options& given_;
  const agent::config& config_;
  char** command_;
  std::string pattern_;     // of the name, absolute
  std::string image_;       // its name, if it is the same each time
  bool elsewhere_ = false;  // it is not a file's
  std::string fallback_;    // the file that it is kept in when it could not be sent
  std::string path_;        // what is run to go on, where that is not image_
  sys::unique_fd fetched_;
  format::file_header at_server_{};  // of what was there then
  format::file_header before_{};     // of what was there in a file when the program was started
  i64 started_ns_ = 0;
};

}  // namespace ckpt::command
