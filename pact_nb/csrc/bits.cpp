// The convolution of one-bit weights and codes of k bits, without a multiplication: by AND and
// population count, and by tables of the 16 sums that four codes can have. Images are bytes
// [N, H, W, C], sums are int32 [N, H', W', O]. Derived and tested on the page "Bits".
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>
#if defined(__AVX2__)
#include <immintrin.h>
#endif
using at::Tensor;

struct Shape {
  int64_t N, H, W, C, O, side, stride, pad, h, w;  // h, w: of the result
};

static Shape shape_of(const Tensor& q, int64_t O, int64_t side, int64_t stride, int64_t pad) {
  TORCH_CHECK(q.dim() == 4 && q.scalar_type() == at::kByte && q.is_contiguous(),
              "codes must be contiguous uint8 [N, H, W, C]");
  TORCH_CHECK(q.size(3) % 4 == 0, "channels must be a multiple of 4; got ", q.size(3));
  auto out = [&](int64_t n) { return (n + 2 * pad - side) / stride + 1; };
  return {q.size(0), q.size(1), q.size(2), q.size(3),      O,
          side,      stride,    pad,       out(q.size(1)), out(q.size(2))};
}

// [tables]
// The sums of q[0..3] with every choice of signs: bit j of m says that q[j] is added.
static void sums_of_four(const uint8_t* q, int8_t* t) {
  for (int m = 0; m < 16; m++) {
    int s = 0;
    for (int j = 0; j < 4; j++) s += m >> j & 1 ? q[j] : -q[j];
    t[m] = (int8_t)s;
  }
}

static void tables_of(const uint8_t* q, int64_t groups, int8_t* t) {
#if defined(__AVX2__)
  __m128i sign[4];
  for (int j = 0; j < 4; j++) {
    alignas(16) int8_t s[16];
    for (int m = 0; m < 16; m++) s[m] = m >> j & 1 ? 1 : -1;
    sign[j] = _mm_load_si128((const __m128i*)s);
  }
  for (int64_t g = 0; g < groups; g++, q += 4, t += 16) {
    __m128i sum = _mm_sign_epi8(_mm_set1_epi8((char)q[0]), sign[0]);
    for (int j = 1; j < 4; j++)
      sum = _mm_add_epi8(sum, _mm_sign_epi8(_mm_set1_epi8((char)q[j]), sign[j]));
    _mm_storeu_si128((__m128i*)t, sum);
  }
#else
  for (int64_t g = 0; g < groups; g++) sums_of_four(q + 4 * g, t + 16 * g);
#endif
}

// [lookup]
// 32 or 64 output channels at once: `index` has the four weights of each as a number 0 to 15.
struct Plain {
  static constexpr int width = 32;

  struct Byte {
    int8_t v[32];
  };

  struct Sum {
    int16_t v[32];
  };

  using Index = const uint8_t*;

  static Index load(const uint8_t* p) {
    return p;
  }

  static void add(Byte& a, const int8_t* table, Index i) {
    for (int o = 0; o < 32; o++) a.v[o] += table[i[o]];
  }

  static void flush(Byte& a, Sum& s) {
    for (int o = 0; o < 32; o++) s.v[o] += a.v[o];
    a = Byte{};
  }

  static void store(const Sum& s, int16_t* out) {
    memcpy(out, s.v, sizeof s.v);
  }
};

#if defined(__AVX2__)
struct Avx2 {
  static constexpr int width = 32;

  struct Byte {
    __m256i v = _mm256_setzero_si256();
  };

  struct Sum {
    __m256i a = _mm256_setzero_si256(), b = _mm256_setzero_si256();
  };

  using Index = __m256i;

  static Index load(const uint8_t* p) {
    return _mm256_loadu_si256((const __m256i*)p);
  }

  static void add(Byte& a, const int8_t* table, Index i) {
    __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)table));
    a.v = _mm256_add_epi8(a.v, _mm256_shuffle_epi8(t, i));
  }

  static void flush(Byte& a, Sum& s) {
    s.a = _mm256_add_epi16(s.a, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(a.v)));
    s.b = _mm256_add_epi16(s.b, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(a.v, 1)));
    a = Byte{};
  }

  static void store(const Sum& s, int16_t* out) {
    _mm256_storeu_si256((__m256i*)out, s.a);
    _mm256_storeu_si256((__m256i*)(out + 16), s.b);
  }
};
#endif

#if defined(__AVX512BW__)
struct Avx512 {
  static constexpr int width = 64;

  struct Byte {
    __m512i v = _mm512_setzero_si512();
  };

  struct Sum {
    __m512i a = _mm512_setzero_si512(), b = _mm512_setzero_si512();
  };

  using Index = __m512i;

  static Index load(const uint8_t* p) {
    return _mm512_loadu_si512(p);
  }

