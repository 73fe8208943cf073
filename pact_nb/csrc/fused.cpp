// Batch norm, residual sum, clip and rounding in one operator, and DoReFa weights, for the CPU.
// Derived and tested on the page "Fused operators"; formulas are named as there.
//
// x [N, C, H, W] or [N, C], float32 or float64; r the shortcut, alpha [] the clip level,
// n = 2^k - 1 steps (0: clip only). y = round(clamp(gamma * xhat + beta + r, 0, alpha) / s) * s.
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/cpu/vec/vec.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
#include <atomic>
#include <cmath>
#include <limits>
#include <vector>
#define SIMD _Pragma("omp simd")

// [rows]
// Tensors are read as rows x C, channels last. Sums run over fixed chunks of rows that are
// added in a fixed order, so that no result depends on the number of threads.
using at::Tensor;
using Maybe = std::optional<Tensor>;
static constexpr int64_t BLOCK = 64;

static Tensor last(const Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

struct Chunks {  // at most 64 chunks of whole blocks, whatever the number of threads
  int64_t rows, size, n;

  explicit Chunks(int64_t r)
      : rows(r), size(((r + 63) / 64 + BLOCK - 1) / BLOCK * BLOCK), n((r + size - 1) / size) {}

  int64_t begin(int64_t k) const {
    return k * size;
  }

  int64_t end(int64_t k) const {
    return std::min(rows, (k + 1) * size);
  }
};

static int64_t folds(
    int64_t rows, int64_t C) {  // so many rows are read as one, where a row of C fills no vectors
  return C < 64 && 64 % C == 0 && rows % (64 / C) == 0 ? 64 / C : 1;
}

template <typename T>
static void repeat(std::vector<T>& v, int64_t times) {
  int64_t C = v.size();
  v.resize(C * times);
  for (int64_t i = C; i < C * times; i++) v[i] = v[i - C];
}

// [moments]
// Mean and squared deviations of each channel: two passes over 64 rows, which stay in the first
// level of the cache, merged in double (Chan, Golub and LeVeque, 1979).
static void merge(double& m, double& v, double n, double m1, double v1, double k) {
  double d = m1 - m, t = n + k;
  m += d * k / t;
  v += v1 + d * d * n * k / t;
}

template <typename T>
static void moments(const T* x, const Chunks& ch, int64_t C, double* mean, double* m2) {
  std::vector<double> mu(ch.n * C, 0.0), va(ch.n * C, 0.0);
  at::parallel_for(0, ch.n, 1, [&](int64_t b, int64_t e) {
    std::vector<T> sums(C), squares(C), means(C);
    T *S = sums.data(), *Q = squares.data(), *M = means.data();
    for (int64_t k = b; k < e; k++)
      for (int64_t r0 = ch.begin(k); r0 < ch.end(k); r0 += BLOCK) {
        int64_t r1 = std::min(r0 + BLOCK, ch.end(k));
        std::fill(S, S + C, T(0));
        std::fill(Q, Q + C, T(0));
        for (int64_t r = r0; r < r1; r++) {
          const T* p = x + r * C;
          SIMD for (int64_t c = 0; c < C; c++) S[c] += p[c];
        }
        for (int64_t c = 0; c < C; c++) M[c] = S[c] / T(r1 - r0);
        for (int64_t r = r0; r < r1; r++) {
          const T* p = x + r * C;
          SIMD for (int64_t c = 0; c < C; c++) {
            T d = p[c] - M[c];
            Q[c] += d * d;
          }
        }
        for (int64_t c = 0; c < C; c++)
          merge(mu[k * C + c], va[k * C + c], r0 - ch.begin(k), M[c], Q[c], r1 - r0);
      }
  });
  std::fill(mean, mean + C, 0.0);
  std::fill(m2, m2 + C, 0.0);
  for (int64_t k = 0; k < ch.n; k++)
    for (int64_t c = 0; c < C; c++)
      merge(mean[c], m2[c], ch.begin(k), mu[k * C + c], va[k * C + c], ch.end(k) - ch.begin(k));
}

static void fold_moments(std::vector<double>& mean, std::vector<double>& m2, int64_t C,
                         int64_t rows) {
  for (int64_t i = C; i < int64_t(mean.size()); i++)
    merge(mean[i % C], m2[i % C], i / C * rows, mean[i], m2[i], rows);
}

// [codes]
// Whole numbers in a byte each, in place of values.
template <typename T>
static void to_values(const uint8_t* c, T s, T* y, int64_t n) {
  SIMD for (int64_t i = 0; i < n; i++) y[i] = T(int(c[i])) * s;
}

template <typename T>
static bool to_codes(const T* v, uint8_t* y, int64_t n) {  // false if anything is not finite
  T bad = 0;
  _Pragma("omp simd reduction(+:bad)") for (int64_t i = 0; i < n; i++) {
    y[i] = uint8_t(int(v[i]));
    bad += v[i] - v[i];
  }
  return bad == T(0);
}

template <typename T>
struct Shortcut {  // values, or codes and their step; read some rows at a time
  const T* values = nullptr;
  const uint8_t* codes = nullptr;
  T step = 1;

  const T* read(int64_t begin, int64_t n, std::vector<T>& room) const {
    if (!codes) return values + begin;
    room.resize(n);
    to_values(codes + begin, step, room.data(), n);
    return room.data();
  }

  explicit operator bool() const {
    return values || codes;
  }
};

// [apply]
// Forward, second pass: batch norm as one multiply-add, the sum, the clip, the rounding.
template <typename Y, bool sum, bool round, typename T>
static bool apply(const T* x, const Shortcut<T>& res, Y* y, const T* A, const T* B, const T* M, T a,
                  T s, int64_t rows, int64_t C) {
  constexpr bool codes = std::is_same_v<Y, uint8_t>;
  int64_t some = std::max<int64_t>(1, 2048 / C);
  std::atomic<bool> good = true;
  at::parallel_for(0, (rows + some - 1) / some, 8, [&](int64_t k0, int64_t k1) {
    std::vector<T> room(codes ? some * C : 0), shortcut;
    for (int64_t k = k0; k < k1; k++) {
      int64_t r0 = k * some, n = std::min(rows - r0, some);
      const T* q0 = sum ? res.read(r0 * C, n * C, shortcut) : nullptr;
      for (int64_t i = 0; i < n; i++) {
        const T *p = x + (r0 + i) * C, *q = q0 + i * C;
        T* o = codes ? room.data() + i * C : (T*)(y + (r0 + i) * C);
        SIMD for (int64_t c = 0; c < C; c++) {
          T z = (p[c] - M[c]) * A[c] + B[c];
          if constexpr (sum) z += q[c];
          T v = z < T(0) ? T(0) : z;
          v = v > a ? a : v;
          if constexpr (round) v = std::nearbyint(v / s);
          if constexpr (round && !codes) v *= s;
          o[c] = v + (z - z);
        }
      }
      if constexpr (codes)
        if (!to_codes(room.data(), y + r0 * C, n * C)) good = false;
    }
  });
  return good;
}

// [forward]
// Forward: moments, then `apply`.
template <typename T>
static Shortcut<T> shortcut(const Tensor& res, const Maybe& step) {
  if (!res.defined()) return {};
  if (res.scalar_type() == at::kByte)
    return {nullptr, res.data_ptr<uint8_t>(), *step->data_ptr<T>()};
  return {res.data_ptr<T>()};
}

static std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> norm_pact(
    const Tensor& x_, const Maybe& res_, const Maybe& res_scale, const Tensor& w, const Tensor& b,
    const Tensor& alpha, double eps, int64_t n, bool codes) {
  Tensor x = last(x_), res = res_ ? last(*res_) : Tensor(),
         y = codes ? at::empty_like(x, x.options().dtype(at::kByte)) : at::empty_like(x),
         step = at::empty({}, x.options()), mean = at::empty_like(w), invstd = at::empty_like(w),
         var = at::empty_like(w);
  auto run = [&](auto type) {
    using T = decltype(type);
    int64_t C = x.size(1), rows = x.numel() / C, f = folds(rows, C);
    std::vector<double> mu(C * f), m2(C * f);
    std::vector<T> A(C), B(C), M(C);
    moments<T>(x.data_ptr<T>(), Chunks(rows / f), C * f, mu.data(), m2.data());
    fold_moments(mu, m2, C, rows / f);
    T *I = invstd.data_ptr<T>(), a = *alpha.data_ptr<T>(),
      nan = std::numeric_limits<T>::quiet_NaN();
    if (!(a > 0 && a < std::numeric_limits<T>::infinity())) a = nan;
    for (int64_t c = 0; c < C; c++) {
      mean.data_ptr<T>()[c] = M[c] = mu[c];
      var.data_ptr<T>()[c] = m2[c] / rows;
      I[c] = 1 / std::sqrt(m2[c] / rows + eps);
      A[c] = I[c] * w.data_ptr<T>()[c];
      B[c] = b.data_ptr<T>()[c] + (a - a);
    }
    for (auto* v : {&A, &B, &M}) repeat(*v, f);
    T s = n ? a / T(n) : T(1);
    auto with = [&](auto* out, auto rounds) {
      using Y = std::remove_pointer_t<decltype(out)>;
      auto r = shortcut<T>(res, res_scale);
      return (r ? apply<Y, true, rounds.value, T>
                : apply<Y, false, rounds.value, T>)(x.data_ptr<T>(), r, out, A.data(), B.data(),
                                                    M.data(), a, s, rows / f, C * f);
    };
    bool good = codes ? with(y.data_ptr<uint8_t>(), std::true_type())
                : n   ? with(y.data_ptr<T>(), std::true_type())
                      : with(y.data_ptr<T>(), std::false_type());
    *step.data_ptr<T>() = good ? s : nan;
  };
  x.scalar_type() == at::kDouble ? run(double(0)) : run(float(0));
  return {y, step, mean, invstd, var};
}

// [sums]
// Backward, first pass: z again, the sums of h, h*xhat and of what goes to alpha.
template <bool sum, bool two, typename T>
static void sums(const T* g, const T* g2, const T* x, const Shortcut<T>& res, T* h, const T* A,
                 const T* B, const T* M, const T* I, T a, const Chunks& ch, int64_t C, double* s1,
                 double* s2, double* s3) {
  std::vector<double> h1(ch.n * C, 0.0), h2(ch.n * C, 0.0), top(ch.n, 0.0);
  at::parallel_for(0, ch.n, 1, [&](int64_t b, int64_t e) {
    std::vector<T> u(C), v(C), t(C), room;
    T *U = u.data(), *V = v.data(), *W = t.data();
    for (int64_t k = b; k < e; k++)
      for (int64_t r0 = ch.begin(k); r0 < ch.end(k); r0 += BLOCK) {
        std::fill(U, U + C, T(0));
        std::fill(V, V + C, T(0));
        std::fill(W, W + C, T(0));
        int64_t r1 = std::min(r0 + BLOCK, ch.end(k));
        const T* q0 = sum ? res.read(r0 * C, (r1 - r0) * C, room) : nullptr;
        for (int64_t r = r0; r < r1; r++) {
          const T *p = x + r * C, *gr = g + r * C, *gs = two ? g2 + r * C : nullptr,
                  *q = sum ? q0 + (r - r0) * C : nullptr;
          T* o = sum ? h + r * C : nullptr;
          SIMD for (int64_t c = 0; c < C; c++) {
            T d = p[c] - M[c], z = d * A[c] + B[c], in = gr[c];
            if constexpr (sum) z += q[c];
            if constexpr (two) in += gs[c];
            T over = z >= a ? in : T(0);
            in = z >= T(0) ? in - over : T(0);
            if constexpr (sum) o[c] = in;
            U[c] += in;
            V[c] += in * (d * I[c]);
            W[c] += over;
          }
        }
        for (int64_t c = 0; c < C; c++) {
          h1[k * C + c] += U[c];
          h2[k * C + c] += V[c];
          top[k] += W[c];
        }
      }
  });
  for (int64_t k = 0; k < ch.n; k++) {
    *s3 += top[k];
    for (int64_t c = 0; c < C; c++) {
      s1[c] += h1[k * C + c];
      s2[c] += h2[k * C + c];
    }
  }
}

// [slope]
// Backward, second pass: the gradient of x.
template <bool sum, bool two, typename T>
static void slope(const T* g, const T* g2, const T* x, T* gx, const T* A, const T* B, const T* M,
                  const T* K1, const T* K2, T a, int64_t rows, int64_t C) {
  at::parallel_for(0, rows, BLOCK, [&](int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) {
      const T *p = x + r * C, *gr = g + r * C, *gs = two ? g2 + r * C : nullptr;
      T* o = gx + r * C;
      SIMD for (int64_t c = 0; c < C; c++) {
        T in = gr[c], d = p[c] - M[c];
        if constexpr (two) in += gs[c];
        if constexpr (!sum) {
          T z = d * A[c] + B[c];
          in = z >= T(0) ? in : T(0);
          in = z < a ? in : T(0);
        }
        o[c] = (in - K1[c] - d * K2[c]) * A[c];
      }
    }
  });
}

