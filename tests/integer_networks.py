"""Small networks of the kinds that people bring: right in integers, or refused by name.

`NETWORKS`: name → `Case`. Nothing here is taken from anyone's repository; the shapes are small so
that all of them are converted, packed and exported in two minutes."""
from dataclasses import dataclass, field
from functools import partial
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


def conv(i, o, k=3, **how):
    return nn.Conv2d(i, o, k, **how if "padding" in how else dict(padding=k // 2) | how)


def block(i, o, k=3, **how): return [conv(i, o, k, **how), nn.BatchNorm2d(o), nn.ReLU()]


class Whole(nn.Module):
    "`f(self, x)` is all of forward; parts by name, lists of modules in a row."
    def __init__(self, f, **parts):
        super().__init__()
        self.f = f
        for name, part in parts.items():
            if isinstance(part, list): part = nn.Sequential(*part)
            if isinstance(part, nn.Module | nn.Parameter): setattr(self, name, part)
            else: self.register_buffer(name, part)

    def forward(self, x): return self.f(self, x)


class Around(Whole):
    "Stem → `f(self, codes of 8 channels)` → mean, unless `flat` → classifier."
    def __init__(self, f, out=8, flat=False, **parts):
        super().__init__(f, **parts)
        self.stem, self.head = nn.Sequential(*block(3, 8)), nn.Linear(out, 5)
        self.mean = nn.Identity() if flat else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x): return self.head(self.mean(self.f(self, self.stem(x))))


def made(parts): return {k: p() for k, p in parts.items()}


def around(name, f, out=8, flat=False, says="", bits=(4, 4), how=None, **parts):
    "A case in which `f` stands between stem and classifier; parts are made by calling them."
    make = lambda: Around(f, out, flat, **made(parts))
    add(name, make, says=says, bits=bits, how=how or {})


def whole(name, f, *shape, says="", how=None, **parts):
    add(name, lambda: Whole(f, **made(parts)), *shape, says=says, how=how or {})


def operation(name, op, before=False, **more):
    "One operation, a function or a module, on codes, or on sums, and a layer behind it."
    first = (lambda s, y: s.a(y)) if before else (lambda s, y: y)
    if not isinstance(op, nn.Module): around(name, lambda s, y: s.mid(op(first(s, y))), **more)
    else: around(name, lambda s, y: s.mid(s.op(first(s, y))), op=lambda: op, **more)


def param(*shape): return lambda: nn.Parameter(0.3 * torch.randn(shape))
def buffer(*shape): return lambda: 0.3 * torch.randn(shape)


CONV, NORM, MID = partial(conv, 8, 8), partial(nn.BatchNorm2d, 8), partial(block, 8, 8)
WIDE = partial(block, 16, 8)
TWO = dict(a=partial(conv, 8, 8, 1), b=CONV)

# --- how people end a network ------------------------------------------------------------------
TAILS = {
    "avg_pool2d(y, y.size()[3]), view(size(0), -1)":
        lambda y: F.avg_pool2d(y, y.size()[3]).view(y.size(0), -1),
    "avg_pool2d(y, 12), view": lambda y: F.avg_pool2d(y, 12).view(y.size(0), -1),
    "view(-1, 8)": lambda y: F.avg_pool2d(y, kernel_size=12).view(-1, 8),
    "reshape(shape[0], -1)": lambda y: F.adaptive_avg_pool2d(y, 1).reshape(y.shape[0], -1),
    "squeeze(-1).squeeze(-1)": lambda y: F.adaptive_avg_pool2d(y, (1, 1)).squeeze(-1).squeeze(-1),
    "squeeze()": lambda y: F.adaptive_avg_pool2d(y, output_size=1).squeeze(),
    "mean([2, 3])": lambda y: y.mean([2, 3]),
    "mean(-1).mean(-1)": lambda y: y.mean(-1).mean(-1),
    "torch.mean(dim=(-2, -1), keepdim=True)":
        lambda y: torch.mean(y, dim=(-2, -1), keepdim=True).flatten(1),
    "sum((2, 3)) / 144": lambda y: y.sum((2, 3)) / 144,
    "torch.flatten(adaptive, 1)":
        lambda y: torch.flatten(F.adaptive_avg_pool2d(y, (1, 1)), start_dim=1),
    "flatten(2).mean(2)": lambda y: y.flatten(2).mean(2),
    "view(n, c, -1).mean(-1)": lambda y: y.view(y.shape[0], y.shape[1], -1).mean(-1),
    "adaptive_max_pool2d": lambda y: F.adaptive_max_pool2d(y, 1).flatten(1),
    "amax": lambda y: torch.amax(y, (2, 3)),
    "y[:, :, 0, 0]": lambda y: F.avg_pool2d(y, 12)[:, :, 0, 0],
}
for name, tail in TAILS.items():
    around(f"tail: {name}", lambda s, y, tail=tail: tail(s.mid(y)), flat=True, mid=MID)

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
    "AvgPool2d count_include_pad=False":
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
    "AvgPool2d divisor_override": nn.AvgPool2d(2, divisor_override=3),
    "AvgPool2d ceil_mode": nn.AvgPool2d(5, stride=5, ceil_mode=True),
    "adaptive 12 to 12": lambda y: F.adaptive_avg_pool2d(y, 12),
    "adaptive 12 to 14": lambda y: F.adaptive_avg_pool2d(y, (14, None)),
    "adaptive 12 to 5": nn.AdaptiveAvgPool2d(5),
    "adaptive max 12 to 5": nn.AdaptiveMaxPool2d((5, 12)),
}
for name, pool in POOLS.items(): operation(f"pool: {name}", pool, mid=MID)
SUMS = {
    "max": lambda s, y: F.max_pool2d(s.n(s.a(y)), 2),
    "average": lambda s, y: F.avg_pool2d(s.n(s.a(y)), 3, 2, 1, count_include_pad=False),
    "average of many": lambda s, y: s.n(F.avg_pool2d(s.a(y), 6)),
    "amax": lambda s, y: s.a(y).amax(dim=(-1, -2), keepdim=True),
    "max, then norm": lambda s, y: s.n(F.max_pool2d(s.a(y), 2)),
    "max, then mean": lambda s, y: F.avg_pool2d(F.max_pool2d(s.a(y), 2), 2),
    "max, then numbers": lambda s, y: F.max_pool2d(s.a(y), 3, 2, 1) * 2 - 1,
    "max, then concatenation":
        lambda s, y: torch.cat([F.max_pool2d(s.a(y), 2), F.avg_pool2d(y, 2)], 1)[:, 4:12],
    "max, then sum": lambda s, y: F.max_pool2d(s.a(y), 3, 1, 1) + y,
}
for name, f in SUMS.items():
    for bits in ((4, 4), (8, 8)):
        around(f"pool of sums: {name}, {bits}", lambda s, y, f=f: F.relu(f(s, y)),
               a=CONV, n=NORM, bits=bits)
