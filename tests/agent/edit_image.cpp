// SPDX-License-Identifier: MIT
//
// edit_image KIND IN OUT: an image as another machine, another kernel or a hostile hand would have
// made it, with every checksum right. What a restart must then say or do is in edited_images.py.
#include <elf.h>
#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "../support/image_repair.hpp"
#include "ckpt/image/metadata_view.hpp"

namespace {

using namespace ckpt;

/// Offset in the file of the first record of that type's structure; 0 when there is none.
template <class Record>
u64 record_at(const test::image_bytes& image, bool (*wanted)(const Record&) = nullptr) {
  const auto h = test::header_of(image);
  const bytes metadata = bytes(image).subspan(h.metadata_offset, h.metadata_size);
  format::record_cursor cursor(metadata);
  while (!cursor.done()) {
    const auto view = cursor.next();
    if (!view.ok()) return 0;
    if (view->type != Record::record) continue;
    if (wanted != nullptr && !wanted(*wire::decode<Record>(view->fixed))) continue;
    return static_cast<u64>(view->fixed.data() - image.data());
  }
  return 0;
}

template <class Record, class Change>
bool change(test::image_bytes& image, Change&& apply, bool (*wanted)(const Record&) = nullptr) {
  const u64 at = record_at<Record>(image, wanted);
  if (at == 0) return false;
  auto record = test::load<Record>(image, at);
  apply(record);
  test::store(image, at, record);
  return true;
}

/// apply(bytes) with the vDSO as the image has it.
template <class Apply>
bool change_vdso(test::image_bytes& image, Apply&& apply) {
  const u64 at = record_at<state::segment>(
      image, [](const state::segment& s) { return s.kind == state::segment_kind::vdso; });
  if (at == 0) return false;
  const u64 address = test::load<state::segment>(image, at).address;
  const auto h = test::header_of(image);
  bool done = false;
  image::for_each<state::extents>(
      bytes(image).subspan(h.metadata_offset, h.metadata_size),
      [&](const state::extents& t, bytes tail) {
        for (u64 i = 0; t.object == 0 && i < t.count; ++i) {
          const auto e = image::extent_at(tail, i);
          if (e.address != address) continue;
          done = apply(mutable_bytes(image).subspan(h.data_offset + e.data, e.length));
        }
      });
  return done;
}

/// A byte of the ELF identification that means nothing, so that it is another build.
bool other_vdso(test::image_bytes& image) {
  return change_vdso(image, [](mutable_bytes vdso) {
    vdso[15] ^= std::byte{1};
    return true;
  });
}

/// Another build whose code is of no use at all: whoever runs any of it dies.
bool hollow_vdso(test::image_bytes& image) {
  return other_vdso(image) && change_vdso(image, [](mutable_bytes vdso) {
    const auto* elf = reinterpret_cast<const Elf64_Ehdr*>(vdso.data());
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(vdso.data() + elf->e_shoff);
    bool done = false;
    for (int i = 0; i < elf->e_shnum; ++i) {
      if ((sections[i].sh_flags & SHF_EXECINSTR) == 0) continue;
      constexpr int breakpoint = 0xcc;
      std::memset(vdso.data() + sections[i].sh_offset, breakpoint, sections[i].sh_size);
      done = true;
    }
    return done;
  });
}

/// The first of what this processor lacks, which it names.
bool need_one_more(state::cpu& c) {
  const u64 here = sys::arch::available_extensions();
  for (u32 i = 0; i < sys::arch::extension_count; ++i) {
    if ((here >> i & 1) != 0) continue;
    c.extensions = c.extensions | u64{1} << i;
    std::printf("%.*s\n", static_cast<int>(sys::arch::extensions[i].name.size()),
                sys::arch::extensions[i].name.data());
    return true;
  }
  return false;
}
/// The same of what a program can have registers in.
bool need_more_registers(state::cpu& c) {
  const u64 components = ~sys::arch::enabled_components() & 0x602e4;  // AVX, AVX-512, PKRU, AMX
  c.components = c.components | (components != 0 ? components : u64{1} << 62);
  std::printf("%llx\n", static_cast<unsigned long long>(c.components & ~sys::arch::enabled_components()));
  return true;
}

bool edit(std::string_view kind, test::image_bytes& image) {
  auto h = test::header_of(image);
  const auto set = [&](auto&& apply) {
    apply(h);
    test::store(image, format::header_offset, h);
    return true;
  };
  if (kind == "nothing") return true;
  if (kind == "other-vdso") return other_vdso(image);
  if (kind == "hollow-vdso") return hollow_vdso(image);
  if (kind == "one-more-extension") return change<state::cpu>(image, need_one_more);
  if (kind == "more-registers") return change<state::cpu>(image, need_more_registers);
  if (kind == "other-host")
    return change<state::host>(image, [](state::host& x) { x.node = wire::text<64>("elsewhere"); });
  if (kind == "more-cpu")
    return change<state::cpu>(image, [](state::cpu& c) { c.extensions = ~u64{0}; });
  if (kind == "newer-version")
    return set([](auto& x) { x.major = static_cast<u16>(format::version_major + 1); });
  if (kind == "architecture")
    return set([](auto& x) { x.machine = static_cast<format::machine>(183); });  // EM_AARCH64
  if (kind == "being-updated")
    return set([](auto& x) { x.features.set(format::feature::being_updated); });
  if (kind == "no-agent") return set([](auto& x) { x.agent_entry = u64{0x1000}; });
  if (kind == "segment-over-restarter")
    return change<state::segment>(
        image, [&](state::segment& s) { s.address = h.window_address.get(); });
  if (kind == "segment-wraps")
    return change<state::segment>(image, [](state::segment& s) { s.length = ~u64{4095}; });
  if (kind == "extent-count")
    return change<state::extents>(image, [](state::extents& t) { t.count = u64{1} << 63; });
  if (kind == "descriptor-of-no-file")
    return change<state::descriptor>(image, [](state::descriptor& d) { d.open_file = 4000000000u; });
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  std::ifstream in(argv[2], std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  test::image_bytes image(reinterpret_cast<const std::byte*>(text.data()),
                          reinterpret_cast<const std::byte*>(text.data()) + text.size());
  if (image.size() < format::header_offset + sizeof(format::file_header)) return 2;
  if (!edit(argv[1], image)) {
    std::fprintf(stderr, "cannot make %s of %s\n", argv[1], argv[2]);
    return 2;
  }
  test::repair(image);
  std::ofstream out(argv[3], std::ios::binary | std::ios::trunc);
  out.write(reinterpret_cast<const char*>(image.data()), static_cast<std::streamsize>(image.size()));
  out.close();
  return out && chmod(argv[3], 0700) == 0 ? 0 : 1;
}