// [backward]
// Backward: `sums`, then `slope`.
static std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> norm_pact_backward(
    const Tensor& g_, const Maybe& g2_, const Tensor& x_, const Maybe& res_, const Maybe& res_scale,
    const Tensor& w, const Tensor& b, const Tensor& mean, const Tensor& invstd,
    const Tensor& alpha) {
  Tensor x = last(x_), g = last(g_), g2 = g2_ ? last(*g2_) : Tensor(),
         res = res_ ? last(*res_) : Tensor(),
         h = res_ ? at::empty_like(x) : at::empty({0}, x.options());
  Tensor gx = at::empty_like(x), gw = at::empty_like(w), gb = at::empty_like(w),
         ga = at::empty_like(alpha);
  auto run = [&](auto type) {
    using T = decltype(type);
    int64_t C = x.size(1), rows = x.numel() / C, f = folds(rows, C);
    double total = 0;
    const T *X = x.data_ptr<T>(), *G = g.data_ptr<T>(), *G2 = g2_ ? g2.data_ptr<T>() : nullptr,
            a = *alpha.data_ptr<T>();
    T* H = res_ ? h.data_ptr<T>() : nullptr;
    auto r = shortcut<T>(res, res_scale);
    std::vector<T> A(C), B(C), M(C), I(C), K1(C), K2(C);
    std::vector<double> s1(C * f, 0.0), s2(C * f, 0.0);
    for (int64_t c = 0; c < C; c++) {
      M[c] = mean.data_ptr<T>()[c];
      I[c] = invstd.data_ptr<T>()[c];
      A[c] = I[c] * w.data_ptr<T>()[c];
      B[c] = b.data_ptr<T>()[c];
    }
    for (auto* v : {&A, &B, &M, &I}) repeat(*v, f);
    auto first = r ? (g2_ ? sums<true, true, T> : sums<true, false, T>)
                   : (g2_ ? sums<false, true, T> : sums<false, false, T>);
    first(G, G2, X, r, H, A.data(), B.data(), M.data(), I.data(), a, Chunks(rows / f), C * f,
          s1.data(), s2.data(), &total);
    for (int64_t i = C; i < C * f; i++) {
      s1[i % C] += s1[i];
      s2[i % C] += s2[i];
    }
    for (int64_t c = 0; c < C; c++) {
      gb.data_ptr<T>()[c] = s1[c];
      gw.data_ptr<T>()[c] = s2[c];
      K1[c] = s1[c] / rows;
      K2[c] = s2[c] / rows * I[c];
    }
    *ga.data_ptr<T>() = total;
    for (auto* v : {&K1, &K2}) repeat(*v, f);
    auto second = res_  ? slope<true, false, T>
                  : g2_ ? slope<false, true, T>
                        : slope<false, false, T>;
    second(res_ ? H : G, G2, X, gx.data_ptr<T>(), A.data(), B.data(), M.data(), K1.data(),
           K2.data(), a, rows / f, C * f);
  };
  x.scalar_type() == at::kDouble ? run(double(0)) : run(float(0));
  return {gx, h, gw, gb, ga};
}

