// SPDX-License-Identifier: MIT
#include "codec.hpp"

#include <lz4frame.h>
#include <lz4hc.h>
#include <zstd.h>

#include <cstring>
#include <new>
#include <vector>

#include "ckpt/base/text.hpp"

namespace ckpt::transfer {
namespace {

// Levels above 19 make frames that cost who reads them more than 8 MiB.
constexpr int highest_zstd_level = 19;
constexpr int window_log_limit = 23;
constexpr std::size_t piece_size = 256 * 1024;

bytes first_of(const std::vector<std::byte>& room, std::size_t n) { return {room.data(), n}; }

class pass final : public coder {
 public:
  bool add(bytes piece, const sink& out) override { return out(piece); }
  bool finish(const sink&) override { return true; }
};

class pass_decoder final : public decoder {
 public:
  bool step(bytes& in, mutable_bytes room, std::size_t& made) override {
    made = in.size() < room.size() ? in.size() : room.size();
    std::memcpy(room.data(), in.data(), made);
    in = in.subspan(made);
    return true;
  }
  bool whole() const override { return true; }
};

class zstd_encoder final : public coder {
 public:
  zstd_encoder(int level, unsigned threads) : context_(ZSTD_createCCtx()), room_(ZSTD_CStreamOutSize()) {
    if (context_ == nullptr) throw std::bad_alloc();
    ZSTD_CCtx_setParameter(context_, ZSTD_c_compressionLevel, level == 0 ? ZSTD_CLEVEL_DEFAULT : level);
    ZSTD_CCtx_setParameter(context_, ZSTD_c_checksumFlag, 1);
    // A library without threads says no, and one thread does it.
    ZSTD_CCtx_setParameter(context_, ZSTD_c_nbWorkers, static_cast<int>(threads));
  }
  ~zstd_encoder() override { ZSTD_freeCCtx(context_); }
  zstd_encoder(const zstd_encoder&) = delete;
  zstd_encoder& operator=(const zstd_encoder&) = delete;

  bool add(bytes piece, const sink& out) override { return run(piece, ZSTD_e_continue, out); }
  bool finish(const sink& out) override { return run({}, ZSTD_e_end, out); }

 private:
  bool run(bytes piece, ZSTD_EndDirective how, const sink& out) {
    ZSTD_inBuffer in{piece.data(), piece.size(), 0};
    for (;;) {
      ZSTD_outBuffer o{room_.data(), room_.size(), 0};
      const std::size_t left = ZSTD_compressStream2(context_, &o, &in, how);
      if (ZSTD_isError(left) != 0) {
        why_ = std::string("zstd: ") + ZSTD_getErrorName(left);
        return false;
      }
      if (o.pos != 0 && !out(first_of(room_, o.pos))) return false;
      if (how == ZSTD_e_end ? left == 0 : in.pos == in.size) return true;
    }
  }
  ZSTD_CCtx* context_;
  std::vector<std::byte> room_;
};

class zstd_decoder final : public decoder {
 public:
  zstd_decoder() : context_(ZSTD_createDCtx()) {
    if (context_ == nullptr) throw std::bad_alloc();
    ZSTD_DCtx_setParameter(context_, ZSTD_d_windowLogMax, window_log_limit);
  }
  ~zstd_decoder() override { ZSTD_freeDCtx(context_); }
  zstd_decoder(const zstd_decoder&) = delete;
  zstd_decoder& operator=(const zstd_decoder&) = delete;

  bool step(bytes& piece, mutable_bytes room, std::size_t& made) override {
    made = 0;
    if (piece.empty() && (whole_ || fresh_)) return true;
    ZSTD_inBuffer in{piece.data(), piece.size(), 0};
    ZSTD_outBuffer out{room.data(), room.size(), 0};
    const std::size_t left = ZSTD_decompressStream(context_, &out, &in);
    if (ZSTD_isError(left) != 0) {
      why_ = std::string("the zstd stream is damaged: ") + ZSTD_getErrorName(left);
      return false;
    }
    fresh_ = false;
    whole_ = left == 0;
    piece = piece.subspan(in.pos);
    made = out.pos;
    return true;
  }
  bool whole() const override { return whole_; }

 private:
  ZSTD_DCtx* context_;
  bool whole_ = false;
  bool fresh_ = true;
};

class lz4_encoder final : public coder {
 public:
  explicit lz4_encoder(int level) {
    preferences_.frameInfo.blockSizeID = LZ4F_max256KB;
    preferences_.frameInfo.contentChecksumFlag = LZ4F_contentChecksumEnabled;
    preferences_.compressionLevel = level;
    room_.resize(LZ4F_compressBound(piece_size, &preferences_) + LZ4F_HEADER_SIZE_MAX);
    if (LZ4F_isError(LZ4F_createCompressionContext(&context_, LZ4F_VERSION)) != 0)
      throw std::bad_alloc();
  }
  ~lz4_encoder() override { LZ4F_freeCompressionContext(context_); }
  lz4_encoder(const lz4_encoder&) = delete;
  lz4_encoder& operator=(const lz4_encoder&) = delete;