around("pool of sums: max, flatten", lambda s, y: F.relu(torch.flatten(F.max_pool2d(s.a(y), 6), 1)),
       32, True, a=CONV, how=dict(last_bits=8))

# --- clips -------------------------------------------------------------------------------------
CLIPS = {
    "F.relu": F.relu, "torch.relu": torch.relu, "y.relu()": lambda y: y.relu(), "F.relu6": F.relu6,
    "ReLU6": nn.ReLU6(), "Hardtanh(0, 6)": nn.Hardtanh(0, 6),
    "clamp(0, 6)": lambda y: y.clamp(0, 6), "clamp(min=0)": lambda y: torch.clamp(y, min=0),
    "Hardtanh()": nn.Hardtanh(),
    "F.hardtanh by keyword": lambda y: F.hardtanh(y, min_val=-2.0, max_val=0.5),
    "twice": lambda y: F.relu(F.relu(y)),
    "clamp, max-pool, clip": lambda y: F.relu(F.max_pool2d(y.clamp(-1, 2), 2)),
}
for name, clip in CLIPS.items(): operation(f"clip: {name}", clip, before=True, a=CONV, mid=MID)
around("clip: of codes", lambda s, y: s.mid(F.max_pool2d(y, 2).clamp(min=0)), mid=MID)
around("clip: of the logits", lambda s, y: F.relu(s.fc(s.mid(y).mean((2, 3)))), flat=True,
       mid=MID, fc=lambda: nn.Linear(8, 8))
around("clip: dropouts and identity", lambda s, y: s.mid(F.dropout(s.i(s.d(y)), 0.3, s.training)),
       d=lambda: nn.Dropout2d(0.2), i=nn.Identity, mid=MID)

# --- layers ------------------------------------------------------------------------------------
CONVS = {
    "same": dict(padding="same"), "same, even kernel": dict(k=4, padding="same"),
    "same, dilated": dict(padding="same", dilation=2), "valid": dict(padding="valid"),
    "circular": dict(padding_mode="circular"), "reflect": dict(padding_mode="reflect"),
    "depthwise": dict(groups=8),
    "grouped, uneven": dict(k=(3, 5), groups=2, stride=(2, 1), padding=(1, 2)),
}
for name, how in CONVS.items():
    around(f"conv: {name}", lambda s, y: s.mid(y),
           mid=lambda how=how: [conv(8, 8, **how), nn.ReLU(), *block(8, 8)])
