"""Small networks of the kinds that people bring: right in integers, or refused by name.

`NETWORKS`: name → `Case`. Nothing here is taken from anyone's repository; the shapes are small so
that all of them are converted, packed and exported in two minutes."""
from dataclasses import dataclass, field
from typing import Callable

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Case:
    make: Callable  # the float network
    shape: tuple = (3, 12, 12)  # of one image
    says: str = ""  # part of the refusal; "" if every code must be equal
    bits: tuple = (4, 4)
    how: dict = field(default_factory=dict)  # for `quantize`
    change: Callable = lambda low: low  # what is done to the low-bit network before `convert`


NETWORKS: dict[str, Case] = {}


def add(name, make, *shape, **more):
    assert name not in NETWORKS, name
    NETWORKS[name] = Case(make, **(dict(shape=shape) if shape else {}), **more)


def conv(i, o, k=3, **how): return nn.Conv2d(i, o, k, **how if "padding" in how else dict(padding=k // 2) | how)
def block(i, o, k=3, **how): return [conv(i, o, k, **how), nn.BatchNorm2d(o), nn.ReLU()]


class Around(nn.Module):
    "Stem → `f(self, codes of 8 channels)` → mean, unless `flat` → classifier; parts by name."
    def __init__(self, f, out=8, flat=False, **parts):
        super().__init__()
        self.stem, self.f, self.flat = nn.Sequential(*block(3, 8)), f, flat
        for name, part in parts.items():
            if isinstance(part, list): part = nn.Sequential(*part)
            if isinstance(part, nn.Module | nn.Parameter): setattr(self, name, part)
            else: self.register_buffer(name, part)
        self.head = nn.Linear(out, 5)

    def forward(self, x):
        y = self.f(self, self.stem(x))
        return self.head(y if self.flat else y.mean((2, 3)))


class Whole(nn.Module):
    "`f(self, x)` is all of forward."
    def __init__(self, f, **parts):
        super().__init__()
        self.f = f
        for name, part in parts.items(): setattr(self, name, nn.Sequential(*part) if isinstance(part, list) else part)

    def forward(self, x): return self.f(self, x)


def around(name, f, out=8, flat=False, says="", bits=(4, 4), how={}, **parts):
    "A case in which `f` stands between stem and classifier; parts are made by calling them."
    make = lambda: Around(f, out, flat, **{k: p() for k, p in parts.items()})
    add(name, make, says=says, bits=bits, how=how)


def operation(name, op, before=False, **more):
    "A case with one operation, a function or a module, on codes, or on sums, and a layer behind it."
    first = (lambda s, y: s.a(y)) if before else (lambda s, y: y)
    if not isinstance(op, nn.Module): around(name, lambda s, y: s.mid(op(first(s, y))), **more)
    else: around(name, lambda s, y: s.mid(s.op(first(s, y))), op=lambda: op, **more)


def param(*shape): return lambda: nn.Parameter(0.3 * torch.randn(shape))
def buffer(*shape): return lambda: 0.3 * torch.randn(shape)
def mid(o=8, **how): return lambda: block(8, o, **how)


# --- how people end a network -----------------------------------------------------------------
TAILS = {
    "avg_pool2d(y, y.size()[3]), view(size(0), -1)": lambda y: F.avg_pool2d(y, y.size()[3]).view(y.size(0), -1),
    "avg_pool2d(y, 12), view": lambda y: F.avg_pool2d(y, 12).view(y.size(0), -1),
    "view(-1, 8)": lambda y: F.avg_pool2d(y, kernel_size=12).view(-1, 8),
    "reshape(shape[0], -1)": lambda y: F.adaptive_avg_pool2d(y, 1).reshape(y.shape[0], -1),
    "squeeze(-1).squeeze(-1)": lambda y: F.adaptive_avg_pool2d(y, (1, 1)).squeeze(-1).squeeze(-1),
    "squeeze()": lambda y: F.adaptive_avg_pool2d(y, output_size=1).squeeze(),
    "mean([2, 3])": lambda y: y.mean([2, 3]),
    "mean(-1).mean(-1)": lambda y: y.mean(-1).mean(-1),
    "torch.mean(dim=(-2, -1), keepdim=True)": lambda y: torch.mean(y, dim=(-2, -1), keepdim=True).flatten(1),
    "sum((2, 3)) / 144": lambda y: y.sum((2, 3)) / 144,
    "torch.flatten(adaptive, 1)": lambda y: torch.flatten(F.adaptive_avg_pool2d(y, (1, 1)), start_dim=1),
    "flatten(2).mean(2)": lambda y: y.flatten(2).mean(2),
    "view(n, c, -1).mean(-1)": lambda y: y.view(y.shape[0], y.shape[1], -1).mean(-1),
    "amax by adaptive_max_pool2d": lambda y: F.adaptive_max_pool2d(y, 1).flatten(1),
}
for name, tail in TAILS.items(): around(f"tail: {name}", lambda s, y, tail=tail: tail(s.mid(y)), flat=True, mid=mid())

# --- pools -------------------------------------------------------------------------------------
POOLS = {
    "F.max_pool2d(2)": lambda y: F.max_pool2d(y, 2),
    "F.max_pool2d by keyword": lambda y: F.max_pool2d(y, kernel_size=3, stride=2, padding=1),
    "MaxPool2d(dilation=2)": nn.MaxPool2d(3, 1, dilation=2),
    "MaxPool2d(ceil_mode)": nn.MaxPool2d((3, 2), 2, ceil_mode=True),
    "F.avg_pool2d by keyword": lambda y: F.avg_pool2d(input=y, kernel_size=2),
    "AvgPool2d([2, 2])": nn.AvgPool2d([2, 2]),
    "AvgPool2d overlapping": nn.AvgPool2d(3, stride=2),
    "AvgPool2d padded": nn.AvgPool2d(3, stride=1, padding=1),
    "AvgPool2d count_include_pad=False": nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    "AvgPool2d divisor_override": nn.AvgPool2d(2, divisor_override=3),
    "AvgPool2d ceil_mode": nn.AvgPool2d(5, stride=5, ceil_mode=True),
    "adaptive 12 to 12": lambda y: F.adaptive_avg_pool2d(y, 12),
    "adaptive 12 to 14": lambda y: F.adaptive_avg_pool2d(y, (14, None)),
    "adaptive 12 to 5": nn.AdaptiveAvgPool2d(5),
    "adaptive max 12 to 5": nn.AdaptiveMaxPool2d((5, 12)),
}
for name, pool in POOLS.items(): operation(f"pool: {name}", pool, mid=mid())
around("pool: max before the clip", lambda s, y: F.relu(F.max_pool2d(s.bn(s.conv(y)), 2)), conv=lambda: conv(8, 8), bn=lambda: nn.BatchNorm2d(8))
around("pool: average before the clip", lambda s, y: F.relu(F.avg_pool2d(s.bn(s.conv(y)), 3, 2, 1, count_include_pad=False)), conv=lambda: conv(8, 8), bn=lambda: nn.BatchNorm2d(8))
around("pool: max, flatten, clip", lambda s, y: F.relu(torch.flatten(F.max_pool2d(s.conv(y), 6), 1)), 32, True, conv=lambda: conv(8, 8), how=dict(last_bits=8))
around("pool: large sums", lambda s, y: F.relu(s.b(F.avg_pool2d(s.a(y), 6))), a=lambda: conv(8, 8, 5), b=lambda: nn.BatchNorm2d(8), bits=(8, 8))

# --- clips -------------------------------------------------------------------------------------
CLIPS = {"F.relu": F.relu, "torch.relu": torch.relu, "y.relu()": lambda y: y.relu(), "F.relu6": F.relu6, "ReLU6": nn.ReLU6(),
         "Hardtanh(0, 6)": nn.Hardtanh(0, 6), "clamp(0, 6)": lambda y: y.clamp(0, 6), "clamp(min=0)": lambda y: torch.clamp(y, min=0),
         "Hardtanh()": nn.Hardtanh(), "F.hardtanh by keyword": lambda y: F.hardtanh(y, min_val=-2.0, max_val=0.5)}
for name, clip in CLIPS.items(): operation(f"clip: {name}", clip, a=lambda: conv(8, 8), mid=mid(), before=True)
around("clip: relu of the logits", lambda s, y: F.relu(s.fc(s.mid(y).mean((2, 3)))), flat=True, mid=mid(), fc=lambda: nn.Linear(8, 8))
around("clip: dropouts and identity", lambda s, y: s.mid(F.dropout(s.i(s.d(y)), 0.3, s.training)), d=lambda: nn.Dropout2d(0.2), i=lambda: nn.Identity(), mid=mid())

# --- layers ------------------------------------------------------------------------------------
CONVS = {
    "same": dict(padding="same"), "same, even kernel": dict(k=4, padding="same"), "same, dilated": dict(padding="same", dilation=2),
    "valid": dict(padding="valid"), "circular": dict(padding_mode="circular"), "reflect": dict(padding_mode="reflect"),
    "depthwise": dict(groups=8), "grouped, uneven": dict(k=(3, 5), groups=2, stride=(2, 1), padding=(1, 2)),
}
for name, how in CONVS.items(): around(f"conv: {name}", lambda s, y: s.mid(y), mid=lambda how=how: [conv(8, 8, **how), nn.ReLU(), *block(8, 8)])
DECONVS = {"stride 2": dict(stride=2), "output_padding": dict(kernel_size=3, stride=2, padding=1, output_padding=1),
           "groups, dilation": dict(kernel_size=3, groups=2, dilation=2, stride=(1, 2)), "cropped": dict(kernel_size=3, padding=2)}
for name, how in DECONVS.items(): around(f"transposed: {name}", lambda s, y: s.b(s.a(y)), a=lambda how=how: [nn.ConvTranspose2d(8, 8, **dict(kernel_size=2) | how), nn.BatchNorm2d(8), nn.ReLU()], b=mid())
around("transposed: output_size", lambda s, y: s.b(F.relu(s.a(y, output_size=(24, 23)))), a=lambda: nn.ConvTranspose2d(8, 8, 3, 2, 1), b=mid())
def sequence(*mods): return lambda: nn.Sequential(*(m() if not isinstance(m, nn.Module) else m for m in mods))
add("1-D: Conv1d, BatchNorm1d, MaxPool1d", lambda: nn.Sequential(nn.Conv1d(2, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 3, dilation=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4)), 2, 24)
add("1-D: F.max_pool1d, F.avg_pool1d, last_bits", lambda: Whole(lambda s, x: s.fc(F.avg_pool1d(F.relu(s.b(F.max_pool1d(F.relu(s.a(x)), 2))), 4).flatten(1)), a=nn.Conv1d(2, 8, 3, padding=1), b=nn.Conv1d(8, 8, 5, padding=2), fc=nn.Linear(24, 3)), 2, 24, how=dict(last_bits=8))
add("linear: [N, F]", lambda: nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)), 6)
add("linear: [N, F], 8-bit ends", lambda: nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)), 6, how=dict(first_bits=8, last_bits=8))
add("linear: [N, T, C]", lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(40, 3)), 5, 6)
add("linear: [N, T, C] with T = C", lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)), 6, 6)
add("linear: mean of tokens", lambda: Whole(lambda s, x: s.c(F.relu(s.b(F.relu(s.a(x)))).mean(1)), a=nn.Linear(6, 8), b=nn.Linear(8, 8), c=nn.Linear(8, 3)), 5, 6, how=dict(last_bits=8))
around("linear: patches as tokens", lambda s, y: F.relu(s.fc(y.flatten(2).transpose(1, 2))).mean(1), flat=True, fc=lambda: nn.Linear(8, 8))
around("layer: one convolution three times", lambda s, y: F.relu(s.a(F.relu(s.a(F.relu(s.a(y)))))), a=lambda: conv(8, 8))