  bool add(bytes piece, const sink& out) override {
    if (!begin(out)) return false;
    while (!piece.empty()) {
      const auto part = piece.first(piece.size() < piece_size ? piece.size() : piece_size);
      piece = piece.subspan(part.size());
      if (!give(LZ4F_compressUpdate(context_, room_.data(), room_.size(), part.data(), part.size(),
                                    nullptr),
                out))
        return false;
    }
    return true;
  }
  bool finish(const sink& out) override {
    return begin(out) && give(LZ4F_compressEnd(context_, room_.data(), room_.size(), nullptr), out);
  }

 private:
  bool begin(const sink& out) {
    if (begun_) return true;
    begun_ = true;
    return give(LZ4F_compressBegin(context_, room_.data(), room_.size(), &preferences_), out);
  }
  bool give(std::size_t n, const sink& out) {
    if (LZ4F_isError(n) != 0) {
      why_ = std::string("lz4: ") + LZ4F_getErrorName(n);
      return false;
    }
    return n == 0 || out(first_of(room_, n));
  }
  LZ4F_preferences_t preferences_{};
  LZ4F_cctx* context_ = nullptr;
  std::vector<std::byte> room_;
  bool begun_ = false;
};

class lz4_decoder final : public decoder {
 public:
  lz4_decoder() {
    if (LZ4F_isError(LZ4F_createDecompressionContext(&context_, LZ4F_VERSION)) != 0)
      throw std::bad_alloc();
  }
  ~lz4_decoder() override { LZ4F_freeDecompressionContext(context_); }
  lz4_decoder(const lz4_decoder&) = delete;
  lz4_decoder& operator=(const lz4_decoder&) = delete;

  bool step(bytes& piece, mutable_bytes room, std::size_t& made) override {
    made = 0;
    if (piece.empty() && (whole_ || fresh_)) return true;
    std::size_t taken = piece.size();
    std::size_t filled = room.size();
    const std::size_t hint =
        LZ4F_decompress(context_, room.data(), &filled, piece.data(), &taken, nullptr);
    if (LZ4F_isError(hint) != 0) {
      why_ = std::string("the lz4 stream is damaged: ") + LZ4F_getErrorName(hint);
      return false;
    }
    fresh_ = false;
    whole_ = hint == 0;
    piece = piece.subspan(taken);
    made = filled;
    return true;
  }
  bool whole() const override { return whole_; }

 private:
  LZ4F_dctx* context_ = nullptr;
  bool whole_ = false;
  bool fresh_ = true;
};

}  // namespace

std::string_view name_of(encoding e) {
  switch (e) {
    case encoding::lz4: return "lz4";
    case encoding::zstd: return "zstd";
    default: return "identity";
  }
}

bool parse_encoding(std::string_view text, encoding& e) {
  for (const auto known : {encoding::identity, encoding::lz4, encoding::zstd})
    if (text == name_of(known)) {
      e = known;
      return true;
    }
  return false;
}

bool parse_compression(std::string_view text, compression& c) {
  const auto colon = text.find(':');
  compression parsed;
  if (!parse_encoding(text.substr(0, colon), parsed.how) || parsed.how == encoding::identity)
    return false;
  if (colon != std::string_view::npos) {
    const auto level = parse_number(text.substr(colon + 1));
    const u64 highest = parsed.how == encoding::zstd ? highest_zstd_level : LZ4HC_CLEVEL_MAX;
    if (!level.ok() || *level < 1 || *level > highest) return false;
    parsed.level = static_cast<int>(*level);
  }
  c = parsed;
  return true;
}

std::unique_ptr<coder> make_encoder(compression c, unsigned threads) {
  switch (c.how) {
    case encoding::zstd: return std::make_unique<zstd_encoder>(c.level, threads);
    case encoding::lz4: return std::make_unique<lz4_encoder>(c.level);
    default: return std::make_unique<pass>();
  }
}

std::unique_ptr<decoder> make_decoder(encoding e) {
  switch (e) {
    case encoding::zstd: return std::make_unique<zstd_decoder>();
    case encoding::lz4: return std::make_unique<lz4_decoder>();
    default: return std::make_unique<pass_decoder>();
  }
}

bool decoder::add(bytes piece, mutable_bytes room, const sink& out) {
  for (;;) {
    std::size_t made = 0;
    const std::size_t before = piece.size();
    if (!step(piece, room, made)) return false;
    if (made != 0 && !out(bytes(room.data(), made))) return false;
    if (made == 0 && (piece.empty() || piece.size() == before)) return piece.empty();
  }
}

}  // namespace ckpt::transfer
