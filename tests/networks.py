"""Small networks as people write them, each with the verdict that `quantize` must reach.

A verdict is one of
    right                    every step works, at 32 bits it is the network bit for bit
    refused:WORDS            ValueError that holds one of WORDS (separated by |)
    warned:WORDS             right, and a warning that holds one of WORDS
    told:WORDS               refused or warned, with one of WORDS
    right or refused:WORDS   either
"""
import copy
import math
import pickle
import random
import types
from collections import namedtuple
from dataclasses import dataclass, field
from typing import Callable, Optional

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint, checkpoint_sequential
from torchvision.ops import FrozenBatchNorm2d, StochasticDepth

from judge import off_grid
from pact_nb.layers import quantize
from pact_nb.pact import PACT

CASES: dict[str, "Case"] = {}


@dataclass(frozen=True)
class Case:
    "One network: how it is built, what it reads, and what must come of it."
    name: str
    kind: str  # which kind of issue 17
    build: Callable  # () → module; its weights depend on torch's seed alone
    expect: str = "right"
    shapes: tuple = ((4, 3, 8, 8),)  # of its inputs
    low: tuple = ()  # layers that must claim 4-bit weights and 4-bit input
    whole: tuple = ()  # layers whose weights must stay float
    unsigned: tuple = ()  # layers that must read no two-sided quantizer
    signed: tuple = ()  # layers that must read two-sided quantizers alone
    options: dict = field(default_factory=dict)  # of `quantize` at 4 bits
    extra: Optional[Callable] = None  # (net, low, x, warnings): raises AssertionError
    inputs: Optional[Callable] = None  # () → tuple of tensors, in place of `shapes`
    without: tuple = ()  # steps that have no meaning for this network

    def make(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.build()

    def x(self) -> tuple:
        torch.manual_seed(7)
        return self.inputs() if self.inputs else tuple(torch.randn(s) for s in self.shapes)


def case(kind: str, expect: str = "right", name: str = "", **more) -> Callable:
    "Put a class or function that builds a network into `CASES`."
    def put(build):
        words = name or build.__name__.strip("_").lower()
        assert words not in CASES, words
        CASES[words] = Case(words, kind, build, expect, **more)
        return build
    return put


BC = ("b", "c")


class Three(nn.Module):
    "Three 3×3 convolutions and a classifier, no batch norm."
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 4)

    def start(self, x): return F.relu(self.a(x))
    def tail(self, x): return self.fc(F.relu(self.c(x)).mean((2, 3)))
    def forward(self, x): return self.tail(F.relu(self.b(self.start(x))))


class Dense(nn.Module):
    "Four linear layers on [N, 6]."
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 12), nn.Linear(12, 12)
        self.c, self.d = nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, x): return self.d(F.relu(self.c(F.relu(self.b(F.relu(self.a(x)))))))


ROWS = ((5, 6),)


def tower(conv=nn.Conv2d, norm=nn.BatchNorm2d, act=nn.ReLU, stem=None) -> nn.Sequential:
    "stem, two blocks, head; layers 0, 3, 6, 11."
    def block(kind, i): return [kind(i, 8, 3, padding=1, bias=False), norm(8), act()]
    return nn.Sequential(*block(stem or conv, 3), *block(conv, 8), *block(conv, 8),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def settled(net: nn.Module, *x: Tensor) -> nn.Module:
    "Batch norm with statistics of some batches, then evaluation mode."
    with torch.no_grad():
        for _ in range(20): net.train()(*(x or (torch.randn(8, 3, 8, 8),)))
    return net.eval()


def case_of(kind: str, name: str, build: Callable, expect: str = "right", **more) -> None:
    case(kind, expect, name, **more)(build)


# ---------------------------------------------------------------- plain networks that must work
case_of("plain", "sequential with batch norm", tower, low=("3", "6"))
case_of("plain", "relu6", lambda: tower(act=nn.ReLU6), low=("3", "6"))
case_of("plain", "in-place relu modules", lambda: tower(act=lambda: nn.ReLU(inplace=True)),
        low=("3", "6"))
case_of("plain", "leaky relu", lambda: tower(act=lambda: nn.LeakyReLU(0.1)), low=("3", "6"),
        signed=("3", "6"))
case_of("plain", "silu", lambda: tower(act=nn.SiLU), low=("3", "6"), signed=("3", "6"))
case_of("plain", "group norm", lambda: tower(norm=lambda c: nn.GroupNorm(2, c)), low=("3", "6"))
case_of("plain", "batch norm without weights",
        lambda: tower(norm=lambda c: nn.BatchNorm2d(c, affine=False)), low=("3", "6"))
case_of("plain", "three functional relus", Three, low=BC)
case_of("plain", "mlp", Dense, shapes=ROWS, low=BC)
case_of("plain", "float64", lambda: Three().double(), low=BC,
        inputs=lambda: (torch.randn(4, 3, 8, 8, dtype=torch.float64),))
case_of("plain", "bfloat16", lambda: Three().bfloat16(), low=BC,
        inputs=lambda: (torch.randn(4, 3, 8, 8).bfloat16(),))


@case("plain", shapes=((4, 2, 40),), low=BC)
class Sound(nn.Module):
    "Conv1d with functional max pooling."
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv1d(2, 8, 5, stride=2), nn.Conv1d(8, 8, 3)
        self.c, self.fc = nn.Conv1d(8, 8, 3), nn.Linear(8, 3)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        x = F.max_pool1d(F.relu(self.norm(self.a(x))), 2)
        return self.fc(F.relu(self.c(F.relu(self.b(x)))).mean(-1))


@case("plain", low=("blocks.0", "blocks.1", "heads.cls"))
class Lists(nn.Module):
    "ModuleList in a loop, ModuleDict by name."
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3)
        self.blocks = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(2))
        self.heads = nn.ModuleDict(dict(cls=nn.Conv2d(8, 8, 1), box=nn.Conv2d(8, 4, 1)))

    def forward(self, x):
        x = self.stem(x).relu()
        for i, block in enumerate(self.blocks): x = x + block(x).relu() if i else block(x).relu()
        return self.heads["box"](self.heads["cls"](x).relu_()).flatten(1)


@case("plain", low=BC)
class DictOut(Three):
    def forward(self, x):
        h = F.relu(self.b(self.start(x)))
        return {"logits": self.tail(h), "features": [h, h.mean()], "name": "net"}


Both = namedtuple("Both", "logits features")


@case("plain", low=BC)
class NamedTupleOut(Three):
    def forward(self, x):
        h = F.relu(self.b(self.start(x)))
        return Both(logits=self.tail(h), features=h)


@case("plain", shapes=((3, 3, 8, 8), (3, 1, 8, 8)), low=("mix",))
class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.rgb, self.depth = nn.Conv2d(3, 6, 3), nn.Conv2d(1, 6, 3)
        self.mix, self.out = nn.Conv2d(12, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, rgb, depth):
        both = torch.cat([F.relu(self.rgb(rgb)), F.relu(self.depth(depth))], 1)
        return self.out(F.relu(self.mix(both)))


@case("plain", low=BC)
class FunctionalDropout(Three):
    def forward(self, x):
        x = F.dropout(self.start(x), 0.3, self.training)
        return self.tail(F.dropout2d(F.relu(self.b(x)), p=0.2, training=self.training))


@case("plain", low=("b.0", "c.0"))
class Residual(nn.Module):
    "A pre-activation block with a frozen layer."
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.n1, self.n2 = nn.BatchNorm2d(8), nn.BatchNorm2d(8)
        self.b, self.c = (nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)) for _ in range(2))
        self.fc, self.relu = nn.Linear(8, 4), nn.ReLU()
        self.b.requires_grad_(False)

    def forward(self, x):
        x = self.a(x)
        x = x + self.c(self.relu(self.n2(self.b(self.relu(self.n1(x))))))
        return self.fc(self.relu(x).mean([2, 3]))


@case("plain", low=("up", "mid"))
class AutoEncoder(nn.Module):
    "Transposed convolutions, one with output_padding."
    def __init__(self):
        super().__init__()
        self.down, self.mid = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1)
        self.out = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, x):
        return torch.sigmoid(self.out(F.relu(self.up(F.relu(self.mid(F.relu(self.down(x))))))))


@case("plain", shapes=((2, 5, 8),), low=("qkv", "proj", "up"))
class Attention(nn.Module):
    "Own attention and MLP on [N, T, C]."
    def __init__(self):
        super().__init__()
        self.embed, self.norm = nn.Linear(8, 16), nn.LayerNorm(16)
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x):
        x = self.embed(x)
        n, t, c = x.shape
        q, k, v = self.qkv(self.norm(x)).reshape(n, t, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        w = (q @ k.transpose(-2, -1) / math.sqrt(8)).softmax(-1)
        x = x + self.proj((w @ v).transpose(1, 2).reshape(n, t, c))
        return self.down(F.gelu(self.up(x)))


@case("plain", low=BC)
class BySize(Three):
    "The tail of older tutorials."
    def forward(self, x):
        x = F.relu6(self.c(F.relu6(self.b(self.start(x)))))
        x = F.avg_pool2d(x, x.size()[3])
        return self.fc(x.view(x.size(0), -1))


@case("plain", low=BC)
class OddOrder(nn.Module):
    "Registered from the last layer to the first."
    def __init__(self):
        super().__init__()
        self.relu, self.fc = nn.ReLU(), nn.Linear(8, 4)
        self.c, self.b = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.a = nn.Conv2d(3, 8, 3)

    def forward(self, x):
        return self.fc(self.relu(self.c(self.relu(self.b(self.relu(self.a(x)))))).mean((2, 3)))


@case("plain", low=BC, whole=("left", "right"))
class TwoStems(nn.Module):
    "Two layers read the image, both are the first."
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 8, 1)
        self.b, self.c = nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.left(x) + self.right(x))
        return self.fc(F.relu(self.c(F.relu(self.b(x)))).mean((2, 3)))