// [dorefa]
// DoReFa weights: tanh, the largest of them, levels, and the odd whole numbers behind them.
template <typename T>
static void tanh_to(T* t, const T* w, int64_t n) {
  using V = at::vec::Vectorized<T>;
  int64_t i = 0;
  for (; i + V::size() <= n; i += V::size()) V::loadu(w + i).tanh().store(t + i);
  if (i < n) V::loadu(w + i, n - i).tanh().store(t + i, n - i);
}

template <typename T>
static T largest(const T* w, int64_t n) {  // NaN if anything is not finite
  std::vector<T> tops((n + 16383) / 16384);
  at::parallel_for(0, tops.size(), 1, [&](int64_t b, int64_t e) {
    for (int64_t k = b; k < e; k++) {
      T m = 0, bad = 0;
      const T* p = w + k * 16384;
      int64_t len = std::min<int64_t>(16384, n - k * 16384);
      _Pragma("omp simd reduction(max:m) reduction(+:bad)") for (int64_t i = 0; i < len; i++) {
        T v = std::fabs(p[i]);
        m = v > m ? v : m;
        bad += p[i] - p[i];
      }
      tops[k] = m + bad;
    }
  });
  T m = 0;
  for (T v : tops) m = (v > m || v != v) ? v : m;
  return m;
}