# --- norms -------------------------------------------------------------------------------------
NORMS = {"affine=False": lambda: nn.BatchNorm2d(8, affine=False), "SyncBatchNorm": lambda: nn.SyncBatchNorm(8), "momentum=None": lambda: nn.BatchNorm2d(8, momentum=None), "eps": lambda: nn.BatchNorm2d(8, eps=0.1)}
for name, norm in NORMS.items(): around(f"norm: {name}", lambda s, y: s.b(F.relu(s.n(s.a(y)))), a=lambda: conv(8, 8), n=norm, b=mid())
around("norm: scale and shift as buffers", lambda s, y: s.b(F.relu(s.a(y) * s.g + s.h)), a=lambda: conv(8, 8), g=buffer(1, 8, 1, 1), h=buffer(1, 8, 1, 1), b=mid())
around("norm: track_running_stats=False", lambda s, y: s.b(F.relu(s.n(s.a(y)))), a=lambda: conv(8, 8), n=lambda: nn.BatchNorm2d(8, track_running_stats=False), b=mid(), says="n: batch norm with the statistics of the batch at hand")
around("norm: GroupNorm", lambda s, y: s.b(F.relu(s.n(s.a(y)))), a=lambda: conv(8, 8), n=lambda: nn.GroupNorm(2, 8), b=mid(), says="n: GroupNorm has no integer form")