DECONVS = {
    "stride 2": dict(stride=2), "cropped": dict(kernel_size=3, padding=2),
    "output_padding": dict(kernel_size=3, stride=2, padding=1, output_padding=1),
    "groups, dilation": dict(kernel_size=3, groups=2, dilation=2, stride=(1, 2)),
}
def up(how): return [nn.ConvTranspose2d(8, 8, **dict(kernel_size=2) | how), NORM(), nn.ReLU()]
for name, how in DECONVS.items():
    around(f"transposed: {name}", lambda s, y: s.b(s.a(y)), a=partial(up, how), b=MID)
around("transposed: output_size", lambda s, y: s.b(F.relu(s.a(y, output_size=(24, 23)))),
       a=lambda: nn.ConvTranspose2d(8, 8, 3, 2, 1), b=MID)
add("1-D: Conv1d, BatchNorm1d, MaxPool1d", lambda: nn.Sequential(
    nn.Conv1d(2, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
    nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 3, dilation=2),
    nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4)), 2, 24)
whole("1-D: F.max_pool1d, F.avg_pool1d",
      lambda s, x: s.fc(F.avg_pool1d(s.b(F.max_pool1d(s.a(x), 2)), 4).flatten(1)), 2, 24,
      a=lambda: [nn.Conv1d(2, 8, 3, padding=1), nn.ReLU()],
      b=lambda: [nn.Conv1d(8, 8, 5, padding=2), nn.ReLU()],
      fc=lambda: nn.Linear(24, 3), how=dict(last_bits=8))
def mlp(*sizes, end=()):
    layers = [m for i, o in zip(sizes, sizes[1:]) for m in (nn.Linear(i, o), nn.ReLU())]
    return nn.Sequential(*layers[: len(layers) - (not end)], *end)
add("linear: [N, F]", lambda: mlp(6, 16, 16, 3), 6)
add("linear: [N, F], 8-bit ends", lambda: mlp(6, 16, 16, 3), 6, how=dict(first_bits=8, last_bits=8))
add("linear: [N, F], BatchNorm1d", lambda: nn.Sequential(
    nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 16), nn.BatchNorm1d(16),
    nn.ReLU(), nn.Dropout(), nn.Linear(16, 3)), 6)
add("linear: [N, T, C]", lambda: mlp(6, 8, 8, 8, end=(nn.Flatten(), nn.Linear(40, 3))), 5, 6)
add("linear: [N, T, C], T = C", lambda: mlp(6, 6, 6, end=(nn.Flatten(), nn.Linear(36, 3))), 6, 6)
whole("linear: mean of tokens", lambda s, x: s.c(s.a(x).mean(1)), 5, 6,
      a=lambda: mlp(6, 8, 8, end=(nn.Identity(),)), c=lambda: nn.Linear(8, 3),
      how=dict(last_bits=8))
around("linear: patches as tokens", lambda s, y: F.relu(s.fc(y.flatten(2).transpose(1, 2))).mean(1),
       flat=True, fc=lambda: nn.Linear(8, 8))