@case("plain", "right or refused:tensor|dict|input", low=BC,
      inputs=lambda: (dict(image=torch.randn(4, 3, 8, 8), scale=torch.tensor(0.5)),))
class DictIn(Three):
    def forward(self, batch): return super().forward(batch["image"] * batch["scale"])


@case("plain", "right or refused:tensor|list|input", low=BC,
      inputs=lambda: ([torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)],))
class ListIn(Three):
    def forward(self, xs): return super().forward(xs[0] + xs[1])


@case("plain", low=BC)
class RandomDepthModule(Three):
    "torchvision's stochastic depth on a branch."
    def __init__(self):
        super().__init__()
        self.drop = StochasticDepth(0.5, "row")

    def forward(self, x):
        h = self.start(x)
        return self.tail(F.relu(h + self.drop(self.b(h))))


def drop_path(y, p, training):
    "Stochastic depth, as copied from network to network."
    if not training: return y
    mask = y.new_empty((y.shape[0],) + (1,) * (y.ndim - 1)).bernoulli_(1 - p)
    mask.div_(1 - p)
    return y * mask


@case("plain", low=BC)
class RandomDepthFunction(Three):
    "Two branches dropped by a function; steps that training alone has."
    def forward(self, x):
        h = self.start(x)
        h = F.relu(h + drop_path(self.b(h), 0.5, self.training))
        return self.tail(F.relu(h + drop_path(self.c(h), 0.5, self.training)))


class DropRate(nn.Module):
    "A user's own module, by another name than others give it."
    def forward(self, x): return drop_path(x, 0.5, self.training)


@case("plain", low=BC)
class RandomDepthAdded(Three):
    "The branch takes its shortcut in-place: in evaluation that is the layer's own result."
    def __init__(self):
        super().__init__()
        self.drop = DropRate()

    def forward(self, x):
        h = self.start(x)
        y = self.drop(self.b(h))
        y += h
        return self.tail(F.relu(y))


@case("plain", low=BC)
class RandomDepthFloored(Three):
    "The mask of EfficientNet's early ports: a floor of keep + rand."
    def forward(self, x):
        h = self.start(x)
        y = self.b(h)
        if self.training:
            r = torch.rand([y.shape[0], 1, 1, 1], dtype=y.dtype, device=y.device) + 0.5
            y = y / 0.5 * torch.floor(r)
        return self.tail(F.relu(y + h))


@case("plain", low=BC)
class NoiseInTraining(Three):
    "Noise in front of an activation, read once."
    def forward(self, x):
        y = self.b(self.start(x))
        if self.training: y = y + 0.1 * torch.randn_like(y)
        return self.tail(F.relu(y))


@case("plain", low=BC)
class MaskOfTwoBranches(Three):
    "One mask, read by two products of training."
    def forward(self, x):
        h = self.start(x)
        y, z = self.b(h), self.c(h)
        if self.training:
            mask = y.new_empty((y.shape[0], 1, 1, 1)).bernoulli_(0.5)
            y, z = y * mask, z * mask
        return self.tail(F.relu(F.relu(y + h) + z))


@case("plain", "told:converted module by module")
class ScaledWithoutGradient(Three):
    "The size that training divides by has no gradient."
    def forward(self, x):
        y = self.b(self.start(x))
        if self.training:
            with torch.no_grad(): size = y.abs().mean() + 1
            y = y / size
        return self.tail(F.relu(y))


@case("plain", "told:converted module by module")
class NoiseReadTwice(Three):
    "What evaluation reads is changed in-place behind the training's step, and read again."
    def forward(self, x):
        y = self.b(self.start(x))
        z = y * 0.5 if self.training else y
        z += 1
        return self.tail(F.relu(y + z))


@case("plain", low=BC)
class Penalty(Three):
    "The size of a weight is a second output."
    def forward(self, x): return super().forward(x), self.b.weight.pow(2).sum()


# ------------------------------------------------- kind 3: what quantize does not reach is said
@case("3 unreached", "told:kernels")
class AllFunctional(nn.Module):
    "Every convolution is a bare parameter."
    def __init__(self):
        super().__init__()
        sizes = (3, 8), (8, 8), (8, 8)
        self.kernels = nn.ParameterList(nn.Parameter(torch.randn(o, i, 3, 3) / 9) for i, o in sizes)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        for w in self.kernels: x = F.relu(F.conv2d(x, w, padding=1))
        return self.fc(x.mean((2, 3)))


@case("3 unreached", shapes=ROWS, low=("b", "c"))
class BareMatmul(Dense):
    "A weight used with @, and one in einsum."
    def __init__(self):
        super().__init__()
        self.mix, self.turn = (nn.Parameter(torch.randn(12, 12) / 4) for _ in range(2))

    def forward(self, x):
        x = F.relu(self.b(F.relu(self.a(x) @ self.mix)))
        return self.d(F.relu(self.c(F.relu(torch.einsum("nc,cd->nd", x, self.turn)))))


@case("3 unreached", low=("b",), whole=("fc",))
class BareInBetween(Three):
    "F.conv2d with the weight of a module that is never called."
    def forward(self, x):
        x = F.relu(self.b(self.start(x)))
        return self.fc(F.relu(F.conv2d(x, self.c.weight, self.c.bias)).mean((2, 3)))


@case("3 unreached", low=("c",))
class MaskedWeight(Three):
    "A convolution with part of its weight, as in autoregressive models."
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.ones(3, 3).tril())

    def forward(self, x):
        x = F.conv2d(self.start(x), self.b.weight * self.mask, self.b.bias, padding=1)
        return self.tail(F.relu(x))


@case("3 unreached", low=("c",))
class CallsForward(Three):
    "layer.forward(x) in place of layer(x)."
    def forward(self, x): return self.tail(F.relu(self.b.forward(self.start(x))))


class MyConv(nn.Conv2d):
    "Nothing changed but the name."


class Conv3x3(nn.Conv2d):
    "Another signature, the same computation."
    def __init__(self, i, o, *sizes, stride=1, padding=1, bias=False):
        super().__init__(i, o, 3, stride, padding, bias=bias)


class LoudLinear(nn.Linear):
    "Linear by another road."
    def forward(self, input): return F.linear(input, self.weight, self.bias)


class Sneaky(nn.Conv2d):
    "The parent's forward, another computation within it."
    def _conv_forward(self, x, w, b): return super()._conv_forward(x.flip(-1), w.abs(), b)


class Adapted(nn.Linear):
    "A linear layer with a low-rank term beside it."
    def __init__(self, i, o):
        super().__init__(i, o)
        self.down, self.up = nn.Linear(i, 2, bias=False), nn.Linear(2, o, bias=False)

    def forward(self, x): return super().forward(x) + self.up(self.down(x))


@case("3 unreached", "right or refused:Sneaky|b", low=("c",))
class SneakyMiddle(Three):
    def __init__(self):
        super().__init__()
        self.b = Sneaky(8, 8, 3, padding=1)


@case("3 unreached", shapes=ROWS, low=("c",))
class LowRank(Dense):
    def __init__(self):
        super().__init__()
        self.b = Adapted(12, 12)


class Shifted(nn.ReLU):
    "Called a relu, and is something else."
    def forward(self, x): return super().forward(x) - 0.5


class MyReLU(nn.ReLU):
    "Nothing changed but the name."


case_of("3 unreached", "subclassed relu", lambda: tower(act=MyReLU), low=("3", "6"),
        unsigned=("3", "6"))
case_of("3 unreached", "shifted relu", lambda: tower(act=Shifted), low=("3", "6"),
        signed=("3", "6"))


class FixedBatchNorm(nn.BatchNorm2d):
    "Nothing changed but the name."


case_of("3 unreached", "subclassed convolutions", lambda: tower(MyConv), low=("3", "6"))
case_of("3 unreached", "subclass with another signature", lambda: tower(Conv3x3), low=("3", "6"))
case_of("3 unreached", "subclassed stem", lambda: tower(stem=MyConv), low=("3", "6"),
        whole=("0",))


@case("3 unreached", shapes=ROWS, low=("c",))
class SubclassedLinear(Dense):
    def __init__(self):
        super().__init__()
        self.a, self.b = LoudLinear(6, 12), LoudLinear(12, 12)


class Standardised(nn.Conv2d):
    "Weight standardisation."
    def forward(self, x):
        w = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        w = w / (w.flatten(1).std(1).view(-1, 1, 1, 1) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding, self.dilation, self.groups)