  static void add(Byte& a, const int8_t* table, Index i) {
    __m512i t = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)table));
    a.v = _mm512_add_epi8(a.v, _mm512_shuffle_epi8(t, i));
  }

  static void flush(Byte& a, Sum& s) {
    s.a = _mm512_add_epi16(s.a, _mm512_cvtepi8_epi16(_mm512_castsi512_si256(a.v)));
    s.b = _mm512_add_epi16(s.b, _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(a.v, 1)));
    a = Byte{};
  }

  static void store(const Sum& s, int16_t* out) {
    _mm512_storeu_si512(out, s.a);
    _mm512_storeu_si512(out + 32, s.b);
  }
};
#endif

// [pixels]
// P pixels of a row and one block of channels: a load of weights serves P tables. `most` groups
// fit into a byte; pixels outside the image read a table of zeros.
template <class V, int P>
static void pixels(const Shape& s, const int8_t* tables, const int8_t* none, const uint8_t* index,
                   int64_t n, int64_t y, int64_t x, int64_t most, int16_t* out) {
  int64_t groups = s.C / 4;
  typename V::Byte small[P];
  typename V::Sum sum[P];
  for (int p = 0; p < P; p++) small[p] = {}, sum[p] = {};
  for (int64_t k = 0; k < s.side * s.side; k++, index += groups * V::width) {
    int64_t iy = y * s.stride + k / s.side - s.pad;
    if (iy < 0 || iy >= s.H) continue;
    const int8_t* t[P];
    int64_t step[P];
    for (int p = 0; p < P; p++) {
      int64_t ix = (x + p) * s.stride + k % s.side - s.pad;
      bool in = ix >= 0 && ix < s.W;
      t[p] = in ? tables + ((n * s.H + iy) * s.W + ix) * groups * 16 : none;
      step[p] = in ? 16 : 0;
    }
    for (int64_t g = 0; g < groups;) {
      for (int64_t end = std::min(groups, g + most); g < end; g++) {
        auto i = V::load(index + g * V::width);
        for (int p = 0; p < P; p++) V::add(small[p], t[p] + g * step[p], i);
      }
      for (int p = 0; p < P; p++) V::flush(small[p], sum[p]);
    }
  }
  for (int p = 0; p < P; p++) V::store(sum[p], out + p * V::width);
}

template <class V>
static void lookup(const Shape& s, const uint8_t* q, const uint8_t* index, int64_t top,
                   int32_t* out) {
  int64_t groups = s.C / 4, all = s.N * s.H * s.W * groups, most = 127 / (4 * top);
  std::vector<int8_t> tables(all * 16), none(16);
  tables_of(q, all, tables.data());
  int64_t blocks = (s.O + V::width - 1) / V::width, per = s.side * s.side * groups * V::width;
  for (int64_t row = 0; row < s.N * s.h; row++)
    for (int64_t x = 0; x < s.w;) {
      int64_t P = s.w - x >= 4 ? 4 : 1;
      for (int64_t b = 0; b < blocks; b++) {
        alignas(64) int16_t sum[4 * V::width];
        auto run = P == 4 ? pixels<V, 4> : pixels<V, 1>;
        run(s, tables.data(), none.data(), index + b * per, row / s.h, row % s.h, x, most, sum);
        int64_t here = std::min<int64_t>(V::width, s.O - b * V::width);
        for (int64_t p = 0; p < P; p++)
          for (int64_t o = 0; o < here; o++)
            out[(row * s.w + x + p) * s.O + b * V::width + o] = sum[p * V::width + o];
      }
      x += P;
    }
}

// [levels]
// What this build has: 0 plain, 2 AVX2, 512 AVX-512; the block of channels of each.
static int64_t best_level() {
#if defined(__AVX512BW__)
  return 512;
#elif defined(__AVX2__)
  return 2;
#else
  return 0;
#endif
}

static int64_t width_of(int64_t level) {
  return level == 512 ? 64 : 32;
}

static Tensor bit_lookup(const Tensor& q, const Tensor& index, int64_t O, int64_t side,
                         int64_t stride, int64_t pad, int64_t top, int64_t level) {
  Shape s = shape_of(q, O, side, stride, pad);
  TORCH_CHECK(level <= best_level(), "this build has level ", best_level(), " at most");
  TORCH_CHECK(top >= 1 && top <= 31, "codes up to 31 fit into the tables; got ", top);
  TORCH_CHECK(side * side * s.C * top < 32768, "sums of ", side * side * s.C, " codes up to ", top,
              " do not fit in 16 bits");
  int64_t blocks = (O + width_of(level) - 1) / width_of(level);
  TORCH_CHECK(index.numel() == blocks * side * side * s.C / 4 * width_of(level) &&
                  index.scalar_type() == at::kByte && index.is_contiguous(),
              "weights must be packed for this level");
  Tensor out = at::empty({s.N, s.h, s.w, O}, q.options().dtype(at::kInt));
  auto run = lookup<Plain>;
#if defined(__AVX2__)
  if (level == 2) run = lookup<Avx2>;
#endif
#if defined(__AVX512BW__)
  if (level == 512) run = lookup<Avx512>;
#endif
  run(s, q.const_data_ptr<uint8_t>(), index.const_data_ptr<uint8_t>(), top,
      out.mutable_data_ptr<int32_t>());
  return out;
}

