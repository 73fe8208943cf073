"""An independent judge of low-bit networks: what each layer reads and multiplies with, by hooks
and torch's function mode; nothing of the package but the names of its quantizers."""
from collections import defaultdict
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from pact_nb.pact import PACT, SignedPACT

FLOAT = 32
PRODUCTS = {F.linear, F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d,
            F.conv_transpose3d, torch.matmul, torch.mm, torch.bmm, Tensor.matmul,
            Tensor.__matmul__, F.multi_head_attention_forward}
WRAPPERS = "module.", "_orig_mod."


def leaves(out) -> list[Tensor]:
    "The tensors of any result: tuple, list, dictionary, named tuple."
    return [t for t in tree_leaves(out) if isinstance(t, Tensor)]


def same(a, b) -> bool:
    "Equal bit for bit, in number, kind and shape as well."
    a, b = leaves(a), leaves(b)
    alike = len(a) == len(b) and all(s.dtype == t.dtype for s, t in zip(a, b))
    return alike and all(torch.equal(s.nan_to_num(), t.nan_to_num()) for s, t in zip(a, b))


def loss_of(out) -> Tensor:
    "One number that every result of floats has a share in."
    floats = [t for t in leaves(out) if t.is_floating_point()]
    return sum(t.double().pow(2).mean() for t in floats)


def plain(name: str) -> str:
    "A name without what DataParallel and torch.compile put into it."
    parts = [p for p in name.split(".") if p + "." not in WRAPPERS]
    return ".".join(parts)


def rows_of(report: list[dict]) -> dict[str, dict]:
    return {r["layer"]: r for r in report}


def names(row: dict) -> list[str]:
    "The PACTs that a row of the report names."
    reads = row["reads"] or ""
    return [n for n in reads.split(", ") if n] if isinstance(reads, str) else list(reads)


def is_low(row: dict, what: str) -> bool:
    "Whether a row claims less than 32 bits; None, unknown, is no claim."
    return row[what] is not None and row[what] != FLOAT


def unlisted(params: dict[str, Tensor], report: list[dict]) -> list[str]:
    "Parameters of two or more dimensions that no row of the report covers."
    listed = {plain(r["layer"]) for r in report} - {""}
    def covered(name): return any(name == r or name.startswith(r + ".") for r in listed)
    return [n for n, p in params.items() if p.dim() > 1 and not covered(plain(n))]


def grid(act: nn.Module, dtype: torch.dtype) -> Tensor:
    "The levels of a quantizer, from its α and bits."
    alpha, k = act.alpha.detach().float(), act.k
    if not isinstance(act, SignedPACT): levels = torch.arange(2**k) * (alpha / (2**k - 1))
    elif k == 1: levels = torch.stack([-alpha, alpha])
    else:
        half = 2 ** (k - 1) - 1
        levels = torch.arange(-half, half + 1) * (alpha / half)
    return levels.to(dtype)


