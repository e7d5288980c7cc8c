// SPDX-License-Identifier: MIT
//
// The parts of an examination, one file each.
#pragma once

#include <string>
#include <vector>

#include "ckpt/options/ignored.hpp"
#include "examination.hpp"
#include "proc_view.hpp"

namespace ckpt::doctor {

/// What a checkpoint would be asked for with.
struct wishes {
  std::string name;  // a pattern, absolute; empty for the default
  int signal = 0;    // 0: none
  bool try_seccomp = false;
  options::ignored_descriptors ignored;
};

/// What the parts learn of a process and others need.
struct process_facts {
  bool agent = false;
  bool several_threads = false;
  u32 descriptors = 0;
  u64 mappings = 0;
  u64 image_bytes = 0;  // about what an image would have
  std::vector<pid_t> threads;
  /// Ranges that are mapped; and the files behind descriptors, for what is mapped of them.
  struct open_file {
    u64 device, inode;
    int fd;
  };
  std::vector<open_file> files;
};

/// False when nothing can be said beyond it: it has ended, it is not for us.
bool look_at_process(const proc_view& p, const wishes& w, process_facts& known, examination& e);
void look_at_threads(const proc_view& p, const wishes& w, process_facts& known, examination& e);
void look_at_trigger(const proc_view& p, const wishes& w, const process_facts& known, examination& e);
void look_at_files(const proc_view& p, const wishes& w, process_facts& known, examination& e);
void look_at_memory(const proc_view& p, process_facts& known, examination& e);
void look_at_destination(const proc_view& p, const wishes& w, const process_facts& known,
                         examination& e);

/// How the program would have its number again, and what comes with it.
struct identity_wish {
  int number = 0;
  std::vector<int> threads;
  u32 uid = 0, gid = 0;
  bool is_running = false;  // it has its numbers itself now
};
void look_at_identity(const identity_wish& wish, examination& e);
void look_at_losses(const proc_view& p, examination& e);

void look_at_machine(examination& e);
void look_at_image(const std::string& path, examination& e);

}  // namespace ckpt::doctor
