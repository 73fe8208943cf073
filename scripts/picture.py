"The front page's picture, from a run: python scripts/picture.py RUN FILE"
import sys

import matplotlib
import torch

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import seaborn as sns
from pact_nb.data import Batches
from pact_nb.evaluation import record
from pact_nb.pact import pact
from pact_nb.runs import Run


def main(folder: str, target: str, layer: str = "layer2.1.act1") -> None:
    sns.set_theme(style="whitegrid", palette="colorblind")
    blue, orange = sns.color_palette("colorblind")[:2]
    run = Run(folder)
    data, a = run.data(), run.alphas()
    model = run.model(data)
    act = model.get_submodule(layer)
    x = record(model, next(iter(Batches(data.train, 512, data.mean, data.std)))[0])[layer]
    fig, (left, mid, right) = plt.subplots(1, 3, figsize=(12, 3.2))
    t = torch.linspace(-1, 4.5, 1000)
    left.plot(t, t.relu(), ":", color="gray", label="ReLU")
    left.plot(t, pact(t, 3.0, act.k), color=blue, lw=2, label=f"PACT, {act.k} bit")
    left.set(
        xlabel="x", ylabel="y", xticks=[0, 3], xticklabels=["0", "α"], yticks=range(4),
        title="a clip at a learned level, rounded"
    )
    left.legend()
    names = list(a.layer.unique())
    for n, color in zip(names, sns.color_palette("viridis", len(names))):
        mid.plot(a[a.layer == n].epoch, a[a.layer == n].alpha, color=color, lw=1.2)
    mid.set(
        xlabel="epoch", ylabel="α", ylim=(0, None),
        title=f"{len(names)} clip levels while it trains"
    )
    right.hist(x[x > 0].numpy(), bins=60, color="0.8", edgecolor="none", log=True)
    for c in range(2**act.k):
        right.axvline(c * act.alpha.item() / (2**act.k - 1), color=blue, lw=1.2)
    right.axvline(act.alpha.item(), color=orange, lw=2.5)
    right.text(act.alpha.item(), right.get_ylim()[1], " α", color=orange, va="top", fontsize=14)
    right.set(xlabel="x", ylabel="count, log", title=f"what {layer} reads, and its levels")
    fig.tight_layout(); fig.savefig(target, dpi=90)


if __name__ == "__main__": main(*sys.argv[1:])