class Same(nn.Conv2d):
    "Padding as TensorFlow pads, from the size of the input."
    def forward(self, x):
        h, w = x.shape[-2:]
        s, k = self.stride[0], self.kernel_size[0]
        dy = max((math.ceil(h / s) - 1) * s + k - h, 0)
        dx = max((math.ceil(w / s) - 1) * s + k - w, 0)
        x = F.pad(x, [dx // 2, dx - dx // 2, dy // 2, dy - dy // 2])
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def same_stem(i, o, k, padding=0, bias=True): return Same(i, o, k, stride=2, bias=bias)


case_of("3 unreached", "weight-standardised", lambda: tower(Standardised), "told:Standardised|3|6")
case_of("3 unreached", "weight-standardised stem", lambda: tower(stem=Standardised),
        low=("3", "6"))
case_of("3 unreached", "padding of its own, stem", lambda: tower(stem=same_stem), low=("3", "6"))


@case("3 unreached", low=("c",))
class StandardisedMiddle(Three):
    def __init__(self):
        super().__init__()
        self.b = Standardised(8, 8, 3, padding=1)


class Symmetric(nn.Module):
    "A parametrization that mirrors kernels."
    def forward(self, w): return (w + w.flip(-1)) / 2


def _with_middle(change: Callable) -> nn.Module:
    "Three convolutions, the middle one changed in place."
    net = Three()
    change(net.b)
    return net


def _everywhere(change: Callable) -> nn.Module:
    net = Three()
    for layer in (net.a, net.b, net.c): change(layer)
    return net


def _one_step(net: nn.Module) -> nn.Module:
    "After one training step, as a checkpoint in memory is."
    net.train()(torch.randn(4, 3, 8, 8)).pow(2).mean().backward()
    return net


def _mirror(m): parametrize.register_parametrization(m, "weight", Symmetric())
def _prune(m): prune.l1_unstructured(m, "weight", 0.5)


def _pruned_for_good() -> nn.Module:
    net = _with_middle(_prune)
    prune.remove(net.b, "weight")
    return net


def _old_weight_norm(m): torch.nn.utils.weight_norm(m)
def _old_spectral_norm(m): torch.nn.utils.spectral_norm(m)


case_of("3 unreached", "parametrized middle", lambda: _with_middle(_mirror), low=("c",))
case_of("3 unreached", "weight norm everywhere", lambda: _everywhere(parametrizations.weight_norm),
        "told:weight_norm|WeightNorm|parametri")
case_of("3 unreached", "weight norm in the middle",
        lambda: _with_middle(parametrizations.weight_norm), low=("c",))
case_of("3 unreached", "spectral norm in the middle",
        lambda: _with_middle(parametrizations.spectral_norm), low=("c",))
case_of("3 unreached", "old weight norm, trained",
        lambda: _one_step(_with_middle(_old_weight_norm)), "refused:weight_norm")
case_of("3 unreached", "old weight norm, new", lambda: _everywhere(_old_weight_norm),
        "right or refused:weight_norm")
case_of("3 unreached", "old spectral norm, trained",
        lambda: _one_step(_with_middle(_old_spectral_norm)), "right or refused:spectral_norm")
case_of("3 unreached", "pruned", lambda: _with_middle(_prune), "refused:prune|prune.remove|mask")
case_of("3 unreached", "pruned and trained", lambda: _one_step(_everywhere(_prune)),
        "refused:prune|prune.remove|mask")
case_of("3 unreached", "pruned for good", _pruned_for_good, low=BC)


@case("3 unreached", "told:Conv3d", shapes=((2, 2, 4, 6, 6),))
def _video():
    return nn.Sequential(nn.Conv3d(2, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(),
                         nn.Conv3d(6, 6, 3, padding=1), nn.BatchNorm3d(6), nn.ReLU(),
                         nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(6, 3))


@case("3 unreached", low=("b",))
class Conv3dBetween(Three):
    def __init__(self):
        super().__init__()
        self.deep = nn.Conv3d(1, 1, 3, padding=1)

    def forward(self, x):
        h = F.relu(self.b(self.start(x)))
        return self.tail(F.relu(self.deep(h.unsqueeze(1)).squeeze(1)))


@case("3 unreached", shapes=((3, 5, 6),), low=("b",))
class WithLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 12), nn.Linear(12, 12)
        self.rnn, self.c = nn.LSTM(12, 8, batch_first=True, bidirectional=True), nn.Linear(16, 2)

    def forward(self, x):
        out, (h, c) = self.rnn(F.relu(self.b(F.relu(self.a(x)))))
        return self.c(out[:, -1])


@case("3 unreached", shapes=((3, 5, 6),), low=("b",))
class WithAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 8)
        self.mix, self.c = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 2)

    def forward(self, x):
        x = F.relu(self.a(x))
        x = x + self.mix(x, x, x, need_weights=False)[0]
        return self.c(F.relu(self.b(x)).mean(1))


@case("3 unreached", low=BC, inputs=lambda: (torch.randint(0, 20, (4, 7)),))
class Words(nn.Module):
    "Embedding, pooled."
    def __init__(self):
        super().__init__()
        self.table, self.a = nn.Embedding(20, 8), nn.Linear(8, 12)
        self.b, self.c, self.d = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, ids):
        x = F.relu(self.a(self.table(ids).mean(1)))
        return self.d(F.relu(self.c(F.relu(self.b(x)))))


@case("3 unreached", "right or refused:cell|b|shape|traced", shapes=((3, 4, 6),))
class Cell(nn.Module):
    "A recurrent cell in a loop over the length, state made from the batch size."
    def __init__(self):
        super().__init__()
        self.a, self.cell, self.b = nn.Linear(6, 8), nn.GRUCell(8, 8), nn.Linear(8, 8)
        self.c = nn.Linear(8, 2)

    def forward(self, x):
        h = torch.zeros(x.shape[0], 8)
        for t in range(4): h = self.cell(F.relu(self.a(x[:, t])), h)
        return self.c(F.relu(self.b(h)))


def _exported() -> nn.Module:
    return torch.export.export(tower().eval(), (torch.randn(4, 3, 8, 8),)).module()


case_of("3 unreached", "exported program", _exported, "told:export|3.weight|conv",
        without=("modes", "train", "step"))
case_of("3 unreached", "two layers", lambda: nn.Sequential(
    nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), nn.Linear(16, 4)), "told:first|last")
case_of("3 unreached", "nothing to quantize", lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()),
        "told:nothing|no layer|no convolution|no weight")
case_of("3 unreached", "lazy", lambda: nn.Sequential(
    nn.LazyConv2d(8, 3), nn.ReLU(), nn.LazyConv2d(8, 3), nn.ReLU(), nn.LazyConv2d(2, 1)),
    "refused:lazy|uninitialized|initialise|first batch")


def _row(low, name):
    "The row of a layer in the report."
    from pact_nb.layers import report
    found = [r for r in report(low) if r["layer"] == name]
    assert found, f"report has no row for {name}"
    return found[0]


def _shortcut_told(net, low, x, said):
    "The projection of a shortcut is float, or was named."
    named = any("down" in w for w in said)
    assert named or _row(low, "down.0")["w_bits"] == 32, "fp_shortcut: a projection is low-bit"


class Projected(nn.Module):
    "A residual block whose shortcut is projected."
    def __init__(self, kernel=1, norm=nn.BatchNorm2d):
        super().__init__()
        self.a, self.na = nn.Conv2d(3, 8, 3, padding=1), norm(8)
        self.b, self.nb = nn.Conv2d(8, 8, 3, 2, 1), norm(8)
        self.c, self.nc = nn.Conv2d(8, 8, 3, padding=1), norm(8)
        self.down = nn.Sequential(nn.Conv2d(8, 8, kernel, 2, kernel // 2), norm(8))
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        x = F.relu(self.na(self.a(x)))
        y = self.nc(self.c(F.relu(self.nb(self.b(x)))))
        return self.fc(F.relu(y + self.down(x)).mean((2, 3)))


PROJECTIONS = dict(plain={}, groups=dict(norm=lambda c: nn.GroupNorm(2, c)), wide=dict(kernel=3),
                   instance=dict(norm=nn.InstanceNorm2d))
for _name, _how in PROJECTIONS.items():
    case_of("3 unreached", f"float shortcut, {_name}", lambda how=_how: Projected(**how),
            "right or refused:down|shortcut", low=BC, options=dict(fp_shortcut=True),
            extra=_shortcut_told)


# ----------------------------------------------- kind 4: what tracing loses is said or kept
class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x): return F.relu(self.norm(self.conv(x)))


class Blocks(nn.Module):
    "A stem and two blocks."
    def __init__(self):
        super().__init__()
        self.a, self.one, self.two = nn.Conv2d(3, 8, 3, padding=1), Block(), Block()
        self.fc = nn.Linear(8, 4)

    def forward(self, x): return self.fc(self.two(self.one(F.relu(self.a(x)))).mean((2, 3)))


CONVS = ("one.conv", "two.conv")


def _hooked(where: str, hook: Callable, before: bool = False) -> nn.Module:
    net = Blocks()
    part = net.get_submodule(where)
    (part.register_forward_pre_hook if before else part.register_forward_hook)(hook)
    return net


SEEN: list = []


def _look(module, args, out): SEEN.append(type(module).__name__)


def _hook_told(net, low, x, said):
    "A hook that looks on is called, or its loss is told."
    SEEN.clear()
    low(*x)
    assert SEEN or any("hook" in w for w in said), "a hook is not called and nobody said so"


case_of("4 lost", "hook that changes a block", lambda: _hooked("one", lambda m, a, out: out * 3),
        "right or refused:hook")
case_of("4 lost", "hook that changes the image",
        lambda: _hooked("", lambda m, a: (a[0] * 2 - 1,), True), "right or refused:hook")
case_of("4 lost", "hook that changes the logits", lambda: _hooked("", lambda m, a, out: out + 1),
        "right or refused:hook")
case_of("4 lost", "hook that changes a layer", lambda: _hooked("one.conv", lambda m, a, o: o + 1),
        "right or refused:hook", low=CONVS)
case_of("4 lost", "hook that looks at a block", lambda: _hooked("two", _look), low=CONVS,
        extra=_hook_told)
case_of("4 lost", "hook that looks at the whole", lambda: _hooked("", _look), low=CONVS,
        extra=_hook_told)


def _backward_told(net, low, x, said):
    "A backward hook of a block is called, or its loss is told."
    SEEN.clear()
    loss = low.train()(*x).sum()
    loss.backward()
    assert SEEN or any("hook" in w for w in said), "a backward hook is gone and nobody said so"


def _looks_back() -> nn.Module:
    net = Blocks()
    net.two.register_full_backward_hook(lambda m, into, out: SEEN.append("back"))
    return net


def _by_keyword() -> nn.Module:
    net = Blocks()
    net.two.register_forward_hook(lambda m, args, kwargs, out: out + 1, with_kwargs=True)
    return net


case_of("4 lost", "backward hook", _looks_back, low=CONVS, extra=_backward_told)
case_of("4 lost", "hook with keywords", _by_keyword, "right or refused:hook", low=CONVS)


def _recomputes(net, low, x, said):
    "In a training step a checkpointed layer runs twice, or its loss is told."
    calls = []
    handle = low.get_submodule("two.conv").register_forward_hook(lambda *a: calls.append(1))
    low.train()(*x).sum().backward()
    handle.remove()
    assert len(calls) == 2 or any("checkpoint" in w for w in said), "checkpoint is gone, unheard"


# computed twice, batch norm counts twice: without checkpoint() buffers differ after training
@case("4 lost", "right or refused:checkpoint", low=CONVS, extra=_recomputes, without=("train",))
class Checkpointed(Blocks):
    def forward(self, x):
        x = checkpoint(self.one, F.relu(self.a(x)), use_reentrant=False)
        x = checkpoint(lambda y: self.two(y), x, use_reentrant=False)
        return self.fc(x.mean((2, 3)))


@case("4 lost", "right or refused:checkpoint", extra=_recomputes, without=("train",))
class CheckpointedBody(Blocks):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(self.one, self.two)

    def forward(self, x):
        x = checkpoint_sequential(self.body, 2, F.relu(self.a(x)), use_reentrant=False)
        return self.fc(x.mean((2, 3)))


def _is_sequential(net, low, x, said):
    "The body can be counted, indexed and walked through as before."
    assert len(low.body) == 5 and hasattr(low.body[-1], "weight")
    assert [hasattr(m, "weight") for m in low.body] == [True, False, True, False, True]
    low.head[1] = nn.Linear(8, 9)
    assert low(*x).shape == (4, 9), "a new head changes nothing"


@case("4 lost", low=("body.2", "body.4"), extra=_is_sequential)
class Indexed(nn.Module):
    "Goes through a Sequential by index and by iteration."
    def __init__(self):
        super().__init__()
        layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1)
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(8, 4))

    def forward(self, x):
        x = self.body[0](x)
        for layer in self.body[1:]: x = layer(x)
        return self.head(F.relu(x).mean((2, 3)))