around("linear: channels last",
       lambda s, y: s.mid(F.relu(s.fc(y.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)),
       fc=lambda: nn.Linear(8, 8), mid=MID)
around("layer: one convolution three times",
       lambda s, y: F.relu(s.a(F.relu(s.a(F.relu(s.a(y)))))), a=CONV)
around("layer: F.conv2d with a parameter",
       lambda s, y: F.relu(F.conv2d(s.mid(y), s.w, padding=1)), w=param(8, 8, 3, 3), mid=MID)
around("layer: @ a parameter", lambda s, y: s.mid(y).mean((2, 3)) @ s.w, flat=True,
       w=param(8, 8), mid=MID)

around("layer: by keyword", lambda s, y: F.relu(s.n(input=s.a(input=y))), a=CONV, n=NORM)
around("layer: spectral norm", lambda s, y: s.b(s.a(y)), b=MID,
       a=lambda: [nn.utils.parametrizations.spectral_norm(CONV()), NORM(), nn.ReLU()])
around("layer: Conv3d between", lambda s, y: s.c(F.relu(s.a(y.unsqueeze(1))).flatten(1, 2)),
       a=lambda: nn.Conv3d(1, 2, 3, padding=1), c=WIDE)
around("layer: ConvTranspose1d between",
       lambda s, y: s.c(F.relu(s.a(y.flatten(2))).view(y.size(0), 8, 12, 24)),
       a=lambda: nn.ConvTranspose1d(8, 8, 2, 2), c=MID)

# --- norms -------------------------------------------------------------------------------------
NORMS = {
    "affine=False": partial(NORM, affine=False), "SyncBatchNorm": lambda: nn.SyncBatchNorm(8),
    "momentum=None": partial(NORM, momentum=None), "eps": partial(NORM, eps=0.1),
}
def normed(s, y): return s.b(F.relu(s.n(s.a(y))))
for name, norm in NORMS.items(): around(f"norm: {name}", normed, a=CONV, n=norm, b=MID)
around("norm: scale and shift as buffers", lambda s, y: s.b(F.relu(s.a(y) * s.g + s.h)),
       a=CONV, g=buffer(1, 8, 1, 1), h=buffer(1, 8, 1, 1), b=MID)
around("norm: track_running_stats=False", normed, a=CONV, b=MID,
       n=partial(nn.BatchNorm2d, 8, track_running_stats=False),
       says="n: batch norm with the statistics of the batch at hand")
around("norm: GroupNorm", normed, a=CONV, n=lambda: nn.GroupNorm(2, 8), b=MID,
       says="n: GroupNorm has no integer form")

# --- parameters, buffers and numbers in the graph ----------------------------------------------
CONSTANTS = {
    "+ one number": (lambda s, y: s.a(y) + s.p, param(1)),
    "+ one a channel": (lambda s, y: s.a(y) + s.p, param(8, 1, 1)),
    "- one a channel": (lambda s, y: s.a(y) - s.p, param(1, 8, 1, 1)),
    "number - y": (lambda s, y: s.p - s.a(y), param(1)),
    "+ a map": (lambda s, y: s.a(y) + s.p, param(8, 12, 12)),
    "torch.add(alpha)": (lambda s, y: torch.add(s.a(y), s.p, alpha=-2), param(8, 1, 1)),
    "* one a channel": (lambda s, y: s.a(y) * s.p, param(8, 1, 1)),
    "/ number": (lambda s, y: s.a(y) / 3, param(1)), "-y": (lambda s, y: -s.a(y), param(1)),
    "codes + number": (lambda s, y: y + 0.5, param(1)),
    "codes * map": (lambda s, y: y * s.p, param(12, 12)),
    "torch.add of two, alpha": (lambda s, y: torch.add(s.a(y), y, alpha=0.5), param(1)),
    "torch.sub of two": (lambda s, y: torch.sub(s.a(y), other=y), param(1)),
    "add_ in place": (lambda s, y: s.a(y).add_(y), param(1)),
    "x + x": (lambda s, y: y + y, param(1)),
    "sum() of a list": (lambda s, y: sum([s.a(y), y, s.p]), param(1)),
}
for name, (f, p) in CONSTANTS.items():
    around(f"constant: {name}", lambda s, y, f=f: s.b(f(s, y)), a=CONV, p=p, b=MID)
ENDS = dict(a=partial(block, 3, 8), b=MID, fc=lambda: nn.Linear(8, 4))
def image(f): return lambda s, x: s.fc(s.b(s.a(f(s, x))).mean((2, 3)))
whole("constant: image + shift", image(lambda s, x: (x + s.p) / 0.5), p=param(3, 1, 1), **ENDS)
whole("constant: image normalised, 8-bit first layer", image(lambda s, x: (x - 0.4) * s.p),
      p=param(3, 1, 1), how=dict(first_bits=8), **ENDS)
around("constant: logits + prior", lambda s, y: s.fc(s.mid(y).mean((2, 3))) + s.p, flat=True,
       mid=MID, fc=lambda: nn.Linear(8, 8), p=param(8), how=dict(last_bits=8))
around("constant: size of the batch", lambda s, y: s.mid(y / y.size(0)), mid=MID,
       says="another batch size")
around("constant: noise", lambda s, y: s.mid(y + torch.rand_like(y)), mid=MID,
       says="rand_like has no integer form")

# --- concatenations, chunks, channel shuffle ---------------------------------------------------
def fire(s, y): return torch.cat([F.relu(s.a(y)), F.relu(s.b(y))], 1)
def shuffle(y, g=2):
    n, c, h, w = y.size()
    return y.view(n, g, c // g, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
CATS = {
    "of clips": fire,
    "torch.concat, dim=-3": lambda s, y: torch.concat((F.relu(s.a(y)), F.relu(s.b(y))), dim=-3),
    "of clips, max-pool": lambda s, y: F.max_pool2d(fire(s, y), 3, 1, 1),
    "of clips, average": lambda s, y: F.avg_pool2d(fire(s, y), 2),
    "of clips and input": lambda s, y: torch.cat([F.relu(s.a(y)), y], dim=1),
    "of clips, shuffled": lambda s, y: shuffle(fire(s, y)),
    "of sums, norm, clip": lambda s, y: F.relu(s.n(torch.cat([s.a(y), s.b(y)], 1))),
    "of codes and sums": lambda s, y: torch.cat([y, s.b(y)], 1),
    "of sums of 1 and 2 terms": lambda s, y: torch.cat([s.a(y), s.b(y) + y], 1),
    "of one clip twice": lambda s, y: torch.cat([y, y], 1),
    "with zeros": lambda s, y: torch.cat((s.a(y), y.mul(0)), 1),
    "with zeros_like": lambda s, y: torch.cat([s.a(y), torch.zeros_like(y)], 1),
    "with new_zeros": lambda s, y: torch.cat([y, y.new_zeros(y.shape[0], 8, y.size(2), 12)], 1),
    "with a parameter": lambda s, y: torch.cat((y, s.p.expand(y.size(0), -1, -1, -1)), 1),
    "torch.stack": lambda s, y: torch.stack([F.relu(s.a(y)), F.relu(s.b(y))], 1).flatten(1, 2),
}
for name, f in CATS.items():
    around(f"cat: {name}", lambda s, y, f=f: s.c(f(s, y)), n=lambda: nn.BatchNorm2d(16),
           p=param(1, 8, 12, 12), c=WIDE, **TWO)
for g in (2, 16):
    around(f"cat: {g} groups behind it", lambda s, y: s.c(fire(s, y)), 16,
           c=partial(block, 16, 16, groups=g), **TWO)
around("cat: groups across clips", lambda s, y: s.c(shuffle(fire(s, y))), 16,
       c=partial(block, 16, 16, groups=2), **TWO)
around("cat: flattened, low-bit classifier",
       lambda s, y: F.adaptive_avg_pool2d(fire(s, y), 2).flatten(1), 64, True,
       how=dict(last_bits=8), **TWO)
around("cat: flattened codes into Linear",
       lambda s, y: F.relu(s.fc(F.max_pool2d(fire(s, y), 6).flatten(1))), flat=True,
       fc=lambda: nn.Linear(64, 8), **TWO)
around("cat: last layer", fire, 16, **TWO)
around("cat: parts cut out again", lambda s, y: s.c(fire(s, y)[:, 3:11]), c=MID, **TWO)
around("cat: stack, sum", lambda s, y: F.relu(torch.stack([s.a(y), s.a(y)], dim=2).sum(2)),
       a=CONV)
around("cat: sums, then average",
       lambda s, y: F.relu(F.avg_pool2d(torch.cat([s.a(y), s.b(y)], 1), 3, 2)), 16, **TWO)
around("cat: along the height", lambda s, y: s.b(torch.cat([y, y.flip(2)], 2)), b=MID)
around("cat: two clips along the height",
       lambda s, y: s.c(torch.cat([F.relu(s.a(y)), F.relu(s.b(y))], 2)), c=MID,
       says="several clips that change within a channel", **TWO)
def dense(s, y):
    parts = [y]
    for layer in (s.d1, s.d2, s.d3): parts.append(layer(torch.cat(parts, 1)))
    return F.relu(s.n(s.t(torch.cat(parts, 1))))
def pre(i, o):
    return [nn.BatchNorm2d(i), nn.ReLU(), conv(i, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), conv(4, o)]
around("cat: dense block", dense, d1=partial(pre, 8, 4), d2=partial(pre, 12, 4), n=NORM,
       t=lambda: [nn.BatchNorm2d(20), nn.ReLU(), conv(20, 8, 1), nn.AvgPool2d(2)],
       d3=partial(pre, 16, 4))
def unit(s, y):
    a, b = y.chunk(2, dim=1)
    return shuffle(torch.cat((a, s.b(b)), dim=1))
def branch(): return [*block(4, 4, 1), conv(4, 4, groups=4), nn.BatchNorm2d(4), *block(4, 4, 1)]
around("cat: two shuffled units", lambda s, y: s.b(s.u(s.v(y))), b=MID,
       u=lambda: Whole(unit, b=branch()), v=lambda: Whole(unit, b=block(4, 4)))
around("chunk: halves of sums", lambda s, y: F.relu(s.a(y)[:, :4]) + F.relu(s.a(y)[:, 4:]), 4,
       a=CONV)
around("chunk: split by sizes",
       lambda s, y: s.c(torch.cat(torch.split(y, [2, 6], dim=1)[::-1], 1)), c=MID)

# --- moves -------------------------------------------------------------------------------------
MOVES = {
    "nearest, F.interpolate": lambda y: F.interpolate(y, scale_factor=2, mode="nearest"),
    "nearest, size": lambda y: F.interpolate(y, size=(17, 9)),
    "nn.Upsample": nn.Upsample(scale_factor=2),
    "repeat_interleave": lambda y: y.repeat_interleave(2, 2),
    "F.pad zeros": lambda y: F.pad(y, (1, 2, 0, 3)),
    "F.pad crop": lambda y: F.pad(y, (-1, -2, 0, 1)),
    "ZeroPad2d": nn.ZeroPad2d(2), "ReflectionPad2d": nn.ReflectionPad2d(1),
    "flip": lambda y: y.flip(3), "roll": lambda y: torch.roll(y, 2, 1),
    "crop": lambda y: y[:, :, 1:-1, 2:], "stride": lambda y: y[..., ::2, ::2],
    "channels last and back": lambda y: y.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "unsqueeze, squeeze": lambda y: y.unsqueeze(2).squeeze(2),
    "clone, detach, to": lambda y: y.clone().detach().to(y.dtype),
    "ChannelShuffle": nn.ChannelShuffle(4), "rot90": lambda y: torch.rot90(y, 1, (2, 3)),
    "ConstantPad2d(0)": nn.ConstantPad2d(1, 0.0), "transpose": lambda y: y.transpose(2, 3),
    "view, sum": lambda y: y.view(y.size(0), y.size(1), 2, -1, 12).transpose(2, 3).flatten(2, 3),
}
for name, f in MOVES.items(): operation(f"move: {name}", f, mid=MID)
around("move: PixelShuffle", lambda s, y: s.b(F.pixel_shuffle(y, 2)), b=partial(block, 2, 8))
around("move: PixelUnshuffle", lambda s, y: s.b(s.p(y)), p=lambda: nn.PixelUnshuffle(2),
       b=partial(block, 32, 8))
around("move: zeros beside sums", lambda s, y: F.relu(s.n(F.pad(s.a(y), (1, 1, 1, 1)))),
       a=CONV, n=NORM)
around("move: bilinear", lambda s, y: s.b(F.interpolate(y, scale_factor=2, mode="bilinear")),
       b=MID, says="interpolate has no integer form")
around("move: ones beside codes", lambda s, y: s.b(F.pad(y, (1, 1), value=1.0)), b=MID,
       says="pad has no integer form")

# --- whole networks ----------------------------------------------------------------------------
class Residual(nn.Module):
    "Two convolutions and a shortcut: none, a padded stride, or a convolution."
    def __init__(self, i, o, stride, kind):
        super().__init__()
        self.a, self.n, _ = block(i, o, stride=stride)
        self.b, self.m, _ = block(o, o)
        self.pad, self.o = kind == "pad" and stride > 1, o
        other = kind == "conv" and stride > 1
        self.s = nn.Sequential(*block(i, o, 1, stride=stride)[:2] if other else [])

    def forward(self, x):
        y = self.m(self.b(F.relu(self.n(self.a(x)))))
        zeros = (0, 0, 0, 0, self.o // 4, self.o // 4)
        if self.pad: x = F.pad(x[:, :, ::2, ::2], zeros, "constant", 0)
        y += self.s(x)
        return F.relu(y)
def residual(kind):
    blocks = [Residual(8, 8, 1, kind), Residual(8, 16, 2, kind)]
    ends = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)]
    return nn.Sequential(*block(3, 8), *blocks, *ends)
SETTINGS = [
    ((4, 4), {}), ((2, 2), dict(first_bits=8, last_bits=8)), ((1, 3), dict(w_scale="channel")),
    ((4, 4), dict(w_quant="lsq")), ((8, 8), dict(w_quant="sawb")), ((3, 5), dict(w_quant="pact"))]
for kind in ("conv", "pad"):
    for bits, how in SETTINGS:
        add(f"residual: {kind}, {bits}, {how}", partial(residual, kind), bits=bits, how=how)
def inverted(t=16):
    return [*block(8, t, 1), *block(t, t, groups=t), conv(t, 8, 1), nn.BatchNorm2d(8)]
around("residual: inverted, linear bottlenecks", lambda s, y: s.c(s.b(s.a(y)) + s.a(y)),
       a=inverted, b=inverted, c=MID)
around("residual: three branches with norms",
       lambda s, y: F.relu(s.m(s.a(y)) + s.n(s.b(y)) + s.o(y)), m=NORM, n=NORM, o=NORM, **TWO)
around("residual: upsampled sums",
       lambda s, y: F.relu(s.a(y) + F.interpolate(s.n(s.b(F.max_pool2d(y, 2))), scale_factor=2)),
       n=NORM, **TWO)
around("residual: a mean beside a map", lambda s, y: s.b(s.a(y) + y.mean((2, 3), keepdim=True)),
       a=CONV, b=MID)
around("residual: of halves", lambda s, y: s.c(torch.cat(
           [F.relu(s.p(y[:, :4])), F.relu(s.q(y[:, 4:]) + y[:, :4])], 1)),
       p=partial(conv, 4, 4), q=partial(conv, 4, 4), c=MID)
def preact(s, x): return s.fc(F.relu(s.m(s.a(x) + s.b(F.relu(s.n(s.a(x)))))).mean((2, 3)))
PREACT = dict(a=partial(conv, 3, 8), n=NORM, b=CONV, m=NORM, fc=lambda: nn.Linear(8, 4))
whole("residual: pre-activation, first_bits=8", preact, how=dict(first_bits=8), **PREACT)
def unet(s, x):
    a = s.a(x)
    return s.out(s.c(torch.cat([s.up(s.b(F.max_pool2d(a, 2))), a], 1)))
def nearest(s, x):
    a = s.a(x)
    return s.out(s.c(torch.cat([F.interpolate(s.b(F.max_pool2d(a, 2)), size=a.shape[2:]), a], 1)))
whole("unet: transposed convolution", unet, a=partial(block, 3, 8), b=partial(block, 8, 16), c=WIDE,
      up=lambda: nn.ConvTranspose2d(16, 8, 2, 2), out=partial(conv, 8, 2, 1))
whole("unet: nearest", nearest, a=partial(block, 3, 8), b=partial(block, 8, 16),
      c=partial(block, 24, 8), out=partial(conv, 8, 2, 1), how=dict(last_bits=8))
add("generator: transposed only", lambda: nn.Sequential(
    nn.ConvTranspose2d(6, 8, 4), NORM(), nn.ReLU(), nn.ConvTranspose2d(8, 8, 4, 2, 1), NORM(),
    nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1)), 6, 1, 1)