def off_grid(x: Tensor, acts: list) -> float:
    "The largest distance of a value from the levels of `acts`, as a share of the largest level."
    values = torch.unique(x.detach().flatten()).double()
    levels = torch.cat([grid(a, x.dtype).double() for a in acts])
    if len(values) > 5000: values = values[:: len(values) // 5000]
    far = (values[:, None] - levels).abs().min(1).values.max()
    return (far / levels.abs().max().clamp(min=1e-30)).item()


def distinct(w: Tensor) -> int:
    "Different values, among a million at most."
    w = w.flatten()
    return len(torch.unique(w[:: max(1, len(w) // 10**6)]))


class Seen(TorchFunctionMode):
    "Which tensors are multiplied with, inside and outside of the watched layers."
    def __init__(self):
        super().__init__()
        self.stack, self.reads = [], defaultdict(list)
        self.weights, self.outside = defaultdict(list), []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in PRODUCTS:
            given = [t for t in (*args, *kwargs.values()) if isinstance(t, Tensor)]
            if self.stack and len(given) > 1: self.weights[self.stack[-1]].append(given[1].detach())
            self.outside += given
        return func(*args, **kwargs)

    def enter(self, name: str):
        def hook(m, args, kwargs):
            self.stack.append(name)
            self.reads[name].append((*args, *kwargs.values())[0].detach().clone())
        return hook

    def leave(self, m, args, out): self.stack.pop()


@contextmanager
def watching(low: nn.Module, layers: list[str]):
    "Note what each layer reads and what it multiplies with, in evaluation without gradient."
    seen, handles = Seen(), []
    for name in layers:
        m = low.get_submodule(name)
        handles.append(m.register_forward_pre_hook(seen.enter(name), with_kwargs=True))
        handles.append(m.register_forward_hook(seen.leave))
    modes = {m: m.training for m in low.modules()}
    try:
        with torch.no_grad(), seen: yield seen
    finally:
        for h in handles: h.remove()
        for m, mode in modes.items(): m.training = mode


def wrong_weights(name: str, row: dict, low: nn.Module, seen: Seen) -> list[str]:
    "A layer that claims low-bit weights, is never called, or multiplies with others."
    if not is_low(row, "w_bits"): return []
    if name not in seen.reads: return [f"{name} claims {row['w_bits']}-bit weights and never ran"]
    own = low.get_submodule(name).weight
    if any(t is own for t in seen.outside): return [f"{name}: its float weight is multiplied with"]
    if not seen.weights[name]: return [f"{name}: its product was not seen"]
    most = max(distinct(w) for w in seen.weights[name])
    return [f"{name} multiplies with {most} values"] if most > 2 ** row["w_bits"] else []


def wrong_reads(name: str, row: dict, low: nn.Module, seen: Seen) -> list[str]:
    "A layer that claims a low-bit input and reads other values than the levels it names."
    if not is_low(row, "a_bits"): return []
    if not names(row): return [f"{name} claims {row['a_bits']}-bit input and names no quantizer"]
    acts, bad = [low.get_submodule(n) for n in names(row)], []
    if idle := [n for n, a in zip(names(row), acts) if a.k == FLOAT]:
        return [f"{name} reads {', '.join(idle)}, which rounds nothing"]
    for x in seen.reads[name]:
        n, most = len(torch.unique(x)), sum(2**a.k for a in acts)
        if n > most: bad.append(f"{name} reads {n} values of {most}")
        elif (off := off_grid(x, acts)) > 1e-5: bad.append(f"{name} is off its levels by {off:.1e}")
    if max(a.k for a in acts) > row["a_bits"]: bad.append(f"{name} claims fewer bits than it reads")
    return bad


def unknown_reads(name: str, row: dict, low: nn.Module, seen: Seen) -> list[str]:
    "Read module by module: a low-bit layer whose input is no level of any quantizer there is."
    if row["a_bits"] is not None or not is_low(row, "w_bits"): return []
    acts = [m for m in low.modules() if isinstance(m, PACT) and m.k != FLOAT]
    inputs = seen.reads.get(name, [])
    if inputs and not acts: return [f"{name} reads floats: there is no quantizer"]
    far = [x for x in inputs if min(off_grid(x, [a]) for a in acts) > 1e-5]
    return [f"{name} reads values that are no level of any quantizer"] if far else []


def count(low: nn.Module, x: tuple, report: list[dict]) -> tuple[int, list[str]]:
    "Layers whose claims were looked at, and what is wrong with them."
    rows = {n: r for n, r in rows_of(report).items() if is_low(r, "w_bits") or is_low(r, "a_bits")}
    bad = []
    with watching(low, list(rows)) as seen:
        low.eval()
        low(*x)
        for n, r in rows.items():
            for judge in (wrong_weights, wrong_reads, unknown_reads): bad += judge(n, r, low, seen)
    return len(rows), bad
