"""Whole runs on a GPU that is not there, beside the same on the CPU: `run_with_stand_in` starts it.

`settings [NAME …]`, `continued`, `waits`, `values`: what is compared, as JSON on the last line;
`shared DEVICE FOLDER` is for torchrun, two processes.
"""
import contextlib
import faulthandler
import json
import os
import sys
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import nn

from pact_nb import run_reader, run_start, trainer
from pact_nb.batches import Batches
from pact_nb.carry_out import run
from pact_nb.checkpoints import Watch, load_weights
from pact_nb.data import load_data
from pact_nb.gpu_day import run_cells
from pact_nb.layers import quantize
from pact_nb.parallel import World, leave
from pact_nb.recipes import RECIPES, from_params
from pact_nb.stand_in import counted, counted_since, gpu

warnings.simplefilter("ignore")
SMALL = dict(train_images=150, epochs=3, batch_size=32, compile="off", alpha_from="mse")
SETTINGS = {
    "plain": {}, "Adam": dict(optimizer="adam", lr=0.003), "bfloat16": dict(amp="bfloat16"),
    "float16": dict(amp="float16"), "in parts": dict(accumulate=2, seed=2),
    "clip first": dict(warmup_epochs=1), "clip first, LSQ": dict(warmup_epochs=1, w_quant="lsq"),
    "SAWB": dict(w_quant="sawb"), "cosine": dict(schedule="cosine"),
    "one bit": dict(w_bits=1, hysteresis=0.2, w_scale="channel"), "norms": dict(norm_batches=2),
    "DoReFa": dict(activation="dorefa", alpha_from=None),
}


class Block(nn.Module):
    "A residual block of two convolutions."
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(c, c, 3, padding=1, bias=False) for _ in range(2))
        self.bn1, self.bn2 = nn.BatchNorm2d(c), nn.BatchNorm2d(c)
        self.act1, self.act2 = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return self.act2(self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x))))) + x)


def tiny(name, classes=10, channels=3, width=None, shortcut="auto"):
    "In place of `create_model`: every operator is computed twice, so the network is small."
    return nn.Sequential(
        nn.Conv2d(channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Block(8),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes)
    )


class StopAfter(Watch):
    "Pauses after `n` questions."
    def __init__(self, n): super().__init__(); self.n = n

    def reason(self):
        self.n -= 1
        return "max_minutes" if self.n == 0 else ""


def on(device): return gpu() if device == "cuda" else contextlib.nullcontext()


def carried_out(device, folder, watch=None, **kw):
    fused = {} if device == "cuda" else dict(fused=kw.pop("fused", "off"))
    params = {**SMALL, "device": device, "run_dir": str(folder), **fused, **kw}
    r = from_params({k: v for k, v in params.items() if v is not None})
    with on(device): return run(r, lambda s: None, watch=watch)


def losses(done): return done.metrics().train_loss.tolist()


def compared(name, folder):
    "Epoch losses and test accuracy of one setting on both devices."
    c, g = (carried_out(d, folder / f"{d}-{name}", **SETTINGS[name]) for d in ("cpu", "cuda"))
    off = max(abs(x - y) / y for x, y in zip(losses(c), losses(g)))
    return dict(difference=off, test_equal=c.summary["test_top1"] == g.summary["test_top1"],
                engine=g.summary["mode"], recorded=g.summary.get("recorded"))


def settings(folder, *names): return {n: compared(n, folder) for n in names or SETTINGS}


def state(path): return load_weights(path / "last.pt")["trainer"]["model"]


def continued(folder):
    "Runs that are paused and go on, on the same device and on the other; differences of losses."
    out, whole = {}, {d: carried_out(d, folder / f"whole-{d}") for d in ("cpu", "cuda")}
    for n in (2, 5, 7):
        path = folder / f"paused-{n}"
        carried_out("cuda", path, StopAfter(n)); carried_out("cuda", path)
        a, b = state(whole["cuda"].path), state(path)
        out[f"cuda, paused after {n}"] = sum(not torch.equal(a[k], b[k]) for k in a)
    pairs = ("cpu", "cuda", "off"), ("cpu", "cuda", "on"), ("cuda", "cpu", "off")
    for first, then, fused in pairs:
        path = folder / f"{first}-{fused}-{then}"
        carried_out(first, path, StopAfter(5), fused=fused if first == "cpu" else None)
        # `fused` is the recipe's: the same command continues a run
        done = carried_out(then, path, fused="auto" if first == "cpu" else "off")
        a, b = losses(whole["cpu"]), losses(done)
        out[f"{first} ({fused}) → {then}"] = max(abs(x - y) / x for x, y in zip(a, b))
    return out