def row(): return nn.Sequential(*block(3, 8), *block(8, 8), *block(8, 8), nn.AdaptiveAvgPool2d(1),
                                nn.Flatten(), nn.Linear(8, 5))
add("mixed: a float layer between codes", row, 3, 16, 16, how=dict(bits_by="3=32"))
add("mixed: low-bit weights on floats", row, how=dict(bits_by="2=32"))

# --- results -----------------------------------------------------------------------------------
BODY = dict(a=partial(conv, 3, 8), b=CONV, c=partial(conv, 8, 2), d=partial(conv, 8, 2))
def body(s, x): return F.relu(s.b(F.relu(s.a(x))))
whole("result: one number an image", lambda s, x: s.c(body(s, x)).mean((1, 2, 3)), **BODY)
whole("result: squeezed", lambda s, x: s.fc(body(s, x).mean((2, 3))).squeeze(1),
      fc=lambda: nn.Linear(8, 1), how=dict(last_bits=8), **BODY)
whole("result: a map", lambda s, x: F.interpolate(s.c(body(s, x)), size=(24, 20)), **BODY)
whole("result: pooled, plus one", lambda s, x: F.max_pool2d(s.c(body(s, x)), 2) + 1,
      how=dict(last_bits=4), **BODY)
RESULTS = {
    "a tuple": (lambda s, x: (s.c(body(s, x)), s.d(body(s, x))), "a tuple (c, d)"),
    "a list": (lambda s, x: [s.c(body(s, x)) + s.d(body(s, x))], "a list ("),
    "a dictionary": (lambda s, x: {"out": s.c(body(s, x)), "aux": s.d(body(s, x))},
                     "a dictionary (out, aux)"),
    "batch mixed into channels": (lambda s, x: s.c(body(s, x)).view(-1, 4), "view has no integer"),
    "mean over the batch": (lambda s, x: s.c(body(s, x)) - s.d(body(s, x)).mean(0, keepdim=True),
                            "a mean over the batch"),
    "product of two": (lambda s, x: s.c(body(s, x)) * s.d(body(s, x)), "a product of two tensors"),
    "softmax": (lambda s, x: F.softmax(s.c(body(s, x)), 1), "softmax has no integer form"),
}
for name, (f, says) in RESULTS.items(): whole(f"refused: {name}", f, says=says, **BODY)