# --- parameters, buffers and numbers in the graph -----------------------------------------------
CONSTANTS = {
    "+ one number": (lambda s, y: s.a(y) + s.p, param(1)), "+ one a channel": (lambda s, y: s.a(y) + s.p, param(8, 1, 1)),
    "- one a channel": (lambda s, y: s.a(y) - s.p, param(1, 8, 1, 1)), "number - y": (lambda s, y: s.p - s.a(y), param(1)),
    "+ a map": (lambda s, y: s.a(y) + s.p, param(8, 12, 12)), "torch.add(alpha)": (lambda s, y: torch.add(s.a(y), s.p, alpha=-2), param(8, 1, 1)),
    "* one a channel": (lambda s, y: s.a(y) * s.p, param(8, 1, 1)), "/ number": (lambda s, y: s.a(y) / 3, param(1)),
    "-y": (lambda s, y: -s.a(y), param(1)), "codes + number": (lambda s, y: y + 0.5, param(1)), "codes * map": (lambda s, y: y * s.p, param(12, 12)),
    "torch.add of two, alpha": (lambda s, y: torch.add(s.a(y), y, alpha=0.5), param(1)), "torch.sub of two": (lambda s, y: torch.sub(s.a(y), other=y), param(1)),
    "add_ in place": (lambda s, y: s.a(y).add_(y), param(1)), "x + x": (lambda s, y: y + y, param(1)),
}
for name, (f, p) in CONSTANTS.items(): around(f"constant: {name}", lambda s, y, f=f: s.b(f(s, y)), a=lambda: conv(8, 8), p=p, b=mid())
add("constant: image + shift", lambda: Whole(lambda s, x: s.fc(s.b(s.a((x + s.shift) / 0.5)).mean((2, 3))), shift=nn.Parameter(torch.randn(3, 1, 1)), a=block(3, 8), b=block(8, 8), fc=nn.Linear(8, 4)))
add("constant: image of 8 bits normalised", lambda: Whole(lambda s, x: s.fc(s.b(s.a((x - 0.4) * s.std)).mean((2, 3))), std=nn.Parameter(torch.rand(3, 1, 1)), a=block(3, 8), b=block(8, 8), fc=nn.Linear(8, 4)), how=dict(first_bits=8))
around("constant: logits + prior", lambda s, y: s.fc(s.mid(y).mean((2, 3))) + s.p, flat=True, mid=mid(), fc=lambda: nn.Linear(8, 8), p=param(8), how=dict(last_bits=8))
around("constant: size of the batch", lambda s, y: s.mid(y / y.size(0)), mid=mid(), says="another batch size")
around("constant: noise", lambda s, y: s.mid(y + torch.rand_like(y)), mid=mid(), says="rand_like has no integer form")

