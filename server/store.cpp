// SPDX-License-Identifier: MIT
#include "store.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <unordered_set>

namespace ckpt::server {
namespace {

constexpr u64 written_at_once = u64{8} << 20;

[[noreturn]] void fail(const std::string& doing) {
  const int error = errno;
  throw storage_error("cannot " + doing + ": " + std::strerror(error),
                      error == ENOSPC || error == EDQUOT);
}

std::string new_object_name() {
  unsigned char random[16];
  if (getrandom(random, sizeof random, 0) != sizeof random) fail("draw a random number");
  std::string name;
  for (const unsigned char c : random) {
    constexpr char digits[] = "0123456789abcdef";
    name += digits[c >> 4];
    name += digits[c & 15];
  }
  return name;
}

sys::unique_fd open_directory(const std::string& path) {
  sys::unique_fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) fail("open " + path);
  return fd;
}

std::vector<std::string> files_in(int directory) {
  std::vector<std::string> names;
  DIR* stream = fdopendir(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (stream == nullptr) fail("read the directory");
  while (const dirent* e = readdir(stream))
    if (std::strcmp(e->d_name, ".") != 0 && std::strcmp(e->d_name, "..") != 0)
      names.emplace_back(e->d_name);
  closedir(stream);
  return names;
}

}  // namespace

// --- an upload -----------------------------------------------------------------------------------

upload::upload(store& s, std::string name, transfer::encoding encoding, u64 most, bool only_images)
    : store_(s), name_(std::move(name)), encoding_(encoding), most_(most), only_images_(only_images),
      object_(new_object_name()) {
  if (encoding_ != transfer::encoding::identity) decoder_ = transfer::make_decoder(encoding_);
  file_ = sys::unique_fd(openat(store_.incoming_.get(), object_.c_str(),
                                O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file_) fail("create a file for " + name_);
  there_ = true;
}

upload::~upload() {
  if (there_) unlinkat(store_.incoming_.get(), object_.c_str(), 0);
}

bool upload::refuse(std::string why) {
  if (why_.empty()) why_ = std::move(why);
  return false;
}

bool upload::add(bytes piece) {
  if (!why_.empty()) return false;
  bytes rest = piece;
  while (!rest.empty()) {
    const ssize_t n = write(file_.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) fail("write " + name_);
    rest = rest.subspan(static_cast<std::size_t>(n));
  }
  received_ += piece.size();
  // The disk begins now, so that the sync at the end finds little to do.
  if (received_ - on_its_way_ >= 2 * written_at_once) {
    (void)sync_file_range(file_.get(), static_cast<off_t>(on_its_way_), static_cast<off_t>(written_at_once), SYNC_FILE_RANGE_WRITE);
    on_its_way_ += written_at_once;
  }
  bool too_large = false;
  const auto look = [&](bytes plain) {
    size_ += plain.size();
    too_large = size_ > most_;
    // What does not begin like an image is kept as it is, unless images are all that is wanted.
    return !too_large && (check_.add(plain) || (!check_.looks_like_image() && !only_images_));
  };
  bool good = true;
  if (decoder_) {
    std::byte room[64 * 1024];
    good = decoder_->add(piece, room, look);
  } else {
    good = look(piece);
  }
  if (good) return true;
  too_large_ = too_large;
  if (too_large) return refuse("larger than this server takes (--max-size)");
  if (decoder_ && !decoder_->why().empty()) return refuse(decoder_->why());
  return refuse(check_.why().empty() ? "followed by bytes that do not belong to it" : check_.why());
}

bool upload::finish() {
  if (!why_.empty()) return false;
  if (decoder_ && !decoder_->whole())
    return refuse("the " + std::string(transfer::name_of(encoding_)) + " stream is cut off");
  if (check_.looks_like_image() && check_.seen() >= format::header_offset + sizeof(format::file_header)) {
    if (!check_.finish()) return refuse(check_.why());
  } else if (only_images_) {
    return refuse("not a ckpt image");
  }
  return true;
}

// --- the directory -------------------------------------------------------------------------------

store::store(std::string directory, unsigned keep) : directory_(std::move(directory)), keep_(keep) {
  namespace fs = std::filesystem;
  std::error_code error;
  const mode_t mask = umask(077);
  fs::create_directories(directory_, error);
  umask(mask);
  if (error) throw storage_error("cannot create " + directory_ + ": " + error.message());
  directory_ = fs::canonical(directory_);
  struct stat st{};
  if (stat(directory_.c_str(), &st) != 0) fail("look at " + directory_);
  if (st.st_uid != geteuid() || (st.st_mode & 022) != 0)
    throw storage_error(directory_ +
                        " belongs to another user or is writable by others; give the server a "
                        "directory of its own (-d DIR)");
  lock_ = sys::unique_fd(open((directory_ + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock_) fail("open " + directory_ + "/lock");
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
    throw storage_error("another ckptsrv is at work in " + directory_ + "; give this one another directory (-d DIR)");
  for (const char* name : {"/objects", "/incoming"})
    if (mkdir((directory_ + name).c_str(), 0700) != 0 && errno != EEXIST)
      fail("create " + directory_ + name);
  objects_ = open_directory(directory_ + "/objects");
  incoming_ = open_directory(directory_ + "/incoming");
  catalogue_.emplace(directory_ + "/catalogue.sqlite");
  reader_.emplace(directory_ + "/catalogue.sqlite");
  const auto whole = open_directory(directory_);
  if (fsync(whole.get()) != 0) fail("sync " + directory_);
  sweep();
}

/// What an earlier server has left when it was killed.
void store::sweep() {
  for (const auto& name : files_in(incoming_.get()))
    if (unlinkat(incoming_.get(), name.c_str(), 0) == 0) ++swept_;
  std::unordered_set<std::string> known;
  std::vector<std::string> none;
  for (const auto& e : catalogue_->all()) {
    known.insert(e.object);
    if (faccessat(objects_.get(), e.object.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
      continue;
    catalogue_->remove(e.name, e.version, none);
    lost_.push_back(e.name);
  }
  for (const auto& name : files_in(objects_.get()))
    if (!known.contains(name) && unlinkat(objects_.get(), name.c_str(), 0) == 0) ++swept_;
}

std::optional<entry> store::find(const std::string& name, std::optional<u64> version) {
  const std::lock_guard guard(reading_);
  return reader_->find(name, version);
}

std::vector<entry> store::all() {
  const std::lock_guard guard(reading_);
  return reader_->all();
}

void store::forget(const std::vector<std::string>& objects) const {
  for (const auto& object : objects) unlinkat(objects_.get(), object.c_str(), 0);
}

bool store::remove(const std::string& name, std::optional<u64> version) {
  std::vector<std::string> dropped;
  const std::lock_guard guard(writing_);
  const bool found = catalogue_->remove(name, version, dropped);
  forget(dropped);
  return found;
}

moved store::move(const std::string& name, const std::string& to, bool replace) {
  std::vector<std::string> dropped;
  const std::lock_guard guard(writing_);
  const auto outcome = catalogue_->move(name, to, replace, dropped);
  forget(dropped);
  return outcome;
}

sys::unique_fd store::open_object(const entry& e) const {
  return sys::unique_fd(openat(objects_.get(), e.object.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
}

entry store::commit(upload& u) {
  if (fdatasync(u.file_.get()) != 0) fail("sync " + u.name_);
  if (renameat(incoming_.get(), u.object_.c_str(), objects_.get(), u.object_.c_str()) != 0)
    fail("keep " + u.name_);
  u.there_ = false;
  try {
    if (fsync(objects_.get()) != 0) fail("sync the directory of " + u.name_);
    entry e;
    e.name = u.name_;
    e.object = u.object_;
    e.size = u.size_;
    e.stored_size = u.received_;
    e.encoding = u.encoding_;
    e.is_image = u.check_.looks_like_image() && u.check_.size() != 0;
    e.modified = time(nullptr);
    std::vector<std::string> dropped;
    const std::lock_guard guard(writing_);
    e.version = catalogue_->add(e, keep_, dropped);
    forget(dropped);
    return e;
  } catch (...) {
    unlinkat(objects_.get(), u.object_.c_str(), 0);
    throw;
  }
}

u64 store::room() const {
  struct statvfs st{};
  if (fstatvfs(incoming_.get(), &st) != 0) return ~u64{0};
  return u64{st.f_bavail} * st.f_frsize;
}

}  // namespace ckpt::server