# --- refused by name ---------------------------------------------------------------------------
for act in (nn.GELU, nn.ELU, nn.SiLU, nn.LeakyReLU, nn.PReLU, nn.Hardswish, nn.Sigmoid):
    around(f"refused: {act.__name__}", lambda s, y: s.b(s.act(s.a(y))), a=CONV, act=act, b=MID,
           says=f"act: {act.__name__} has no integer form")
REFUSED = {
    "dropout that is always on": (lambda y: F.dropout(y, 0.5, True), "dropout that is on"),
    "max-pool with indices": (lambda y: F.max_pool2d(y, 2, return_indices=True)[0],
                              "max_pool2d_with_indices has no integer form"),
    "sum with a dtype": (lambda y: y + torch.sum(y, 1, True, dtype=torch.float), "dtype="),
    "rounded division": (lambda y: torch.div(y, 0.3, rounding_mode="floor"),
                         "rounding_mode='floor'"),
    "y ** 2": (lambda y: y**2, "pow has no integer form"),
    "half inside": (lambda y: y.half().float(), "a cast to torch.float16"),
    "y * sigmoid": (lambda y: y * torch.sigmoid(y.mean((2, 3), keepdim=True)),
                    "sigmoid has no integer form"),
}
for name, (f, says) in REFUSED.items(): operation(f"refused: {name}", f, mid=MID, says=says)
around("refused: module with indices", lambda s, y: s.mid(s.p(y)[0]), mid=MID,
       p=lambda: nn.MaxPool2d(2, return_indices=True), says="return_indices=True")