@case("4 lost", low=BC)
class Unused(Three):
    "Parameters and buffers that forward does not read."
    def __init__(self):
        super().__init__()
        self.spare, self.teacher = nn.Linear(3, 3), nn.Parameter(torch.randn(4, 4))
        self.register_buffer("seen", torch.zeros(3))


@case("4 lost", low=BC)
class OwnMethods(Three):
    "forward by way of methods, a property and a static method."
    width = property(lambda self: self.fc.in_features)

    @staticmethod
    def squash(x): return F.relu(x)

    def features(self, x): return self.squash(self.b(self.squash(self.a(x))))
    def forward(self, x): return self.tail(self.features(x)) / self.width


# ------------------------------------- kind 5: tensors made in forward, buffers, frozen norms
@case("5 constants", low=BC)
class NormalisesItself(Three):
    def forward(self, x):
        mean = torch.tensor([0.48, 0.45, 0.40]).view(1, 3, 1, 1)
        return super().forward((x - mean) / torch.tensor([0.2, 0.2, 0.3])[:, None, None])


@case("5 constants", low=BC)
class ReshapedBuffer(Three):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.rand(3))
        self.register_buffer("order", torch.tensor([2, 0, 1]), persistent=False)

    def forward(self, x): return super().forward(x[:, self.order] - self.mean.reshape(1, -1, 1, 1))


@case("5 constants", low=BC)
class PlainTensorAttribute(Three):
    def __init__(self):
        super().__init__()
        self.gain = torch.tensor(1.5)

    def forward(self, x): return super().forward(x * self.gain.expand(1, 1, 1, 1))


@case("5 constants", low=BC)
class Positions(Three):
    "A ramp and a mask made in forward."
    def forward(self, x):
        ramp = torch.linspace(0, 1, 8).reshape(1, 1, 8, 1) + torch.arange(8) / 8
        h = self.start(x + ramp)
        return self.tail(F.relu(self.b(h * torch.ones(8, 8).tril())))


@case("5 constants", low=BC)
class LikeTheInput(Three):
    def forward(self, x):
        x = x + torch.zeros_like(x) + x.new_ones(1) * 0.5
        return super().forward(x)


case_of("5 constants", "frozen batch norm", lambda: tower(norm=FrozenBatchNorm2d), low=("3", "6"))


# ------------------------------------------ kind 6: non-negative input gets an unsigned grid
class Between(Three):
    "Something between relu and the second convolution (or, raw, between the first two)."
    def __init__(self, op: Callable, raw: bool = False):
        super().__init__()
        self.op, self.raw = op, raw

    def forward(self, x):
        x = self.a(x) if self.raw else F.relu(self.a(x))
        return self.tail(F.relu(self.b(self.op(x))))


POSITIVE = {
    "nearest": lambda y: F.interpolate(y, scale_factor=2),
    "nearest module": nn.Upsample(scale_factor=2),
    "bilinear": lambda y: F.interpolate(y, size=(12, 12), mode="bilinear", align_corners=False),
    "bilinear module": nn.UpsamplingBilinear2d(scale_factor=2),
    "flip": lambda y: torch.flip(y, [3]),
    "flip method": lambda y: y.flip(-1),
    "roll": lambda y: torch.roll(y, (1, 2), (2, 3)),
    "rot90": lambda y: torch.rot90(y, 1, (2, 3)),
    "times its sigmoid": lambda y: y * torch.sigmoid(y),
    "gate by mean": lambda y: y * y.mean((2, 3), keepdim=True).sigmoid(),
    "square": lambda y: y * y,
    "half": lambda y: 0.5 * y,
    "divided": lambda y: y / 3,
    "repeat": lambda y: y[:, :4].repeat(1, 2, 1, 1),
    "expand": lambda y: y.amax(1, keepdim=True).expand(-1, 8, -1, -1),
    "repeat_interleave": lambda y: y[:, ::2].repeat_interleave(2, dim=1),
    "pixel_shuffle": lambda y: F.pixel_shuffle(torch.cat([y] * 4, 1), 2),
    "pixel_unshuffle": lambda y: F.pixel_unshuffle(y[:, :2], 2),
    "mean": lambda y: y.mean((2, 3), keepdim=True),
    "sum": lambda y: y.sum(dim=(2, 3), keepdim=True) / 64,
    "sum of two": lambda y: torch.add(y, other=y.mean((2, 3), True)),
    "maximum": lambda y: torch.maximum(y, y.flip(3)),
    "concat": lambda y: torch.concat((y[:, 4:], y[:, :4]), 1),
    "concatenate by keyword": lambda y: torch.cat(dim=1, tensors=[y[:, 4:], y[:, :4]]),
    "stack": lambda y: torch.stack([y[:, :4], y[:, 4:]], 1).flatten(1, 2),
    "max_pool1d": lambda y: F.max_pool1d(y.flatten(2), 2).view(-1, 8, 4, 8),
    "avg_pool": lambda y: F.avg_pool2d(y, kernel_size=2),
    "lp_pool-like root": lambda y: torch.sqrt(F.avg_pool2d(y.pow(2), 2) + 1e-6),
    "reflect pad": lambda y: F.pad(y, (1, 1, 1, 1), mode="reflect"),
    "replicate pad": nn.ReplicationPad2d(1),
    "cast and detach": lambda y: y.detach().double().float().to(torch.float32),
    "mT": lambda y: y.mT,
    "movedim": lambda y: y.movedim(2, 3),
    "hstack": lambda y: torch.hstack([y[:, 4:], y[:, :4]]),
    "index": lambda y: y[:, [7, 6, 5, 4, 3, 2, 1, 0]],
    "sum of a list": lambda y: sum([y, y.flip(3), y.mean()]),
    "add method": lambda y: y.add(y, alpha=0.5).add(1),
    "mul function": lambda y: torch.mul(y, other=0.25),
    "stack and sum": lambda y: torch.stack([y, y]).sum(0),
    "minimum": lambda y: torch.minimum(y, torch.ones_like(y)),
    "exponential": lambda y: torch.exp(y - 1),
    "cumulative": lambda y: y.cumsum(1),
    "clamp from above": lambda y: y.clamp(max=1.0),
    "layers of pools": nn.Sequential(nn.AvgPool2d(2), nn.Dropout(0.1), nn.Upsample(scale_factor=2)),
}
RAW_POSITIVE = {
    "clamp from 0": lambda y: y.clamp(min=0),
    "clamp 0 to 6": lambda y: torch.clamp(y, 0, 6),
    "clip by keyword": lambda y: torch.clip(y, min=0.0, max=2.0),
    "hardtanh 0 to 6": nn.Hardtanh(0, 6),
    "functional hardtanh": lambda y: F.hardtanh(y, min_val=0.0, max_val=1.0),
    "abs": lambda y: y.abs(),
    "sigmoid": torch.sigmoid,
    "softplus": F.softplus,
    "softmax": lambda y: y.softmax(1),
    "threshold at 0": nn.Threshold(0.0, 0.0),
    "square of any": lambda y: y**2,
    "in-place relu method": lambda y: y.relu_(),
}