def three_steps(**kw):
    "What the third and the sixth step of a run on the stand-in count."
    data = load_data("digits")
    part = data.train.take(torch.arange(32 * 8))
    r = replace(RECIPES["digits"], compile="off", batch_size=32, **kw)
    with gpu():
        torch.manual_seed(0)
        net = quantize(tiny("", 10, 1), 4, 4, alpha=2.0).cuda()
        feed = Batches(part.to("cuda"), 32, data.mean.cuda(), data.std.cuda(), shuffle=True)
        t, counts = trainer.Trainer(net, feed, r, lambda s: None), []
        for i, batch in enumerate(feed.epoch(0)):
            before = counted()
            trainer._step(t, i, *batch)
            counts.append(counted_since(before))
        return dict(waits=[c.get("waits", 0) for c in counts],
                    refused=sum(c.get("refused", 0) for c in counts),
                    replays=sum(c.get("replays", 0) for c in counts))


def waits(folder):
    return {n: three_steps(**kw) for n, kw in (
        ("plain", {}), ("Adam", dict(optimizer="adam", lr=0.003)), ("in parts", dict(accumulate=2)),
        ("float16", dict(amp="float16")))}


def values(folder):
    "Bits of PACT and its kin, and of normalised images, on both devices: how many differ."
    from pact_nb.learned import lsq_weight, pact_weight
    from pact_nb.pact import pact, pact_signed
    from pact_nb.weights import sawb
    x = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * 2
    other = {"pact": pact, "pact_signed": pact_signed, "pact_weight": pact_weight,
             "lsq_weight": lsq_weight, "sawb": lambda x, a, k: sawb(x * a, k)}
    out, pixels = {}, torch.arange(256, dtype=torch.uint8).view(1, 1, 1, 256)
    for name, f in other.items():
        with gpu():
            got = {(a, k): f(x.cuda(), torch.tensor(a, device="cuda"), k).cpu()
                   for a in (2.0, 2.7, 0.913) for k in (2, 3, 4, 5, 8)}
        same = {key: torch.equal(f(x, torch.tensor(key[0]), key[1]), y) for key, y in got.items()}
        out[name] = sum(not s for s in same.values())
    feed = lambda d: Batches(load_data("digits").train.to(d), 32, torch.tensor([0.3], device=d),
                             torch.tensor([0.2], device=d))
    with gpu(): there = feed("cuda").normalise(pixels.cuda()).cpu()
    return out | {"pixels": int((feed("cpu").normalise(pixels) != there).sum())}


def first_gradients(device, rank):
    "Averaged gradients of the first step of two processes."
    data = load_data("digits")
    part, r = data.train.take(torch.arange(96)), replace(
        RECIPES["digits"], compile="off", fused="off", batch_size=32
    )
    if device == "cuda": torch.cuda.set_device(rank)
    torch.manual_seed(0)
    net = quantize(tiny("", 10, 1), 32, 32, activation="relu").to(device)
    feed = Batches(part.to(device), 32, data.mean.to(device), data.std.to(device), shuffle=True,
                   rank=rank, world=2)
    t, found = trainer.Trainer(net, feed, r, lambda s: None, world=World(rank, 2, rank)), {}

    def look(self):
        found.update({n: p.grad.cpu().clone() for n, p in self.model.named_parameters()})
        return True
    with patch.object(trainer, "_update", look): trainer._step(t, 0, *next(iter(feed.epoch(0))))
    return found


def shared(folder, device):
    "Under torchrun: gradients of the first step against the CPU's, and the losses of a whole run."
    rank, real = int(os.environ["RANK"]), dist.init_process_group
    gloo = lambda backend=None, *a, **k: real("gloo", *a, **k)  # NCCL needs the device
    with patch.object(dist, "init_process_group", gloo):
        gloo()
        here = first_gradients("cpu", rank)
        with on(device): there = first_gradients(device, rank)
        worst = lambda t: t.abs().max().item()
        off = max(worst(here[n] - there[n]) / worst(here[n]) for n in here)
        # both join the group that is there
        a, b = (losses(carried_out(d, folder / d)) for d in ("cpu", device))
        leave()
    return dict(gradients=off, losses=max(abs(x - y) / x for x, y in zip(a, b)), rank=rank)


def cells(folder):
    "The cells of the pages that are marked `cuda`, but those that compile for a GPU."
    import matplotlib
    matplotlib.use("Agg")
    nbs, out = Path(__file__).resolve().parent.parent / "nbs", {}
    for page in ("1_method/04_error", "lab/02_conformance"):
        said = []
        with gpu(): failed = run_cells(nbs / f"{page}.ipynb", say=said.append)
        out[page] = dict(failed=failed, said=said)
    return out


def main():
    what, *rest = sys.argv[1:]
    faulthandler.dump_traceback_later(240, exit=True)
    with tempfile.TemporaryDirectory() as tmp, patch.object(run_reader, "create_model", tiny), \
            patch.object(run_start, "create_model", tiny):
        folder = Path(rest.pop()) if what == "shared" else Path(tmp)
        told = globals()[what](folder, *rest)
    if not told.get("rank"): print(json.dumps(told), flush=True)
    os._exit(0)  # the end of a process is not what is tried


if __name__ == "__main__": main()