static std::tuple<Tensor, Tensor, Tensor, Tensor> dorefa(const Tensor& w_, int64_t n) {
  Tensor w = w_.is_non_overlapping_and_dense() ? w_ : w_.contiguous(), out = at::empty_like(w),
         top = at::empty({}, w.options()), unit = at::empty({}, w.options());
  Tensor odd = n < 128 ? at::empty_like(w, w.options().dtype(at::kChar))
                       : at::empty({0}, w.options().dtype(at::kChar));
  auto run = [&](auto type) {
    using T = decltype(type);
    const T* W = w.data_ptr<T>();
    T *O = out.data_ptr<T>(), big = largest<T>(W, w.numel()), m;
    tanh_to<T>(&m, &big, 1);
    *top.data_ptr<T>() = big;
    T div = m + T(m == 0), N = n, step = T(1) / N;
    *unit.data_ptr<T>() = step + (big - big);
    int8_t* D = n < 128 ? odd.data_ptr<int8_t>() : nullptr;
    at::parallel_for(0, w.numel(), 4096, [&](int64_t b, int64_t e) {
      for (int64_t i0 = b; i0 < e; i0 += 1024) {
        int64_t len = std::min<int64_t>(1024, e - i0);
        T* o = O + i0;
        tanh_to<T>(o, W + i0, len);
        SIMD for (int64_t i = 0; i < len; i++) o[i] =
            2 * std::nearbyint((o[i] / div / 2 + T(0.5)) * N) - N;
        if (D) SIMD for (int64_t i = 0; i < len; i++) D[i0 + i] = int8_t(int(o[i]));
        SIMD for (int64_t i = 0; i < len; i++) o[i] *= step;
      }
    });
  };
  w.scalar_type() == at::kDouble ? run(double(0)) : run(float(0));
  return {out, top, odd, unit};
}

