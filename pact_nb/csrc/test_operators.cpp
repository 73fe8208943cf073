// The operators against plain loops, without Python. Compile it with fused.cpp and codes.cpp and
// link libtorch_cpu and libc10, as tests/test_csrc.py does; it prints each check, and the exit code
// is the number of those that failed.
#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <cmath>
#include <cstdio>
using at::Tensor;
using Maybe = std::optional<Tensor>;
using Five = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor>;
static int failed = 0;

static void check(const char* what, double off, double most) {
  bool good = off <= most;  // false for NaN
  std::printf("%-52s %.1e, at most %.0e %s\n", what, off, most, good ? "" : "FAILED");
  failed += !good;
}

template <typename F>
static auto op(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<F>();
}

static double off(const Tensor& a, const Tensor& b) {
  return (a - b).abs().max().item<double>();
}

static Five norm_pact(const Tensor& x, const Maybe& r, const Tensor& w, const Tensor& b,
                      const Tensor& alpha, int64_t n, bool codes = false) {
  using F = Five(const Tensor&, const Maybe&, const Maybe&, const Tensor&, const Tensor&,
                 const Tensor&, double, int64_t, bool);
  return op<F>("pact_nb::norm_pact_raw").call(x, r, Maybe(), w, b, alpha, 1e-5, n, codes);
}

// y and z of one channel c of x [N, C], by the formulas
static void plain(const Tensor& x, const Tensor& r, const Tensor& w, const Tensor& b, double alpha,
                  int64_t n, Tensor y) {
  auto X = x.accessor<double, 2>(), R = r.accessor<double, 2>(), Y = y.accessor<double, 2>();
  int64_t N = x.size(0), C = x.size(1);
  for (int64_t c = 0; c < C; c++) {
    double mean = 0, var = 0;
    for (int64_t i = 0; i < N; i++) mean += X[i][c] / N;
    for (int64_t i = 0; i < N; i++) var += (X[i][c] - mean) * (X[i][c] - mean) / N;
    for (int64_t i = 0; i < N; i++) {
      double z = (X[i][c] - mean) / std::sqrt(var + 1e-5) * w[c].item<double>() +
                 b[c].item<double>() + R[i][c];
      double v = std::fmin(std::fmax(z, 0.0), alpha), s = n ? alpha / n : 1;
      Y[i][c] = n ? std::nearbyint(v / s) * s : v;
    }
  }
}

static void test_norm_pact() {
  auto f64 = at::TensorOptions().dtype(at::kDouble);
  Tensor x = 3 * at::randn({70, 5}, f64) + 1, r = at::randn({70, 5}, f64), y = at::empty_like(x);
  Tensor w = at::linspace(-0.5, 1.5, 5, f64), b = at::linspace(1, -1, 5, f64);
  Tensor alpha = at::full({}, 1.1, f64);
  for (int64_t n : {0, 1, 3, 15, 255}) {
    plain(x, r, w, b, 1.1, n, y);
    auto [found, step, mean, invstd, var] = norm_pact(x, r, w, b, alpha, n);
    check("norm_pact: values", off(found, y), 1e-12);
    if (!n) continue;
    auto coded = norm_pact(x, r, w, b, alpha, n, true);
    check("norm_pact: codes times step", off(std::get<0>(coded) * std::get<1>(coded), y), 1e-12);
  }
}

static void test_gradient() {
  auto f64 = at::TensorOptions().dtype(at::kDouble);
  Tensor x = at::randn({40, 3}, f64), r = at::randn({40, 3}, f64), g = at::randn({40, 3}, f64);
  Tensor w = at::ones({3}, f64), b = at::zeros({3}, f64), alpha = at::full({}, 0.9, f64);
  auto loss = [&] {
    return (std::get<0>(norm_pact(x, r, w, b, alpha, 0)) * g).sum().item<double>();
  };
  auto [y, step, mean, invstd, var] = norm_pact(x, r, w, b, alpha, 0);
  using F = Five(const Tensor&, const Maybe&, const Tensor&, const Maybe&, const Maybe&,
                 const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Tensor&);
  auto [gx, gr, gw, gb, ga] = op<F>("pact_nb::norm_pact_backward")
                                  .call(g, Maybe(), x, r, Maybe(), w, b, mean, invstd, alpha);
  std::vector<std::tuple<const char*, Tensor, Tensor>> all = {
      {"x", x, gx}, {"r", r, gr}, {"gamma", w, gw}, {"beta", b, gb}, {"alpha", alpha, ga}};
  for (auto& [name, of, found] : all) {  // central differences; no z lies within 1e-6 of a kink
    Tensor flat = of.view(-1), wanted = at::empty_like(flat);
    for (int64_t i = 0; i < flat.numel(); i++) {
      double v = flat[i].item<double>(), h = 1e-6;
      flat[i].fill_(v + h);
      double up = loss();
      flat[i].fill_(v - h);
      wanted[i].fill_((up - loss()) / (2 * h));
      flat[i].fill_(v);
    }
    check((std::string("norm_pact: gradient of ") + name).c_str(), off(found.view(-1), wanted),
          1e-6);
  }
}