def _minus_equals(y):
    y = y.clone()
    y -= 1.0
    return y


NEGATIVE = {
    "minus equals": _minus_equals,
    "minus one": lambda y: y - 1.0,
    "minus its mean": lambda y: torch.sub(y, other=y.mean((2, 3), keepdim=True)),
    "negative": lambda y: -y,
    "plus minus one": lambda y: torch.add(y, other=-1.0),
    "add by keywords": lambda y: torch.add(input=y, other=-y.flip(2)),
    "add with alpha": lambda y: torch.add(y, y.flip(3), alpha=-2),
    "times minus half": lambda y: y * -0.5,
    "bicubic": lambda y: F.interpolate(y, scale_factor=2, mode="bicubic"),
    "pad with minus one": lambda y: F.pad(y, (1, 1, 1, 1), value=-1.0),
    "logarithm": lambda y: torch.log(y + 0.1),
    "sub method": lambda y: y.sub(0.5),
    "add of minus one": lambda y: y.add(-1),
    "times minus one": lambda y: torch.mul(y, other=-1.0),
    "one minus": lambda y: 0.1 - y,
    "where": lambda y: torch.where(y > 0.2, y, -torch.ones_like(y)),
    "constant pad": nn.ConstantPad2d(1, -1.0),
    "sum of a list with a minus": lambda y: sum([y, -y.flip(3), 0.0]),
    "times a signed gate": lambda y: y * torch.tanh(y.mean((2, 3), keepdim=True) - 0.3),
    "normed": nn.GroupNorm(2, 8),
    "local differences": lambda y: y - F.avg_pool2d(y, 3, 1, 1),
}
RAW_NEGATIVE = {
    "tanh": torch.tanh,
    "swish by hand": lambda y: y * torch.sigmoid(y),
    "hardtanh": nn.Hardtanh(),
    "clamp to both sides": lambda y: y.clamp(-1, 1),
    "mixed by keyword": lambda y: torch.cat(dim=1, tensors=[F.relu(y[:, :4]), y[:, 4:]]),
    "average of raw": lambda y: F.avg_pool2d(y, 2),
    "raw clamp from above": lambda y: y.clamp(max=1.0),
    "clamp from minus": lambda y: torch.clamp(y, min=-0.5, max=6.0),
    "prelu": nn.PReLU(),
    "functional leaky relu": lambda y: F.leaky_relu(y, 0.2),
    "max pool of raw": lambda y: F.max_pool2d(-y.abs(), 2),
    "upsampled raw": nn.Upsample(scale_factor=2),
}
for _name, _op in POSITIVE.items():
    case_of("6 sign", f"{_name}", lambda op=_op: Between(op), low=BC, unsigned=BC)
for _name, _op in RAW_POSITIVE.items():
    case_of("6 sign", f"{_name}", lambda op=_op: Between(op, True), low=BC, unsigned=BC)
for _name, _op in NEGATIVE.items():
    case_of("6 sign", f"{_name}", lambda op=_op: Between(op), low=BC, signed=("b",))
for _name, _op in RAW_NEGATIVE.items():
    case_of("6 sign", f"{_name}", lambda op=_op: Between(op, True), low=BC, signed=("b",))


@case("6 sign", low=("b", "c", "squeeze", "excite"), unsigned=("b", "c", "squeeze", "excite"))
class Gated(Three):
    "Squeeze and excitation with linear layers."
    def __init__(self):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        nn.init.ones_(self.squeeze.bias)  # else all of it may be below zero

    def forward(self, x):
        x = F.relu(self.b(self.start(x)))
        gate = torch.sigmoid(self.excite(F.relu(self.squeeze(x.mean((2, 3))))))
        return self.tail(x * gate[:, :, None, None])


# ------------------------------------------------------- kind 7: one module, several calls
def _twins(net, low, x, said):
    "Equal inputs come out equal, or the user was told that the branches differ."
    with torch.no_grad(): off = low.eval()(x[0], x[0]).abs().max().item()
    told = any("α" in w or "alpha" in w or "shared" in w for w in said)
    assert off == 0 or told, f"two calls of one trunk differ by {off}"


@case("7 shared", shapes=((3, 3, 8, 8),) * 2, low=("trunk.3", "trunk.6"), extra=_twins)
class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = tower()

    def forward(self, a, b): return self.trunk(a) - self.trunk(b)


@case("7 shared", low=BC)
class Recurrent(Three):
    "One convolution four times."
    def forward(self, x):
        x = self.start(x)
        for _ in range(4): x = F.relu(self.b(x))
        return self.tail(x)


@case("7 shared", low=("a.1", "b", "head"))
class Pyramid(nn.Module):
    "One head on three levels."
    def __init__(self):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Block().conv)
        self.b, self.c = nn.Conv2d(8, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.head, self.out = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        p1 = F.relu(self.a[1](F.relu(self.a[0](x))))
        p2 = F.relu(self.b(p1))
        levels = p1, p2, F.relu(self.c(p2))
        return [self.out(F.relu(self.head(p))) for p in levels]


@case("7 shared", low=("c",), whole=("a",))
class SharedStem(Three):
    "The first layer reads the image, then what it made of it."
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)

    def forward(self, x):
        x = F.relu(self.a(F.relu(self.a(x))))
        return self.tail(F.relu(self.b(x)))


@case("7 shared", low=("b", "join"), shapes=((3, 3, 8, 8),) * 2)
class SharedStemOfTwo(nn.Module):
    "Two images through one stem, joined by keyword."
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.join, self.out = nn.Conv2d(16, 8, 1), nn.Conv2d(8, 2, 1)
        self.relu = nn.ReLU()

    def forward(self, left, right):
        both = [self.relu(self.b(self.relu(self.a(x)))) for x in (left, right)]
        return self.out(self.relu(self.join(torch.cat(tensors=both, dim=1))))


@case("7 shared", low=("one.conv",))
class SameBlockTwice(Blocks):
    def forward(self, x):
        return self.fc(self.one(self.one(F.relu(self.a(x)))).mean((2, 3)))


@case("7 shared", shapes=ROWS, low=BC)
class TiedWeights(Dense):
    "Two layers with one weight."
    def __init__(self):
        super().__init__()
        self.c.weight = self.b.weight


@case("7 shared", low=("b", "c"), inputs=lambda: (torch.randint(0, 20, (4, 7)),))
class TiedTable(Words):
    "The last layer has the weight of the embedding."
    def __init__(self):
        super().__init__()
        self.c, self.d = nn.Linear(12, 8), nn.Linear(8, 20, bias=False)
        self.d.weight = self.table.weight


@case("7 shared", low=("b", "c"))
class SharedNorm(Three):
    "One batch norm behind two convolutions, one relu object for all."
    def __init__(self):
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(8), nn.ReLU(inplace=True)

    def forward(self, x):
        for layer in (self.a, self.b, self.c): x = self.act(self.norm(layer(x)))
        return self.fc(x.mean((2, 3)))


# ----------------------------------- kind 8: the graph is the network, or the user hears of it
@case("8 graph", shapes=ROWS, low=BC)
class OptionalHidden(Dense):
    def forward(self, x, hidden=None):
        x = F.relu(self.b(F.relu(self.a(x))))
        if hidden is None: hidden = F.relu(self.c(x))
        return self.d(hidden)


@case("8 graph", shapes=ROWS, low=BC)
class OptionalMask(Dense):
    def forward(self, x, mask: Optional[Tensor] = None):
        x = F.relu(self.b(F.relu(self.a(x))))
        if mask is not None: x = x * mask
        return self.d(F.relu(self.c(x)))


@case("8 graph", "right or refused:mask", shapes=(*ROWS, (5, 12)))
class MaskGiven(Dense):
    "An argument with a default that the example gives."
    def forward(self, x, mask=None):
        x = F.relu(self.b(F.relu(self.a(x))))
        return self.d(F.relu(self.c(x if mask is None else x * mask)))


@case("8 graph", low=BC)
class TupleDefault(Three):
    def forward(self, x, size: tuple = (6, 6), mode="nearest"):
        x = F.interpolate(self.start(x), size=size, mode=mode)
        return self.tail(F.relu(self.b(x)))


@case("8 graph", shapes=ROWS, low=BC)
class OptionalLabels(Dense):
    def forward(self, x, labels=None, weight=1.0):
        out = super().forward(x) * weight
        return out if labels is None else (out, F.cross_entropy(out, labels))


@case("8 graph", low=BC)
class Flags(Three):
    "Keyword-only flags with defaults."
    def forward(self, x, *, skip: bool = False, features=True, scale: float = 0.5):
        x = self.start(x)
        if not skip: x = F.relu(self.b(x))
        if features: x = x * scale
        return self.tail(x)


@case("8 graph", "right or refused:args|kwargs|argument|b", shapes=ROWS)
class AnyArguments(Dense):
    def forward(self, *args, **kwargs):
        x = args[0]
        return super().forward(x if kwargs.get("keep", True) else x * 0)


@case("8 graph", "right or refused:isinstance|b", shapes=ROWS)
class IsInstance(Dense):
    def forward(self, x):
        x = self.a(x)
        if isinstance(x, torch.Tensor): x = F.relu(self.b(F.relu(x)))
        return self.d(F.relu(self.c(x)))


@case("8 graph", "right or refused:is_tensor|b", shapes=ROWS)
class IsTensor(Dense):
    def forward(self, x):
        x = F.relu(self.a(x))
        if torch.is_tensor(x) and not isinstance(x, (list, tuple)): x = F.relu(self.b(x))
        return self.d(F.relu(self.c(x)))


