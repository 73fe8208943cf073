"""Train the digits at several bit-widths, five seeds each, and write means and spreads: python
scripts/digits.py FILE"""
import json
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

SETTINGS = [
    dict(w_bits=32, a_bits=32, activation="relu"),
    *(
        dict(w_bits=w, a_bits=a)
        for w, a in ((32, 32), (8, 8), (4, 4), (4, 3), (4, 2), (3, 3), (2, 2))
    ),
    dict(w_bits=4, a_bits=2, alpha_from="fixed"),
]
SEEDS = 5


def train(job: tuple) -> str:
    "One run on one thread; its folder."
    import torch
    from pact_nb.recipes import from_params
    from pact_nb.runs import run
    params, seed, folder = job
    torch.set_num_threads(1)
    done = run(from_params({**params, "seed": seed, "run_dir": folder}), say=lambda s: None)
    print(done.path.name, f"{done.summary['test_top1']:.4f}", flush=True)
    return folder


def main(target: str) -> None:
    from pact_nb.checkpoints import write_atomic
    from pact_nb.runs import Run, collect
    with tempfile.TemporaryDirectory() as tmp:
        jobs = [(p, s, f"{tmp}/{i}_{s}") for i, p in enumerate(SETTINGS) for s in range(SEEDS)]
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            folders = list(pool.map(train, jobs))
        write_atomic(Path(target), json.dumps(collect([Run(f) for f in folders]), indent=1) + "\n")


if __name__ == "__main__": main(sys.argv[1])