around("refused: float shortcut", lambda s, y: F.relu(s.a(y) + y), how=dict(fp_shortcut=True),
       a=lambda: [*block(8, 8), conv(8, 8)], says="full-precision shortcut")
whole("residual: pre-activation, floats from the sum on", preact, **PREACT)
whole("refused: float stem into a sum", preact, says="first_bits=8", how=dict(last_bits=8),
      **PREACT)
around("refused: one bit of two signs", lambda s, y: s.b(s.a(y)), a=CONV, bits=(4, 1),
       b=lambda: [conv(8, 8, 1), nn.ReLU()], says="1 bit with two signs")
around("refused: norm, max-pool, number",
       lambda s, y: s.b(F.relu(F.max_pool2d(s.n(s.a(y)), 2) * 2)),
       a=CONV, n=NORM, b=MID, says="put a clip between the two")
around("clip: of a low-bit layer's map, then a mean", lambda s, y: F.relu(s.a(y)).mean((2, 3)) * 2,
       flat=True, a=CONV)


# two heads behind the last clip, one of them clipped itself, joined in four ways; a side that is
# zero on the example would not be missed there: the test converts with dark images, compares others
TAILS = {"relu": F.relu, "clamp": lambda t: t.clamp(-0.02, 0.02),
         "hardtanh": lambda t: F.hardtanh(t, -0.05, 0.05), "relu6": F.relu6,
         "amax": lambda t: torch.stack([t, -t], 1).amax(1)}