@case("8 graph", "right or refused:type|b", shapes=ROWS)
class TypeOf(Dense):
    def forward(self, x):
        x = F.relu(self.a(x))
        return self.d(F.relu(self.c(F.relu(self.b(x)) if type(x) is Tensor else x)))


@case("8 graph", "right or refused:grad|b", shapes=ROWS)
class WhileLearning(Dense):
    "Another path with gradients than without."
    def forward(self, x):
        x = F.relu(self.a(x))
        if torch.is_grad_enabled(): x = F.relu(self.b(x))
        return self.d(F.relu(self.c(x)))


@case("8 graph", "right or refused:no_grad|grad", low=("c",), without=("alpha",))
class FrozenStem(Three):
    def forward(self, x):
        with torch.no_grad(): x = F.relu(self.b(F.relu(self.a(x))))
        return self.tail(x)


@case("8 graph", "right or refused:no_grad|grad", without=("alpha",))
class FrozenByDecorator(Three):
    @torch.no_grad()
    def stem(self, x): return F.relu(self.a(x))
    def forward(self, x): return self.tail(F.relu(self.b(self.stem(x))))


@case("8 graph", "right or refused:grad", shapes=ROWS)
class GradByFlag(Dense):
    "set_grad_enabled by an attribute."
    def forward(self, x):
        with torch.set_grad_enabled(False): x = F.relu(self.a(x))
        return self.d(F.relu(self.c(F.relu(self.b(x)))))


@case("8 graph", "right or refused:autocast|bfloat16", shapes=ROWS)
class Autocast(Dense):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16): x = F.relu(self.b(F.relu(self.a(x))))
        return self.d(F.relu(self.c(x.float())))


@case("8 graph", "right or refused:autocast|float32", shapes=ROWS)
class NoAutocast(Dense):
    "A stretch where autocast is switched off, called inside an autocast region."
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = F.relu(self.a(x))
            with torch.autocast("cpu", enabled=False): x = F.relu(self.b(x.float()))
        return self.d(F.relu(self.c(x)))


def _norms_stay(net, low, x, said):
    "train() leaves the batch norms in evaluation mode, as the network's own does."
    low.train()
    before = {n: b.clone() for n, b in low.named_buffers() if "running" in n}
    low(*x)
    assert all(torch.equal(b, before[n]) for n, b in low.named_buffers() if n in before)


@case("8 graph", "right or refused:train", low=CONVS, extra=_norms_stay)
class NormsFrozen(Blocks):
    def train(self, mode=True):
        super().train(mode)
        for m in self.modules():
            if isinstance(m, nn.BatchNorm2d): m.training = False
        return self


class StaysQuiet(nn.Dropout):
    "A part that never trains."
    def train(self, mode=True): return super().train(False)


@case("8 graph", "right or refused:train", low=BC)
class QuietPart(Three):
    def __init__(self):
        super().__init__()
        self.drop = StaysQuiet(0.5)

    def forward(self, x): return self.tail(F.relu(self.b(self.drop(self.start(x)))))


@case("8 graph", "right or refused:random|rand")
class RandomSkip(Three):
    def forward(self, x):
        x = self.start(x)
        if self.training and torch.rand(1).item() < 0.5: return self.tail(x)
        return self.tail(F.relu(self.b(x)))


@case("8 graph", "right or refused:random|rand")
class RandomDepth(Three):
    "A branch by Python's own random numbers."
    def forward(self, x):
        x = self.start(x)
        for _ in range(1 + int(self.training and torch.randint(0, 2, ()) > 0)):
            x = F.relu(self.b(x))
        return self.tail(x)


@case("8 graph", "right or refused:random|rand|noise|randn|training")
class Noisy(Three):
    def forward(self, x):
        x = self.start(x)
        if self.training: x = x + 0.1 * torch.randn_like(x)
        return self.tail(F.relu(self.b(x)))


@case("8 graph", "right or refused:random|rand|randn")
class NoiseOfOne(Three):
    "One random number, drawn in both modes with the generator set."
    def forward(self, x):
        noise = torch.randn(1) * (0.1 if self.training else 0.0)
        return self.tail(F.relu(self.b(self.start(x) + noise)))


@case("8 graph", "right or refused:random|b|c")
class PythonRandom(Three):
    def forward(self, x):
        x = self.start(x)
        if self.training and random.random() < 0.5: return self.tail(x)
        return self.tail(F.relu(self.b(x)))


@case("8 graph", "right or refused:calls|attribute|state")
class PythonCounter(Three):
    "A number of Python's own that changes with every call."
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) / self.calls


def _patched(where: str) -> nn.Module:
    "forward replaced on the object, as in notebooks."
    net = Blocks()
    part = net.get_submodule(where)
    part.forward = types.MethodType(lambda self, x: type(self).forward(self, x) * 2 + 1, part)
    return net


case_of("8 graph", "patched network", lambda: _patched(""), "right or refused:forward")
case_of("8 graph", "patched block", lambda: _patched("one"), "right or refused:forward")
case_of("8 graph", "patched layer", lambda: _patched("two.conv"), "right or refused:forward")


@case("8 graph", "right or refused:mean|buffer")
class MovingMean(Three):
    "A buffer that moves with every call."
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.ones(8))

    def forward(self, x):
        x = self.start(x)
        self.mean.mul_(0.9).add_(x.detach().mean((0, 2, 3)), alpha=0.1)
        return self.tail(F.relu(self.b(x / self.mean.view(1, -1, 1, 1))))


@case("8 graph", "right or refused:calls|buffer|count")
class Counts(Three):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        if self.training: self.calls += 1
        return super().forward(x)


@case("8 graph", "right or refused:scale|buffer")
class Rebinds(Three):
    "A buffer that is bound to a new tensor."
    def __init__(self):
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x):
        if self.training: self.scale = 0.5 * self.scale + 0.5 * x.detach().abs().max()
        return super().forward(x / self.scale)


@case("8 graph", low=BC, signed=("c",))
class AddByName(Three):
    "A sum by keywords, of a clip and of raw values."
    def forward(self, x):
        h = self.start(x)
        return self.fc(F.relu(self.c(torch.add(input=h, other=self.b(h)))).mean((2, 3)))


@case("8 graph", low=("b", "join"), signed=("join",))
class CatByName(Three):
    def __init__(self):
        super().__init__()
        self.join = nn.Conv2d(16, 8, 1)

    def forward(self, x):
        h = self.start(x)
        return self.tail(F.relu(self.join(torch.cat(dim=1, tensors=[h, self.b(h)]))))


@case("8 graph", low=BC)
class ByKeyword(Three):
    "Layers and pools called by keyword."
    def forward(self, x):
        x = F.relu(input=self.a(input=x))
        x = F.max_pool2d(kernel_size=2, input=self.b(input=x).relu())
        return self.tail(x)


@case("8 graph", "right or refused:in-place|inplace|iadd|y", without=("train", "step"))
class Alias(Three):
    "y = h; y += z changes h, which is read again; torch itself cannot train it."
    def forward(self, x):
        h = self.start(x)
        y = h
        y += self.b(h)
        return self.tail(h)


@case("8 graph", "right or refused:in-place|inplace|add_|mul_")
class ChangedInPlace(Three):
    "In-place methods, their results unused; one on a slice."
    def forward(self, x):
        h = self.b(self.start(x))
        h.mul_(0.5)
        h[:, :4].add_(1.0)
        return self.tail(F.relu(h))


@case("8 graph", "right or refused:in-place|inplace|b|mul_|setitem")
class UnusedInPlace(Three):
    "What a layer reads is changed behind the graph's back."
    def forward(self, x):
        h = self.start(x).clone()
        h.mul_(-1.0)
        h[:, 0] = 0.3
        return self.tail(F.relu(self.b(h)))


@case("8 graph", "right or refused:in-place|inplace|relu")
class ReluAsStatement(Three):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.a(x)
        self.relu(x)
        x = self.b(x)
        F.relu_(x)
        return self.tail(x)


@case("8 graph", "right or refused:in-place|inplace|relu|b|shape")
class ReluOfTheInput(Three):
    "A block that changes what it is given, in a network with a test of shape."
    def forward(self, x):
        if x.dim() == 3: x = x[None]
        h = self.a(x)
        y = self.b(F.relu(h, inplace=True))
        return self.tail(F.relu(y) + h)


@case("8 graph", "right or refused:in-place|inplace|index|setitem")
class WritesIntoSlices(Three):
    def forward(self, x):
        h = self.start(x)
        out = torch.zeros_like(h)
        out[:, 4:] = h[:, 4:]
        return self.tail(F.relu(self.b(out)))


@case("8 graph", "right or refused:training|aux|b")
class TwoHeads(Three):
    "A second output in training mode."
    def __init__(self):
        super().__init__()
        self.aux = nn.Linear(8, 4)

    def forward(self, x):
        h = F.relu(self.b(self.start(x)))
        out = self.tail(h)
        return (out, self.aux(h.mean((2, 3)))) if self.training else out


@case("8 graph", "right or refused:shape|dim|b|traced")
class TestsShape(Three):
    def forward(self, x):
        if x.dim() == 3: x = x[None]
        assert x.shape[1] == 3, "colours first"
        x = self.start(x)
        if x.shape[2] > 4: x = F.relu(self.b(x))
        return self.tail(x)


@case("8 graph", "right or refused:len|b|traced", shapes=ROWS)
class TestsLength(Dense):
    def forward(self, x):
        if len(x) < 2: raise ValueError("a batch of one has no variance")
        return super().forward(x)


