// The convolution of a low-bit layer in whole numbers: codes 0 to 255 by odd numbers -127 to 127,
// sums in 32 bits by oneDNN, one multiplication by both steps at the end. Needs fused.cpp loaded.
// Derived and tested on the page "Convolutions of codes".
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/convolution_backward.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>
using at::IntArrayRef;
using at::Tensor;
using c10::IValue;
using Maybe = std::optional<Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// A gradient of the gradient would miss what these operators do: an error, not a part of it.
static void once() {
  TORCH_CHECK(!at::GradMode::is_enabled(),
              "a fused operator has no second derivative (create_graph=True): use the network "
              "itself in place of its fused view, or fused='off'");
}

static c10::OperatorHandle named(const char* name) {
  return c10::Dispatcher::singleton().findSchemaOrThrow(name, "");
}

static Tensor call(const char* name, std::vector<IValue> stack) {
  named(name).callBoxed(stack);
  return stack.back().toTensor();
}

// [convolution]
// s*u*sum(c*d); in float64, and where a step is not finite, as a convolution of doubles.
static Tensor code_conv(const Tensor& codes, const Tensor& step, const Tensor& odd,
                        const Tensor& unit, const Maybe& bias, IntArrayRef stride, IntArrayRef pad,
                        IntArrayRef dilation) {
  double scale = step.item().toDouble() * unit.item().toDouble();
  if (step.scalar_type() == at::kDouble || !std::isfinite(scale)) {
    Tensor y = at::conv2d(codes.to(step.scalar_type()), odd.to(step.scalar_type()), {}, stride, pad,
                          dilation)
                   .mul_(scale);
    return bias ? y.add_(bias->view({1, -1, 1, 1})) : y;
  }
  Tensor units = at::full({odd.size(0)}, unit.item(), step.options()),
         nil = at::zeros({odd.size(0)}, step.options().dtype(at::kLong));
  double s = step.item().toDouble();
  int64_t zero = 0, one = 1;
  Tensor w = call("onednn::qconv_prepack",
                  {odd, units, s, zero, stride, pad, dilation, one, codes.sizes()});
  return call(
      "onednn::qconv2d_pointwise",
      {codes, s, zero, w, units, nil, bias ? IValue(*bias) : IValue(), stride, pad, dilation, one,
       1.0, zero, at::kFloat, "none", c10::List<std::optional<at::Scalar>>(), ""});
}

// [autograd]
// Backward turns the codes into values and is the gradient of an ordinary convolution.
struct Backward : Function<Backward> {
  static Tensor forward(AutogradContext* ctx, const Tensor& blank, const Tensor& codes,
                        const Tensor& step, const Tensor& w, const Tensor& odd, const Tensor& unit,
                        const Maybe& bias, IntArrayRef stride, IntArrayRef pad,
                        IntArrayRef dilation) {
    at::AutoDispatchBelowADInplaceOrView below;
    ctx->save_for_backward({codes, step, w});
    ctx->set_materialize_grads(false);
    for (auto [key, v] : {std::pair("stride", stride), {"pad", pad}, {"dilation", dilation}})
      ctx->saved_data[key] = v.vec();
    ctx->saved_data["bias"] = bias.has_value();
    return named("pact_nb::code_conv_raw")
        .typed<decltype(code_conv)>()
        .call(codes, step, odd, unit, bias, stride, pad, dilation);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    once();
    if (!grads[0].defined()) return variable_list(10);
    auto s = ctx->get_saved_variables();
    bool bias = ctx->saved_data["bias"].toBool();
    auto list = [&](const char* key) { return ctx->saved_data[key].toIntVector(); };
    std::vector<int64_t> out = {s[2].size(0)}, zero = {0, 0};
    Tensor y =
        named("pact_nb::decode").typed<Tensor(const Tensor&, const Tensor&)>().call(s[0], s[1]);
    auto [gx, gw, gb] = at::convolution_backward(
        grads[0], y, s[2], bias ? at::OptionalIntArrayRef(out) : at::OptionalIntArrayRef(),
        list("stride"), list("pad"), list("dilation"), false, zero, 1,
        {ctx->needs_input_grad(0), true, bias});
    return {gx,       Tensor(), Tensor(), gw, Tensor(), Tensor(), bias ? gb : Tensor(),
            Tensor(), Tensor(), Tensor()};
  }
};

static Tensor apply(const Tensor& blank, const Tensor& codes, const Tensor& step, const Tensor& w,
                    const Tensor& odd, const Tensor& unit, const Maybe& bias, IntArrayRef stride,
                    IntArrayRef pad, IntArrayRef dilation) {
  return Backward::apply(blank, codes, step, w, odd, unit, bias, stride, pad, dilation);
}

TORCH_LIBRARY_FRAGMENT(pact_nb, m) {
  m.def(
      "code_conv(Tensor blank, Tensor codes, Tensor step, Tensor w, Tensor odd, Tensor unit, "
      "Tensor? bias, int[] stride, int[] padding, int[] dilation) -> Tensor",
      &apply);
  m.def(
      "code_conv_raw(Tensor codes, Tensor step, Tensor odd, Tensor unit, Tensor? bias, int[] "
      "stride, int[] padding, int[] dilation) -> Tensor");
}

TORCH_LIBRARY_IMPL(pact_nb, CPU, m) {
  m.impl("code_conv_raw", &code_conv);
}