// [dorefa backward]
// (1 - t^2) g / m, less the pull on the largest |w|, which ties share.
static Tensor dorefa_backward(const Tensor& g_, const Tensor& w_, const Tensor& top) {
  Tensor w = w_.is_non_overlapping_and_dense() ? w_ : w_.contiguous(), gw = at::empty_like(w),
         g = at::empty_like(w).copy_(g_);
  auto run = [&](auto type) {
    using T = decltype(type);
    const T *W = w.data_ptr<T>(), *G = g.data_ptr<T>(), big = *top.data_ptr<T>();
    T *O = gw.data_ptr<T>(), m;
    tanh_to<T>(&m, &big, 1);
    T inv = 1 / (m + T(m == 0));
    int64_t N = w.numel(), n = (N + 16383) / 16384;
    std::vector<double> part(n, 0.0);
    std::vector<std::vector<int64_t>> ties(n);
    at::parallel_for(0, n, 1, [&](int64_t b, int64_t e) {
      T t[1024];
      for (int64_t k = b; k < e; k++)
        for (int64_t i0 = k * 16384; i0 < std::min(N, (k + 1) * 16384); i0 += 1024) {
          int64_t len = std::min<int64_t>(1024, N - i0);
          const T *p = G + i0, *q = W + i0;
          T *o = O + i0, s = 0;
          int at_top = 0;
          tanh_to<T>(t, q, len);
          _Pragma("omp simd reduction(+:s,at_top)") for (int64_t i = 0; i < len; i++) {
            s += p[i] * t[i];
            o[i] = p[i] * inv * (1 - t[i] * t[i]);
            at_top += std::fabs(q[i]) == big;
          }
          part[k] += s;
          if (at_top)
            for (int64_t i = 0; i < len; i++)
              if (std::fabs(q[i]) == big) ties[k].push_back(i0 + i);
        }
    });
    double s = 0, count = 0;
    for (int64_t k = 0; k < n; k++) {
      s += part[k];
      count += ties[k].size();
    }
    for (auto& some : ties)
      for (int64_t i : some)
        O[i] -= T(s * inv * inv / count) * (W[i] > 0 ? 1 : W[i] < 0 ? -1 : 0) * (1 - m * m);
  };
  w.scalar_type() == at::kDouble ? run(double(0)) : run(float(0));
  return gw;
}