JOINS = {"sum": torch.add, "cat": lambda a, b: torch.cat([a, b], 1),
         "stack": lambda a, b: torch.stack([a, b], 1), "difference": torch.sub}
for tail, clip in TAILS.items():
    for join, both in JOINS.items():
        whole(f"tail: {join} with {tail}",
              lambda s, x, clip=clip, both=both: both(
                  s.fc(h := s.stem(x).mean((2, 3))), clip(s.aux(h))),
              how=dict(last_bits=8), stem=lambda: [*block(3, 8), *block(8, 8)],
              fc=lambda: nn.Linear(8, 5), aux=lambda: nn.Linear(8, 5))


def changed(name, change, says):
    "A network with something done to it after `quantize`."
    around(name, lambda s, y: s.mid(y), mid=MID)
    NETWORKS[name].change, NETWORKS[name].says = change, says


def hooked(low):
    low.get_submodule("mid.0").register_forward_hook(lambda m, args, out: out + 1)
    return low
def edited(low):
    "Something that no rule looks at: a clip that does more than its class."
    act = low.get_submodule("stem.2")
    act.forward = lambda x, plain=act.forward: plain(x) * 0.99
    return low
def two_inputs(low):
    "The graph of `forward(x, noise)` that adds its noise to the image."
    x = next(n for n in low.graph.nodes if n.op == "placeholder")
    with low.graph.inserting_after(x): noise = low.graph.placeholder("noise")
    with low.graph.inserting_after(noise): total = low.graph.call_function(torch.add, (x, noise))
    x.replace_all_uses_with(total, lambda user: user is not total)
    low.recompile()
    return low
changed("refused: two inputs", two_inputs, "takes 2 inputs (x, noise)")
changed("refused: a hook that changes values", hooked, "no integer form yet")
changed("refused: a clip changed by hand", edited, "no integer form yet")
for kind in (torch.float16, torch.bfloat16):
    changed(f"refused: {kind}", lambda low, kind=kind: low.to(kind), "call .float()")