@case("8 graph", "right or refused:item|data|b|traced")
class ReadsValue(Three):
    "A number is taken out of a tensor."
    def forward(self, x):
        x = self.start(x)
        return self.tail(F.relu(self.b(x / max(x.max().item(), 1e-3))))


@case("8 graph", "right or refused:shape|dim|b|c|traced", shapes=((1, 6),))
class FewNumbers(Dense):
    "So few numbers that any of them would pass for 16 levels."
    def forward(self, x):
        if x.dim() == 1: x = x.unsqueeze(0)
        x = F.relu(self.b(F.relu(self.a(x))))
        return self.d(F.relu(self.c(x)))


@case("8 graph", "right or refused:shape|dim|b|c|traced", shapes=ROWS)
class TestsShapeDense(Dense):
    def forward(self, x): return super().forward(x if x.dim() == 2 else x[None])


@case("8 graph", "right or refused:shape|data|b|traced")
class TestsValues(Three):
    def forward(self, x):
        x = self.start(x)
        return self.tail(F.relu(self.b(x)) if x.mean() > -1 else x)


@case("8 graph", "right or refused:shape|h|traced|step", shapes=((1, 4, 6),))
class Loop(nn.Module):
    "An RNN by hand over the length of the input."
    def __init__(self):
        super().__init__()
        self.i, self.h, self.o = nn.Linear(6, 12), nn.Linear(12, 12), nn.Linear(12, 3)

    def forward(self, x):
        h = x.new_zeros(x.shape[0], 12)
        for t in range(x.size(1)): h = F.relu(self.i(x[:, t]) + self.h(h))
        return self.o(h)


def _same_without_gradient(net, low, x, said):
    "Evaluated without gradient it is the network that is trained, not a float one."
    low.eval()
    with torch.no_grad(): plain = low(*x)
    assert torch.allclose(plain, low(*x), atol=1e-5), "without gradient it is another network"


@case("8 graph", "right or refused:Transformer|encoder|linear", shapes=((3, 5, 6),),
      extra=_same_without_gradient)
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.out = nn.Linear(6, 16), nn.Linear(16, 3)
        self.enc = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)

    def forward(self, x):
        if x.dim() == 2: x = x[None]
        return self.out(self.enc(self.enter(x)).mean(1))


class OfModules(Three):
    "The same network with modules for its activations."
    def __init__(self, inplace=False):
        super().__init__()
        self.r1, self.r2, self.r3 = (nn.ReLU(inplace) for _ in range(3))

    def forward(self, x):
        if x.dim() == 3: x = x[None]
        x = self.r3(self.c(self.r2(self.b(self.r1(self.a(x))))))
        return self.fc(x.mean((2, 3)))


@case("8 graph", "right or refused:relu|Shifted|r2|shape|dim")
class ShiftedModules(OfModules):
    "A module that is called a relu, where nothing can be traced."
    def __init__(self):
        super().__init__()
        self.r2 = Shifted()


case_of("8 graph", "modules and a test of shape", OfModules, "right or refused:shape|dim|traced")


@case("8 graph", "right or refused:b|weight|shape")
class WeightReadDirectly(OfModules):
    "Module by module nobody sees that b is not called."
    def forward(self, x):
        if x.dim() == 3: x = x[None]
        x = self.r2(F.conv2d(self.r1(self.a(x)), self.b.weight, self.b.bias, padding=1))
        return self.fc(self.r3(self.c(x)).mean((2, 3)))


@case("8 graph", "right or refused:in-place|inplace|shape|dim|r1|r2")
class InPlaceStatement(OfModules):
    "In-place modules called for what they do to their input."
    def __init__(self): super().__init__(inplace=True)

    def forward(self, x):
        if x.dim() == 3: x = x[None]
        h = self.a(x)
        self.r1(h)
        h = self.b(h)
        self.r2(h)
        return self.fc(self.r3(self.c(h)).mean((2, 3)))


@case("8 graph", "right or refused:in-place|inplace|shape|dim|r1|r2")
class InPlaceHead(OfModules):
    "A pre-activation block whose shortcut is what the in-place relu left."
    def __init__(self): super().__init__(inplace=True)

    def forward(self, x):
        if x.dim() == 3: x = x[None]
        h = self.a(x)
        h = self.b(self.r1(h)) + h
        h = self.c(self.r2(h)) + h
        return self.fc(self.r3(h).mean((2, 3)))


@case("8 graph", low=BC)
class InPlaceHeadInGraph(Three):
    "The same where nothing stops the graph."
    def forward(self, x):
        h = self.a(x)
        h = self.b(F.relu(h, inplace=True)) + h
        h = self.c(h.relu_()) + h
        return self.fc(torch.relu_(h).mean((2, 3)))


@case("8 graph", "right or refused:script|jit")
class Scriptable(Three):
    def forward(self, x):
        x = self.start(x)
        if not torch.jit.is_scripting(): x = F.relu(self.b(x))
        return self.tail(x)


# ------------------------------------------------------- kind 9: subclasses and wrappers
class NormAct(nn.BatchNorm2d):
    "Batch norm and relu in one module, with F.batch_norm."
    def __init__(self, c):
        super().__init__(c)
        self.act, self.drop = nn.ReLU(inplace=True), nn.Identity()

    def forward(self, x):
        if self.training and self.track_running_stats: self.num_batches_tracked.add_(1)
        x = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias,
                         self.training, self.momentum, self.eps)
        return self.act(self.drop(x))


class NormAct2(nn.BatchNorm2d):
    "super().forward and a functional relu."
    def forward(self, x): return F.relu(super().forward(x))


class NormInFloat(nn.BatchNorm2d):
    def forward(self, x): return super().forward(x.float()).to(x.dtype)


class ChannelNorm(nn.LayerNorm):
    "LayerNorm over channels, by F.layer_norm."
    def forward(self, x):
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias)
        return x.permute(0, 3, 1, 2)


case_of("9 subclasses", "subclassed batch norm", lambda: tower(norm=FixedBatchNorm),
        low=("3", "6"), unsigned=("3", "6"))
case_of("9 subclasses", "norm and act in one", lambda: tower(norm=NormAct, act=nn.Identity),
        low=("3", "6"), unsigned=("3", "6"))
case_of("9 subclasses", "norm and act by super", lambda: tower(norm=NormAct2, act=nn.Identity),
        low=("3", "6"), unsigned=("3", "6"))
case_of("9 subclasses", "batch norm in float32", lambda: tower(norm=NormInFloat), low=("3", "6"))
case_of("9 subclasses", "layer norm over channels", lambda: tower(norm=ChannelNorm),
        low=("3", "6"))
case_of("9 subclasses", "sync batch norm", lambda: tower(norm=nn.SyncBatchNorm), low=("3", "6"),
        without=("train", "step", "calibrate in training"))
case_of("9 subclasses", "data parallel", lambda: nn.DataParallel(tower()), low=("3", "6"))
case_of("9 subclasses", "compiled", lambda: torch.compile(tower(), backend="eager"),
        low=("3", "6"))
case_of("9 subclasses", "data parallel inside",
        lambda: nn.Sequential(nn.DataParallel(tower()), nn.Softmax(1)), low=("0.3", "0.6"))
case_of("9 subclasses", "scripted", lambda: torch.jit.script(tower()), "told:script|jit")
case_of("9 subclasses", "traced by jit",
        lambda: torch.jit.trace(tower().eval(), torch.randn(2, 3, 8, 8)), "told:script|jit")


def _logits_free(net, low, x, said):
    "What comes out behind the last layer is no level of any quantizer."
    with torch.no_grad(): out = low.eval()(*x)
    acts = [m for m in low.modules() if isinstance(m, PACT) and m.k != 32]
    assert all(off_grid(out, [a]) > 1e-4 for a in acts), "the logits are rounded"


def _with_relu_behind() -> nn.Module:
    return nn.Sequential(*tower(), nn.ReLU())


case_of("9 subclasses", "relu behind the logits", _with_relu_behind, low=("3", "6"),
        extra=_logits_free)
case_of("9 subclasses", "relu behind the logits, parallel",
        lambda: nn.DataParallel(_with_relu_behind()), low=("3", "6"), extra=_logits_free)


class Chain(nn.Sequential):
    "A Sequential with a forward of its own."
    def forward(self, x): return super().forward(x) + x


@case("9 subclasses", low=("body.0", "body.2"))
class SequentialSubclass(Three):
    def __init__(self):
        super().__init__()
        self.body = Chain(self.b, nn.ReLU(), self.c)
        del self.b, self.c

    def forward(self, x): return self.fc(F.relu(self.body(self.start(x))).mean((2, 3)))


@case("9 subclasses", low=("b", "c"))
class CosineHead(Three):
    "A head of a bare, normalised weight: the last convolution is not the last layer."
    def __init__(self):
        super().__init__()
        self.fc = nn.Identity()
        self.classes = nn.Parameter(torch.randn(4, 8))

    def forward(self, x):
        return 8 * F.linear(F.normalize(super().forward(x)), F.normalize(self.classes))


def _block_within(wrap: Callable) -> nn.Module:
    "A wrapped block between plain layers."
    block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), wrap(block), nn.Conv2d(8, 8, 3), nn.ReLU(),
                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


case_of("9 subclasses", "scripted block", lambda: _block_within(torch.jit.script),
        "right or refused:script|jit")
case_of("9 subclasses", "compiled block",
        lambda: _block_within(lambda m: torch.compile(m, backend="eager")),
        "right or refused:compile")
case_of("9 subclasses", "parallel block", lambda: _block_within(nn.DataParallel), low=("2.0", "3"))