# --- concatenations, chunks, channel shuffle ------------------------------------------------------
def fire(s, y): return torch.cat([F.relu(s.a(y)), F.relu(s.b(y))], 1)
def shuffle(y, g=2):
    n, c, h, w = y.size()
    return y.view(n, g, c // g, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
TWO = dict(a=lambda: conv(8, 8, 1), b=lambda: conv(8, 8))
CATS = {
    "of clips": fire, "torch.concat, dim=-3": lambda s, y: torch.concat((F.relu(s.a(y)), F.relu(s.b(y))), dim=-3),
    "of clips, max-pool": lambda s, y: F.max_pool2d(fire(s, y), 3, 1, 1), "of clips, average": lambda s, y: F.avg_pool2d(fire(s, y), 2),
    "of clips and input": lambda s, y: torch.cat([F.relu(s.a(y)), y], dim=1), "of clips, shuffled": lambda s, y: shuffle(fire(s, y)),
    "of sums, norm, clip": lambda s, y: F.relu(s.n(torch.cat([s.a(y), s.b(y)], 1))), "of codes and sums": lambda s, y: torch.cat([y, s.b(y)], 1),
    "of sums of 1 and 2 terms": lambda s, y: torch.cat([s.a(y), s.b(y) + y], 1), "of one clip twice": lambda s, y: torch.cat([y, y], 1),
    "with zeros": lambda s, y: torch.cat((s.a(y), y.mul(0)), 1), "with a parameter": lambda s, y: torch.cat((y, s.p.expand(y.size(0), -1, -1, -1)), 1),
}
for name, f in CATS.items(): around(f"cat: {name}", lambda s, y, f=f: s.c(f(s, y)), n=lambda: nn.BatchNorm2d(16), p=param(1, 8, 12, 12), c=lambda: block(16, 8), **TWO)
for g in (2, 16): around(f"cat: {g} groups behind it", lambda s, y: s.c(fire(s, y)), 16, c=lambda g=g: block(16, 16, groups=g), **TWO)
around("cat: 2 groups across the clips", lambda s, y: s.c(shuffle(fire(s, y))), 16, c=lambda: block(16, 16, groups=2), **TWO)
around("cat: flattened, low-bit classifier", lambda s, y: F.adaptive_avg_pool2d(fire(s, y), 2).flatten(1), 64, True, how=dict(last_bits=8), **TWO)
around("cat: flattened codes into Linear", lambda s, y: F.relu(s.fc(F.max_pool2d(fire(s, y), 6).flatten(1))), flat=True, fc=lambda: nn.Linear(64, 8), **TWO)
around("cat: last layer", lambda s, y: fire(s, y), 16, **TWO)
around("cat: along the height", lambda s, y: s.b(torch.cat([y, y.flip(2)], 2)), b=mid())
around("cat: two clips along the height", lambda s, y: s.c(torch.cat([F.relu(s.a(y)), F.relu(s.b(y))], 2)), c=mid(), says="several clips that change within a channel", **TWO)
def dense(s, y):
    parts = [y]
    for layer in (s.d1, s.d2, s.d3): parts.append(layer(torch.cat(parts, 1)))
    return torch.cat(parts, 1)
def pre(i, o): return [nn.BatchNorm2d(i), nn.ReLU(), conv(i, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), conv(4, o)]
around("cat: dense block", lambda s, y: F.relu(s.n(s.t(dense(s, y)))), d1=lambda: pre(8, 4), d2=lambda: pre(12, 4), d3=lambda: pre(16, 4), t=lambda: [nn.BatchNorm2d(20), nn.ReLU(), conv(20, 8, 1), nn.AvgPool2d(2)], n=lambda: nn.BatchNorm2d(8))
def unit(s, y):
    a, b = y.chunk(2, dim=1)
    return shuffle(torch.cat((a, s.b(b)), dim=1))
around("cat: two shuffled units", lambda s, y: s.last(s.u(s.v(y))), b=lambda: block(4, 4), last=mid(), u=lambda: Whole(unit, b=[*block(4, 4, 1), conv(4, 4, groups=4), nn.BatchNorm2d(4), *block(4, 4, 1)]), v=lambda: Whole(unit, b=block(4, 4)))
around("chunk: halves of sums", lambda s, y: F.relu(s.a(y)[:, :4]) + F.relu(s.a(y)[:, 4:]), 4, a=lambda: conv(8, 8))
around("chunk: split by sizes", lambda s, y: s.c(torch.cat(torch.split(y, [2, 6], dim=1)[::-1], 1)), c=mid())

# --- moves ---------------------------------------------------------------------------------------
MOVES = {
    "nearest, F.interpolate": lambda y: F.interpolate(y, scale_factor=2, mode="nearest"), "nearest, size": lambda y: F.interpolate(y, size=(17, 9)),
    "nn.Upsample": nn.Upsample(scale_factor=2), "repeat_interleave": lambda y: y.repeat_interleave(2, 2), "F.pad zeros": lambda y: F.pad(y, (1, 2, 0, 3)),
    "F.pad crop": lambda y: F.pad(y, (-1, -2, 0, 1)), "ZeroPad2d": nn.ZeroPad2d(2), "ReflectionPad2d": nn.ReflectionPad2d(1), "flip": lambda y: y.flip(3), "roll": lambda y: torch.roll(y, 2, 1),
    "crop": lambda y: y[:, :, 1:-1, 2:], "stride": lambda y: y[..., ::2, ::2], "channels last and back": lambda y: y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "unsqueeze, squeeze": lambda y: y.unsqueeze(2).squeeze(2), "clone, detach, to": lambda y: y.clone().detach().to(y.dtype), "ChannelShuffle": nn.ChannelShuffle(4),
}
for name, f in MOVES.items(): operation(f"move: {name}", f, mid=mid())
around("move: PixelShuffle", lambda s, y: s.b(F.pixel_shuffle(y, 2)), b=lambda: block(2, 8))
around("move: PixelUnshuffle", lambda s, y: s.b(s.p(y)), p=lambda: nn.PixelUnshuffle(2), b=lambda: block(32, 8))
around("move: zeros beside sums", lambda s, y: F.relu(s.n(F.pad(s.a(y), (1, 1, 1, 1)))), a=lambda: conv(8, 8), n=lambda: nn.BatchNorm2d(8))
around("move: bilinear", lambda s, y: s.b(F.interpolate(y, scale_factor=2, mode="bilinear")), b=mid(), says="interpolate has no integer form")
around("move: ones beside codes", lambda s, y: s.b(F.pad(y, (1, 1), value=1.0)), b=mid(), says="pad has no integer form")

# --- whole networks ------------------------------------------------------------------------------
class Residual(nn.Module):
    def __init__(self, i, o, stride, kind):
        super().__init__()
        self.a, self.n, self.b, self.m = conv(i, o, stride=stride), nn.BatchNorm2d(o), conv(o, o), nn.BatchNorm2d(o)
        self.pad, self.o = kind == "pad" and stride > 1, o
        other = [conv(i, o, 1, stride=stride, padding=0), nn.BatchNorm2d(o)] if kind == "conv" and stride > 1 else []
        self.s = nn.Sequential(*other)

    def forward(self, x):
        y = self.m(self.b(F.relu(self.n(self.a(x)))))
        if self.pad: x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.o // 4, self.o // 4), "constant", 0)
        y += self.s(x)
        return F.relu(y)
for kind in ("conv", "pad"):
    for bits, how in (((4, 4), {}), ((2, 2), dict(first_bits=8, last_bits=8)), ((1, 3), dict(w_scale="channel")), ((4, 4), dict(w_quant="lsq"))):
        add(f"residual: {kind} shortcuts, {bits} {how}", lambda kind=kind: nn.Sequential(*block(3, 8), Residual(8, 8, 1, kind), Residual(8, 16, 2, kind), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)), bits=bits, how=how)