// [autograd]
// Which operator is the gradient of which.
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// A gradient of the gradient would miss what these operators do: an error, not a part of it.
static void once() {
  TORCH_CHECK(!at::GradMode::is_enabled(),
              "a fused operator has no second derivative (create_graph=True): use the network "
              "itself in place of its fused view, or fused='off'");
}

template <typename F>
static auto raw(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<F>();
}

static Tensor blank(const Tensor& x) {
  return at::zeros({}, x.options()).expand(x.sizes());
}

static Maybe given(const Tensor& t) {
  return t.defined() ? Maybe(t) : Maybe();
}

struct NormPact : Function<NormPact> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Maybe& res,
                               const Maybe& code, const Maybe& scale, const Tensor& w,
                               const Tensor& b, const Tensor& alpha, double eps, int64_t n,
                               bool codes) {
    at::AutoDispatchBelowADInplaceOrView below;
    const Maybe& shortcut = code ? code : res;
    auto [y, step, mean, invstd, var] = raw<decltype(norm_pact)>("pact_nb::norm_pact_raw")
                                            .call(x, shortcut, scale, w, b, alpha, eps, n, codes);
    ctx->save_for_backward(
        {x, shortcut.value_or(Tensor()), scale.value_or(Tensor()), w, b, mean, invstd, alpha});
    ctx->set_materialize_grads(false);
    variable_list fixed = {step, mean, var}, out = {y};
    if (codes) {
      fixed.insert(fixed.begin(), y);
      out = {blank(x), blank(x)};
    }
    ctx->mark_non_differentiable(fixed);
    out.insert(out.end(), fixed.begin(), fixed.end());
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    once();
    auto s = ctx->get_saved_variables();
    Tensor g = grads[0], g2 = grads.size() > 4 ? grads[1] : Tensor();
    if (!g.defined()) std::swap(g, g2);
    if (!g.defined()) return variable_list(10);
    auto [gx, h, gw, gb, ga] =
        raw<decltype(norm_pact_backward)>("pact_nb::norm_pact_backward")
            .call(g, given(g2), s[0], given(s[1]), given(s[2]), s[3], s[4], s[5], s[6], s[7]);
    return {
        gx,      s[1].defined() ? h : Tensor(), Tensor(), Tensor(), gw, gb, ga, Tensor(), Tensor(),
        Tensor()};
  }
};