// [planes]
// Bit i of 64 codes as one word: [bits, pixels, words]; and the sum of each pixel's codes. Eight
// bytes become eight bits by one multiplication.
static void planes_of(const uint8_t* q, int64_t all, int64_t C, int64_t words, int64_t bits,
                      uint64_t* planes, int64_t* ones) {
  std::fill(planes, planes + bits * all * words, 0);
  for (int64_t p = 0; p < all; p++, q += C) {
    ones[p] = 0;
    for (int64_t c = 0; c < C; c += 8) {
      uint64_t eight = 0;
      memcpy(&eight, q + c, std::min<int64_t>(8, C - c));
      for (int64_t i = 0; i < bits; i++) {
        uint64_t some = (eight >> i & 0x0101010101010101) * 0x0102040810204080 >> 56;
        planes[(i * all + p) * words + c / 64] |= some << (c % 64);
        ones[p] += (int64_t)__builtin_popcountll(some) << i;
      }
    }
  }
}

// [count]
// 2*sum_i 2^i*popcount(w & q_i) - sum(q), over the pixels under the kernel; weights [taps, words,
// O].
static void count_one(const Shape& s, const uint64_t* planes, const int64_t* ones,
                      const uint64_t* w, int64_t r, int64_t bits, int64_t* y) {
  int64_t words = (s.C + 63) / 64, all = s.N * s.H * s.W, minus = 0;
  int64_t n = r / (s.h * s.w), oy = r / s.w % s.h, ox = r % s.w;
  std::fill(y, y + s.O, 0);
  for (int64_t k = 0; k < s.side * s.side; k++) {
    int64_t iy = oy * s.stride + k / s.side - s.pad, ix = ox * s.stride + k % s.side - s.pad;
    if (iy < 0 || iy >= s.H || ix < 0 || ix >= s.W) continue;
    int64_t p = (n * s.H + iy) * s.W + ix;
    minus += ones[p];
    for (int64_t v = 0; v < words; v++)
      for (int64_t i = 0; i < bits; i++) {
        uint64_t q = planes[(i * all + p) * words + v];
        const uint64_t* row = w + (k * words + v) * s.O;
        for (int64_t o = 0; o < s.O; o++) y[o] += (int64_t)__builtin_popcountll(row[o] & q) << i;
      }
  }
  for (int64_t o = 0; o < s.O; o++) y[o] = 2 * y[o] - minus;
}

static Tensor bit_count(const Tensor& q, const Tensor& w, int64_t O, int64_t side, int64_t stride,
                        int64_t pad, int64_t bits) {
  Shape s = shape_of(q, O, side, stride, pad);
  int64_t words = (s.C + 63) / 64, all = s.N * s.H * s.W;
  TORCH_CHECK(
      w.numel() == O * side * side * words && w.scalar_type() == at::kLong && w.is_contiguous(),
      "weights must be packed as int64 [side*side, words, O]");
  std::vector<uint64_t> planes(bits * all * words);
  std::vector<int64_t> ones(all), y(O);
  planes_of(q.const_data_ptr<uint8_t>(), all, s.C, words, bits, planes.data(), ones.data());
  Tensor out = at::empty({s.N, s.h, s.w, O}, q.options().dtype(at::kInt));
  auto to = out.mutable_data_ptr<int32_t>();
  auto weights = (const uint64_t*)w.const_data_ptr<int64_t>();
  for (int64_t r = 0; r < s.N * s.h * s.w; r++, to += O) {
    count_one(s, planes.data(), ones.data(), weights, r, bits, y.data());
    std::copy(y.begin(), y.end(), to);
  }
  return out;
}

TORCH_LIBRARY_FRAGMENT(pact_nb, m) {
  m.def(
      "bit_lookup(Tensor codes, Tensor index, int channels, int side, int stride, int padding, int "
      "top, int level) -> Tensor");
  m.def(
      "bit_count(Tensor codes, Tensor bits, int channels, int side, int stride, int padding, int "
      "k) -> Tensor");
  m.def("bit_level() -> int", &best_level);
}

TORCH_LIBRARY_IMPL(pact_nb, CPU, m) {
  m.impl("bit_lookup", &bit_lookup);
  m.impl("bit_count", &bit_count);
}