# ------------------------------------------------------- kind 10: the trap of a trained network
def _not_blown_up(net, low, x, said):
    "Logits of the size they had, or a warning with the way out."
    with torch.no_grad(): now, was = low.eval()(*x).abs().max(), net.eval()(*x).abs().max()
    told = any("scale" in w or "post_training" in w for w in said)
    assert now < 20 * was or told, f"logits of {now:.1e} where the network has {was:.1e}"


def _deep(norm: bool) -> nn.Module:
    "Ten layers, with batch norm (settled) or without."
    layers = []
    for i in range(8):
        layers.append(nn.Conv2d(8 if i else 3, 8, 3, padding=1))
        layers += [nn.BatchNorm2d(8), nn.ReLU()] if norm else [nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return settled(net)


case_of("10 scale", "trained without batch norm", lambda: _deep(False), extra=_not_blown_up,
        low=("2", "14"), without=("calibrate in training",))
case_of("10 scale", "trained with batch norm", lambda: _deep(True), extra=_not_blown_up,
        low=("3", "21"), without=("calibrate in training",))


# ------------------------------------------------- what one trace sees once, or not at all
BY_MODULE = "told:converted module by module"


class _Reversed(torch.autograd.Function):
    "Identity whose gradient changes its sign."
    @staticmethod
    def forward(ctx, x): return x.view_as(x)
    @staticmethod
    def backward(ctx, g): return -g


class Odd(Three):
    "Three convolutions, with one odd line behind the first."
    def __init__(self, how: str):
        super().__init__()
        self.how, self.calls, self.past, self.last = how, {"n": 0}, [], None
        self.act, self.norm, self.t = nn.ReLU(), nn.Identity(), nn.Sequential(nn.Dropout(0.5))
        self.inner = nn.ReLU(inplace=True)
        self.rng = np.random.default_rng(0)
        self.scale = nn.Parameter(torch.tensor([2.0, -1.0]))

    def forward(self, x):
        h = getattr(self, f"_{self.how}")(self.a(x))
        return self.tail(self.act(self.b(h)))

    def _own_gradient(self, h): return _Reversed.apply(h)
    def _count_in_a_dict(self, h): self.calls["n"] += 1; return h * self.calls["n"]
    def _keeps_the_last(self, h): self.last = h.detach(); return h
    def _appends(self, h): self.past.append(0); return h * len(self.past)
    def _mode_of_a_part(self, h): self.t.eval(); return self.t(h)
    def _mode_and_back(self, h): self.t.eval(); h = self.t(h); self.t.train(self.training); return h
    def _alias(self, h): y = self.inner(self.norm(h)); return h + y
    def _view(self, h): y = F.relu(h.view_as(h), inplace=True); return h + y
    def _divides(self, h): y = h; y /= 2; return h + y
    def _sets_data(self, h): self.scale.data = self.scale / 2; return h * self.scale[0]
    def _autocast(self, h): return h * 2 if torch.is_autocast_enabled() else h
    def _asks_for_a_tensor(self, h): return h * 2 if isinstance(h, Tensor) else h
    def _asks_for_a_list(self, h): return h[0] if isinstance(h, (list, tuple)) else h
    def _asks_for_a_part(self, h): return h.tensors if hasattr(h, "tensors") else h
    def _of_parameters(self, h): return h * F.relu(self.scale)[0]

    def _without_gradient(self, h):
        with torch.no_grad(): h.clamp_(-1, 1)
        return h


for _how in ("own_gradient count_in_a_dict keeps_the_last appends mode_of_a_part mode_and_back"
             " alias view sets_data autocast without_gradient").split():
    case_of("trace", f"odd: {_how.replace('_', ' ')}", lambda how=_how: Odd(how), BY_MODULE)
for _how in "divides asks_for_a_tensor asks_for_a_list asks_for_a_part".split():
    case_of("trace", f"odd: {_how.replace('_', ' ')}", lambda how=_how: Odd(how), low=BC)


def _data_alone(net, low, x, said):
    "No clip reads a parameter."
    acts = [n for n in low.graph.nodes if n.op == "call_module"
            and isinstance(low.get_submodule(n.target), PACT)]
    assert acts and all(n.args[0].op != "get_attr" for n in acts)


case_of("trace", "odd: of parameters", lambda: Odd("of_parameters"), low=BC, extra=_data_alone)


class ReadsFirst(Three):
    "Evaluation reads a tensor that is changed afterwards."
    def forward(self, x):
        h = self.b(self.start(x))
        if not self.training: p = h.mean((1, 2, 3))
        h += 1
        y = self.tail(F.relu(h))
        return y if self.training else y + p[:, None]


case_of("trace", "evaluation reads first", ReadsFirst, BY_MODULE)


class Called(Three):
    "The network's own __call__."
    def __call__(self, x): return super().__call__(x * 2)


case_of("trace", "own __call__", Called, BY_MODULE)


def _named(name: str) -> nn.Module:
    net = Three()
    setattr(net, name, nn.Linear(2, 2))
    return net


for _name in ("graph", "meta", "not a name"):
    case_of("trace", f"a part called {_name}", lambda name=_name: _named(name), BY_MODULE)


class HasAct(Three):
    "A parameter of the name that a clip would get."
    def __init__(self): super().__init__(); self.act = nn.Parameter(torch.ones(1))
    def forward(self, x): return super().forward(x) * self.act


case_of("trace", "a parameter called act", HasAct, low=BC)


class Ids(Dense):
    "Whole numbers that are clamped."
    def forward(self, ids): return super().forward(F.one_hot(ids.clamp(min=0), 6).float())


case_of("trace", "whole numbers clamped", Ids, low=BC,
        inputs=lambda: (torch.tensor([-1, 0, 3, 4]),))


class LearnedCap(Three):
    "An upper bound that is a parameter."
    def __init__(self): super().__init__(); self.cap = nn.Parameter(torch.tensor(0.3))
    def start(self, x): return F.relu(self.a(x)).clamp(max=self.cap)


case_of("trace", "clamp by a parameter", LearnedCap, low=BC)


class SmallerOfTwo(Three):
    "Negative, though one of the two is not."
    def start(self, x): h = self.a(x); return torch.min(F.relu(h), h - 0.5)


case_of("trace", "the smaller of two", SmallerOfTwo, low=BC, signed=("b",))


def _guided() -> nn.Module:
    "Guided backpropagation: the gradient of each ReLU is clipped."
    net = tower()
    for m in net.modules():
        if isinstance(m, nn.ReLU):
            m.register_full_backward_hook(_clipped)
    return net


def _clipped(m, g, _): SEEN.append("relu"); return (g[0].clamp_min(0),)


def _hooks_called(net, low, x, said):
    SEEN.clear()
    loss = low.train()(*x).sum()
    loss.backward()
    assert len(SEEN) == 3, f"{len(SEEN)} of 3 hooks were called"


case_of("trace", "full backward hooks on relu", _guided, low=("3", "6"), extra=_hooks_called)


class Constrained(nn.Conv2d):
    "A weight whose norm is bounded in each call."
    def forward(self, x):
        self.weight.data = torch.renorm(self.weight.data, 2, 0, 0.5)
        return super().forward(x)


class NoisyConv(nn.Conv2d):
    "Noise on the weight, in training alone."
    def forward(self, x):
        w = self.weight + 0.1 * torch.randn_like(self.weight) if self.training else self.weight
        return F.conv2d(x, w, self.bias, padding=1)


class Centred(nn.Conv2d):
    "Normalizes what it reads."
    def forward(self, x): return super().forward(F.layer_norm(x, x.shape[1:]))


class OwnBits(nn.Conv2d):
    "Has an attribute that low-bit layers have."
    def __init__(self, *args, **kw): super().__init__(*args, **kw); self.w_bits = 5
    def forward(self, x): return F.conv2d(x / self.w_bits, self.weight, self.bias, padding=1)


def _middle_of(kind: type) -> nn.Module:
    net = Three()
    net.b = kind(8, 8, 3, padding=1)
    return net


for _kind, _word in ((Constrained, "changes its weight"), (NoisyConv, "in training"),
                     (Centred, "values of its input"), (OwnBits, "attribute w_bits")):
    case_of("trace", _kind.__name__.lower(), lambda kind=_kind: _middle_of(kind),
            f"warned:{_word}", low=("c",), whole=("b",))


class OneClipThrice(Three):
    "The user's own PACT, one for three places."
    def __init__(self): super().__init__(); self.p = PACT(32, 0.3)
    def forward(self, x):
        return self.fc(self.p(self.c(self.p(self.b(self.p(self.a(x)))))).mean((2, 3)))


case_of("trace", "one PACT in three places", OneClipThrice, low=BC, without=("clips",))


class FixedStem(Three):
    "The first kernel is a buffer."
    def __init__(self):
        super().__init__()
        self.register_buffer("k", self.a.weight.detach().clone())

    def start(self, x): return F.relu(F.conv2d(x, self.k, padding=1))


case_of("trace", "a kernel that is a buffer", FixedStem, "warned:convolution with the buffer k")


def _counted_root(net, low, x, said):
    "A network that is a Sequential can be indexed, counted and walked through, as before."
    for made in (low, copy.deepcopy(low), pickle.loads(pickle.dumps(low)), quantize(low, 2, 2)):
        assert (len(made), list(made)) == (len(net), [made[i] for i in range(len(net))])
        assert made[0] is made.get_submodule("0") and made[-1] is made.get_submodule("11")
        assert isinstance(made[2], PACT) and isinstance(made[1], nn.BatchNorm2d)


case_of("trace", "a sequential network by index", tower, low=("3", "6"), extra=_counted_root)