static void test_dorefa() {
  auto f64 = at::TensorOptions().dtype(at::kDouble);
  Tensor w = at::randn({33, 60}, f64), t = w.tanh(), m = t.abs().max();
  for (int64_t n : {3, 15, 255}) {
    using F = std::tuple<Tensor, Tensor, Tensor, Tensor>(const Tensor&, int64_t);
    auto [levels, top, odd, unit] = op<F>("pact_nb::dorefa_raw").call(w, n);
    Tensor wanted = 2 * at::round((t / m / 2 + 0.5) * n) / n - 1;
    check("dorefa: levels", off(levels, wanted), 1e-14);
    if (n < 128) check("dorefa: odd numbers times unit", off(odd * unit, wanted), 1e-14);
  }
}

static void test_codes() {
  auto codes = at::randint(0, 256, {2, 4, 6, 6}).to(at::kByte);
  auto odd = at::randint(-127, 128, {3, 4, 3, 3}).to(at::kChar);
  Tensor sums = at::conv2d(codes.to(at::kDouble), odd.to(at::kDouble), {}, 1, 1);
  using F = Tensor(const Tensor&, const Tensor&, const Tensor&, const Tensor&, const Maybe&,
                   at::IntArrayRef, at::IntArrayRef, at::IntArrayRef);
  for (auto type : {at::kDouble, at::kFloat}) {
    Tensor one = at::ones({}, type);
    std::vector<int64_t> ones = {1, 1};
    Tensor found = op<F>("pact_nb::code_conv_raw")
                       .call(codes.contiguous(at::MemoryFormat::ChannelsLast), one, odd, one,
                             Maybe(), ones, ones, ones);
    check("code_conv: whole sums", off(found.to(at::kDouble), sums), 0);
  }
}

static void test_bits() {
  auto u8 = at::TensorOptions().dtype(at::kByte);
  using F = Tensor(const Tensor&, const Tensor&, int64_t, int64_t, int64_t, int64_t, int64_t);
  using G =
      Tensor(const Tensor&, const Tensor&, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t);
  Tensor q = at::randint(0, 4, {2, 6, 7, 8}, u8), w = 2 * at::randint(0, 2, {5, 8, 3, 3}) - 1;
  Tensor want = at::conv2d(q.permute({0, 3, 1, 2}).to(at::kDouble), w.to(at::kDouble), {}, 1, 1)
                    .permute({0, 2, 3, 1});
  Tensor words = at::zeros({9, 1, 5}, at::kLong), places = at::zeros({1, 9, 2, 32}, u8);
  auto W = w.to(at::kLong).contiguous();
  for (int64_t o = 0; o < 5; o++)
    for (int64_t c = 0; c < 8; c++)
      for (int64_t t = 0; t < 9; t++) {
        if (W[o][c][t / 3][t % 3].item<int64_t>() < 0) continue;
        words[t][0][o] += int64_t(1) << c;
        places[0][t][c / 4][o] += 1 << (c % 4);
      }
  Tensor count = op<F>("pact_nb::bit_count").call(q, words, 5, 3, 1, 1, 2);
  check("bits by counting, 5 channels of 8", off(count.to(at::kDouble), want), 0);
  Tensor look = op<G>("pact_nb::bit_lookup").call(q, places, 5, 3, 1, 1, 3, 0);
  check("bits by look-up, 5 channels of 8", off(look.to(at::kDouble), want), 0);
}

int main() {
  at::manual_seed(0);
  test_norm_pact();
  test_gradient();
  test_dorefa();
  test_codes();
  test_bits();
  std::printf("%d failed\n", failed);
  return failed;
}