def inverted(i, o, t=2): return nn.Sequential(*block(i, i * t, 1), *block(i * t, i * t, groups=i * t), conv(i * t, o, 1), nn.BatchNorm2d(o))
around("residual: inverted, linear bottlenecks", lambda s, y: s.c(s.b(s.a(y)) + s.a(y)), a=lambda: inverted(8, 8), b=lambda: inverted(8, 8), c=mid())
def unet(s, x):
    a = s.a(x)
    b = s.b(F.max_pool2d(a, 2))
    return s.out(s.c(torch.cat([s.up(b), a], 1)))
def upsampled(s, x):
    a = s.a(x)
    return s.out(s.c(torch.cat([F.interpolate(s.b(F.max_pool2d(a, 2)), size=a.shape[2:]), a], 1)))
add("unet: transposed convolution", lambda: Whole(unet, a=block(3, 8), b=block(8, 16), up=nn.ConvTranspose2d(16, 8, 2, 2), c=block(16, 8), out=nn.Conv2d(8, 2, 1)))
add("unet: nearest", lambda: Whole(upsampled, a=block(3, 8), b=block(8, 16), c=block(24, 8), out=nn.Conv2d(8, 2, 1)), how=dict(last_bits=8))
add("generator: transposed only", lambda: nn.Sequential(nn.ConvTranspose2d(6, 8, 4), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 8, 4, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)), 6, 1, 1)
add("mixed: a float layer between codes", lambda: nn.Sequential(*block(3, 8), *block(8, 8), *block(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), 3, 16, 16, how=dict(bits_by="3=32"))
add("mixed: low-bit weights on floats", lambda: nn.Sequential(*block(3, 8), *block(8, 8), *block(8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)), how=dict(bits_by="2=32"))

# --- refused by name -------------------------------------------------------------------------------
add("refused: two inputs", lambda: Whole2(), says="takes 2 inputs (x, noise)")
class Whole2(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(3, 8), conv(8, 8), conv(8, 2)
    def forward(self, x, noise=0.0): return self.c(F.relu(self.b(F.relu(self.a(x + noise)))))
PARTS = dict(a=lambda: conv(3, 8), b=lambda: conv(8, 8), c=lambda: conv(8, 2), d=lambda: conv(8, 2))
def parted(name, f, says): add(f"refused: {name}", lambda: Whole(f, **{k: p() for k, p in PARTS.items()}), says=says)
def body(s, x): return F.relu(s.b(F.relu(s.a(x))))
parted("a tuple", lambda s, x: (s.c(body(s, x)), s.d(body(s, x))), "a tuple (c, d)")
parted("a list of one", lambda s, x: [s.c(body(s, x)) + 0 * s.d(body(s, x))], "a list (")
parted("a dictionary", lambda s, x: {"out": s.c(body(s, x)), "aux": s.d(body(s, x))}, "a dictionary (out, aux)")
parted("batch mixed into channels", lambda s, x: s.c(body(s, x)).view(-1, 4), "view has no integer form")
parted("mean over the batch", lambda s, x: s.c(body(s, x)) - s.d(body(s, x)).mean(0, keepdim=True), "a mean over the batch")
parted("product of two", lambda s, x: s.c(body(s, x)) * s.d(body(s, x)), "a product of two tensors")
parted("softmax", lambda s, x: F.softmax(s.c(body(s, x)), 1), "softmax has no integer form")
for act in (nn.GELU, nn.ELU, nn.SiLU, nn.LeakyReLU, nn.Hardswish, nn.Sigmoid): around(f"refused: {act.__name__}", lambda s, y: s.b(s.act(s.a(y))), a=lambda: conv(8, 8), act=act, b=mid(), says=f"act: {act.__name__} has no integer form")
around("refused: dropout that is always on", lambda s, y: s.b(F.dropout(y, 0.5, True)), b=mid(), says="dropout that is on in evaluation mode")
around("refused: float shortcut", lambda s, y: F.relu(s.a(y) + y), a=lambda: [*block(8, 8), conv(8, 8)], how=dict(fp_shortcut=True), says="full-precision shortcut")
def preact(s, x): return s.fc(F.relu(s.m(s.a(x) + s.b(F.relu(s.n(s.a(x)))))).mean((2, 3)))
PREACT = dict(a=lambda: conv(3, 8), n=lambda: nn.BatchNorm2d(8), b=lambda: conv(8, 8), m=lambda: nn.BatchNorm2d(8), fc=lambda: nn.Linear(8, 4))
add("refused: float stem into a sum", lambda: Whole(preact, **{k: p() for k, p in PREACT.items()}), says="first_bits=8")
add("residual: pre-activation, first_bits=8", lambda: Whole(preact, **{k: p() for k, p in PREACT.items()}), how=dict(first_bits=8))
around("refused: one bit of two signs", lambda s, y: s.b(s.a(y)), a=lambda: conv(8, 8), b=lambda: [conv(8, 8, 1), nn.ReLU()], bits=(4, 1), says="1 bit with two signs")
def hooked(low):
    low.get_submodule("mid.0").register_forward_hook(lambda m, args, out: out + 1)
    return low
around("refused: a hook that changes values", lambda s, y: s.mid(y), mid=mid())
NETWORKS["refused: a hook that changes values"].change, NETWORKS["refused: a hook that changes values"].says = hooked, "no integer form yet"
for kind in (torch.float16, torch.bfloat16):
    around(f"refused: {kind}", lambda s, y: s.mid(y), mid=mid())
    NETWORKS[f"refused: {kind}"].change, NETWORKS[f"refused: {kind}"].says = lambda low, kind=kind: low.to(kind), "call .float()"

# --- more in the same kinds --------------------------------------------------------------------------
around("layer: F.conv2d with a parameter", lambda s, y: F.relu(F.conv2d(s.mid(y), s.w, padding=1)), w=param(8, 8, 3, 3), mid=mid())
around("layer: @ a parameter", lambda s, y: s.mid(y).mean((2, 3)) @ s.w, flat=True, w=param(8, 8), mid=mid())
around("layer: channels last, Linear", lambda s, y: s.mid(F.relu(s.fc(y.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)), fc=lambda: nn.Linear(8, 8), mid=mid())
around("cat: torch.stack, flatten", lambda s, y: s.c(torch.stack([F.relu(s.a(y)), F.relu(s.b(y))], 1).flatten(1, 2)), c=lambda: block(16, 8), **TWO)
around("cat: torch.stack, sum", lambda s, y: F.relu(torch.stack([s.a(y), s.b(y)], dim=2).sum(2)), **TWO)
around("cat: zeros made in forward", lambda s, y: s.c(torch.cat([y, y.new_zeros(y.shape[0], 8, y.size(2), 12)], 1)), c=lambda: block(16, 8))
around("cat: zeros_like", lambda s, y: s.c(torch.cat([s.a(y), torch.zeros_like(y)], 1)), c=lambda: block(16, 8), **TWO)
around("cat: parts cut out again", lambda s, y: s.c(fire(s, y)[:, 3:11]), c=mid(), **TWO)
around("pool: amax", lambda s, y: torch.amax(s.mid(y), (2, 3)), flat=True, mid=mid())
around("pool: amax of sums", lambda s, y: F.relu(s.a(y).amax(dim=(-1, -2), keepdim=True)), a=lambda: conv(8, 8))
around("pool: of a concatenation's sums", lambda s, y: F.relu(F.avg_pool2d(torch.cat([s.a(y), s.b(y)], 1), 3, 2)), 16, **TWO)
around("constant: three terms and a number", lambda s, y: F.relu(s.a(y) + s.b(y) + y - 0.25), **TWO)
around("constant: sum() of a list", lambda s, y: F.relu(sum([s.a(y), s.b(y)])), **TWO)
around("residual: three branches with norms", lambda s, y: F.relu(s.m(s.a(y)) + s.n(s.b(y)) + s.o(y)), m=lambda: nn.BatchNorm2d(8), n=lambda: nn.BatchNorm2d(8), o=lambda: nn.BatchNorm2d(8), **TWO)
around("residual: upsampled sums", lambda s, y: F.relu(s.a(y) + F.interpolate(s.n(s.b(F.max_pool2d(y, 2))), scale_factor=2)), n=lambda: nn.BatchNorm2d(8), **TWO)
around("residual: of halves", lambda s, y: s.c(torch.cat([F.relu(s.p(y[:, :4])), F.relu(s.q(y[:, 4:]) + y[:, :4])], 1)), p=lambda: conv(4, 4), q=lambda: conv(4, 4), c=mid())
around("clip: ReLU twice", lambda s, y: s.mid(F.relu(F.relu(s.a(y)))), a=lambda: conv(8, 8), mid=mid())
around("clip: relu of codes", lambda s, y: s.mid(F.max_pool2d(y, 2).clamp(min=0)), mid=mid())
around("clip: clamp, max-pool, clip", lambda s, y: s.mid(F.relu(F.max_pool2d(s.a(y).clamp(-1, 2), 2))), a=lambda: conv(8, 8), mid=mid())
add("result: one number an image", lambda: Whole(lambda s, x: s.c(body(s, x)).mean((1, 2, 3)), **{k: p() for k, p in PARTS.items()}))
add("result: squeezed", lambda: Whole(lambda s, x: s.fc(body(s, x).mean((2, 3))).squeeze(1), fc=nn.Linear(8, 1), **{k: p() for k, p in PARTS.items()}), how=dict(last_bits=8))
add("result: a map", lambda: Whole(lambda s, x: F.interpolate(s.c(body(s, x)), size=(24, 20)), **{k: p() for k, p in PARTS.items()}))
add("result: codes", lambda: Whole(lambda s, x: F.max_pool2d(s.c(body(s, x)), 2) + 1, **{k: p() for k, p in PARTS.items()}), how=dict(last_bits=4))
around("refused: MaxPool2d(return_indices=True)", lambda s, y: s.mid(F.max_pool2d(y, 2, return_indices=True)[0]), mid=mid(), says="max_pool2d_with_indices has no integer form")
around("refused: y ** 2", lambda s, y: s.mid(y**2), mid=mid(), says="pow has no integer form")
around("refused: squeeze and excitation", lambda s, y: s.mid(y * torch.sigmoid(s.fc(y.mean((2, 3), keepdim=True)))), fc=lambda: conv(8, 8, 1), mid=mid(), says="sigmoid has no integer form")
around("refused: half inside", lambda s, y: s.mid(y.half().float()), mid=mid(), says="a cast to torch.float16")

for name, f in {"norm": lambda s, y: s.n(F.max_pool2d(s.a(y), 2)), "mean": lambda s, y: F.avg_pool2d(F.max_pool2d(s.a(y), 2), 2), "number": lambda s, y: F.max_pool2d(s.a(y), 3, 2, 1) * 2 - 1,
                "concatenation": lambda s, y: torch.cat([F.max_pool2d(s.a(y), 2), F.avg_pool2d(y, 2)], 1)[:, 4:12], "sum": lambda s, y: F.max_pool2d(s.a(y), 3, 1, 1) + y}.items():
    around(f"pool: max of sums, then {name}", lambda s, y, f=f: F.relu(f(s, y)), a=lambda: conv(8, 8), n=lambda: nn.BatchNorm2d(8))
around("refused: norm, max-pool, number", lambda s, y: F.relu(F.max_pool2d(s.n(s.a(y)), 2) * 2), a=lambda: conv(8, 8), n=lambda: nn.BatchNorm2d(8), says="put a clip between the two")