struct DoReFa : Function<DoReFa> {
  static variable_list forward(AutogradContext* ctx, const Tensor& w, int64_t n) {
    at::AutoDispatchBelowADInplaceOrView below;
    auto [out, top, odd, unit] = raw<decltype(dorefa)>("pact_nb::dorefa_raw").call(w, n);
    ctx->save_for_backward({w, top});
    ctx->mark_non_differentiable({top, odd, unit});
    ctx->set_materialize_grads(false);
    return {out, top, odd, unit};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    once();
    auto s = ctx->get_saved_variables();
    if (!grads[0].defined()) return variable_list(2);
    return {raw<decltype(dorefa_backward)>("pact_nb::dorefa_backward").call(grads[0], s[0], s[1]),
            Tensor()};
  }
};

template <bool codes>
static std::vector<Tensor> norm(const Tensor& x, const Maybe& res, const Maybe& code,
                                const Maybe& scale, const Tensor& w, const Tensor& b,
                                const Tensor& alpha, double eps, int64_t n) {
  return NormPact::apply(x, res, code, scale, w, b, alpha, eps, n, codes);
}

static std::vector<Tensor> dorefa_levels(const Tensor& w, int64_t n) {
  return DoReFa::apply(w, n);
}

static Tensor decode(const Tensor& codes_, const Tensor& scale) {
  Tensor codes = last(codes_), y = at::empty_like(codes, scale.options());
  auto run = [&](auto type) {
    using T = decltype(type);
    const uint8_t* c = codes.data_ptr<uint8_t>();
    T *o = y.data_ptr<T>(), s = *scale.data_ptr<T>();
    at::parallel_for(0, codes.numel(), 4096,
                     [&](int64_t b, int64_t e) { to_values(c + b, s, o + b, e - b); });
  };
  scale.scalar_type() == at::kDouble ? run(double(0)) : run(float(0));
  return y;
}

// [operators]
// What torch is told.
TORCH_LIBRARY(pact_nb, m) {
  const std::string in =
      "(Tensor x, Tensor? res, Tensor? res_codes, Tensor? res_step, Tensor w, Tensor b, Tensor "
      "alpha, float eps, int n) -> Tensor[]";
  m.def(("norm_pact" + in).c_str(), &norm<false>);       // [y, step, mean, var]
  m.def(("norm_pact_codes" + in).c_str(), &norm<true>);  // [blank, blank, codes, step, mean, var]
  m.def("dorefa(Tensor w, int n) -> Tensor[]",
        &dorefa_levels);  // [levels, max|w|, 2c - n as int8, 1/n]
  m.def(
      "norm_pact_raw(Tensor x, Tensor? res, Tensor? res_step, Tensor w, Tensor b, Tensor alpha, "
      "float eps, int n, bool codes) -> (Tensor, Tensor, Tensor, Tensor, Tensor)");
  m.def(
      "norm_pact_backward(Tensor g, Tensor? g2, Tensor x, Tensor? res, Tensor? res_step, Tensor w, "
      "Tensor b, Tensor mean, Tensor invstd, Tensor alpha) -> (Tensor, Tensor, Tensor, Tensor, "
      "Tensor)");
  m.def("dorefa_raw(Tensor w, int n) -> (Tensor, Tensor, Tensor, Tensor)");
  m.def("dorefa_backward(Tensor g, Tensor w, Tensor top) -> Tensor");
  m.def("decode(Tensor codes, Tensor step) -> Tensor");
}

TORCH_LIBRARY_IMPL(pact_nb, CPU, m) {
  m.impl("norm_pact_raw", &norm_pact);
  m.impl("norm_pact_backward", &norm_pact_backward);
  m.impl("dorefa_raw", &dorefa);
  m.impl("dorefa_backward", &dorefa_backward);
  m.impl("decode", &decode);
}
