"What a run survives, counted and printed: python scripts/survive.py [--quick] [FILE.json]"
import argparse
import hashlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import hostile  # noqa: E402

CTX = get_context("forkserver")
CTX.set_forkserver_preload(["pact_nb.runs"])
# 1,221 images in batches of 64: 20 steps an epoch, the last of 5 images
SMALL = dict(a_bits=2, width=4, epochs=2)

BAD = {
    "abits=2": "did you mean a_bits?", "bits=2": "unknown parameter",
    "a_bits=0": "32 (not quantized)", "a_bits=9": "from 1 to 8", "a_bits=2.5": "whole number",
    "a_bits=two": "whole number", "w_bits=16": "from 1 to 8", "first_bits=-1": "from 1 to 8",
    "bits_by=layer1": "bits_by", "bits_by=layer9=2": "matches nothing", "lr=0": "above 0",
    "lr=nan": "lr must be", "lr=inf": "lr must be", "lr=fast": "lr must be",
    "epochs=-1": "from 1 up", "epochs=1.5": "whole number", "batch_size=1": "from 2 up",
    "momentum=1": "from 0 to", "weight_decay=-1": "from 0 up", "schedule=step": "one of multistep",
    "milestones=3,2": "rising", "alpha0=0": "above 0", "alpha0=3": "has no effect",
    "gamma=0.5": "has no effect", "valid_fraction=1": "from 0 to 0.9", "seed=-1": "from 0",
    "device=tpu": "one of auto", "model=resnet21": "one of", "recipe=cifar": "did you mean",
    "dataset=mnist": "one of digits", "data_dir=nowhere": "embedded",
    "warmup_epochs=30": "below epochs", "accumulate=40": "fewer than 2", "world_size=8": "torchrun",
    "sync_bn=True": "needs cuda", "sync_bn=perhaps": "True or False", "amp=fp16": "one of off",
    "init=nowhere": "not the folder of a run", "resume=True": "no unfinished run",
    "train_images=100000": "train_images", "augment=tensorpack": "svhn and imagenet",
    "extra=False": "has no effect", "shortcut=C": "one of auto"
}


def child(work, *args, wait: bool = True):
    "Run `work(*args)` in a fresh process."
    p = CTX.Process(target=work, args=args)
    p.start()
    if wait: p.join()
    return p


def train(params: dict, stop_at: int = 0, threads: int = 1) -> None:
    "One run; with `stop_at` it is sent SIGTERM after that many steps."
    import torch
    from pact_nb.checkpoints import Interrupted, Watch
    from pact_nb.recipes import from_params
    from pact_nb.runs import run

    class Kill(Watch):
        left = stop_at
        def reason(self):
            self.left -= 1
            if self.left == 0: os.kill(os.getpid(), signal.SIGTERM)
            return super().reason()
    torch.set_num_threads(threads)
    try: run(from_params(params), lambda s: None, Kill())
    except Interrupted: sys.exit(130)


def fingerprint(folder: Path) -> str:
    """Hash of weights, statistics, α, momenta and schedule of the last checkpoint, and of
    metrics and α at every epoch."""
    from pact_nb.checkpoints import load_weights
    h, state = hashlib.sha256(), load_weights(folder / "last.pt")["trainer"]
    momenta = [v for p in state["optimizer"]["state"].values() for v in p.values() if v is not None]
    for t in (*state["model"].values(), *momenta): h.update(t.contiguous().numpy())
    rows = [
        {k: v for k, v in json.loads(line).items() if k != "seconds"}
        for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]
    schedule = {k: v for k, v in state["schedule"].items() if isinstance(v, (int, float, list))}
    h.update(repr((schedule, state["done"], rows, (folder / "alphas.csv").read_text())).encode())
    return h.hexdigest()


VARIANTS = {
    "adam": dict(optimizer="adam", lr=1e-3), "bfloat16": dict(amp="bfloat16"),
    "float16": dict(amp="float16"), "sawb": dict(w_quant="sawb", w_bits=2),
    "dorefa": dict(activation="dorefa"), "shortcut": dict(fp_shortcut=True),
    "warm": dict(warmup_epochs=1), "parts": dict(accumulate=3),
    "cosine": dict(schedule="cosine", min_lr=0.01),
    "multistep": dict(schedule="multistep", milestones="1"),
    "preact": dict(model="resnet20_preact"), "last": dict(valid_fraction=0.0)
}


def variants(tmp: Path, names: list[str]) -> tuple[int, int]:
    "The same for runs of other kinds, each killed in its second epoch."
    return sum(resumed(tmp, [27], kind=n, **VARIANTS[n])[0] for n in names), len(names)


def resumed(tmp: Path, steps: list[int], kind: str = "eager", **extra) -> tuple[int, int]:
    """How many of the runs killed after each of `steps` end, continued, as the run that was
    never stopped."""
    params = {**SMALL, **extra}
    child(train, {**params, "run_dir": str(tmp / f"{kind}-whole")})
    want, good = fingerprint(tmp / f"{kind}-whole"), 0
    for n in steps:
        folder = {**params, "run_dir": str(tmp / f"{kind}-{n}")}
        first, second = child(train, folder, n), child(train, folder)
        good += (first.exitcode, second.exitcode) == (130, 0) and fingerprint(
            Path(folder["run_dir"])
        ) == want
    return good, len(steps)


def save_for_ever(folder: str, told: int) -> None:
    "Save checkpoint 0, 1, 2, …; after each, write its number to the pipe."
    import torch
    from pact_nb.checkpoints import save_weights
    i = 0
    while True:
        save_weights(
            Path(folder) / "last.pt", {"n": i, "w": torch.full((100_000,), float(i))}, keep=True
        )
        told.send(i)
        i += 1


def killed_while_saving(tmp: Path, times: int) -> tuple[int, int]:
    """How often what is found after kill -9 at a random moment loads, whole, and is not older
    than the checkpoint before the last."""
    from pact_nb.checkpoints import load_last
    rng, good = random.Random(0), 0
    for k in range(times):
        (folder := tmp / f"save{k}").mkdir()
        here, there = CTX.Pipe(duplex=False)
        p = child(save_for_ever, str(folder), there, wait=False)
        there.close()
        here.recv()
        time.sleep(rng.uniform(0, 0.2))
        p.kill(); p.join()
        sure = 0
        try:
            while here.poll(): sure = here.recv()
        except EOFError: pass
        state = load_last(folder / "last.pt", lambda s: None)
        good += state is not None and bool((state["w"] == state["n"]).all()) and state["n"] >= sure
    return good, times


def damaged(tmp: Path, times: int) -> tuple[int, int]:
    """How many truncations and flipped bits of a real checkpoint are noticed, the one before
    being used."""
    from pact_nb.checkpoints import load_last, load_weights, previous
    file, rng, good = tmp / "eager-whole" / "last.pt", random.Random(1), 0
    whole, before = file.read_bytes(), load_weights(previous(file))["trainer"]
    for k in range(2 * times):
        content, said = bytearray(whole), []
        if k < times: content = content[: rng.randrange(len(content))]
        else: i = rng.randrange(8 * len(content)); content[i // 8] ^= 1 << i % 8
        file.write_bytes(content)
        found = load_last(file, said.append)["trainer"]
        good += "damaged" in "".join(said) and (found["done"], found["step"]) == (
            before["done"], before["step"]
        )
    file.write_bytes(whole)
    return good, 2 * times


def fill_up(folder: str, allowed: int) -> None:
    "Train with files limited to `allowed` bytes, as on a full disk."
    from pact_nb.runs import main
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (allowed, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
    )
    sys.stdout, sys.stderr = open(os.devnull, "w"), open(f"{folder}.err", "w")
    code = main([f"--{k}={v}" for k, v in {**SMALL, "run_dir": folder}.items()])
    sys.stderr.flush()
    sys.exit(code)


def full_disk(tmp: Path, times: int) -> tuple[int, int]:
    """How often a write that fails leaves the checkpoint as it was, with a message, so that the
    run can end as if nothing had been."""
    want, good = fingerprint(tmp / "eager-whole"), 0
    size = (tmp / "eager-whole" / "last.pt").stat().st_size
    for k in range(times):
        folder = tmp / f"full{k}"
        child(train, {**SMALL, "run_dir": str(folder)}, 12 + k)
        before = (folder / "last.pt").read_bytes()
        limited = child(fill_up, str(folder), size * (k + 1) // (times + 2))
        said = Path(f"{folder}.err").read_text()
        intact = (folder / "last.pt").read_bytes() == before
        child(train, {**SMALL, "run_dir": str(folder)})
        good += (
            limited.exitcode == 1
            and "steps is intact" in said
            and intact
            and fingerprint(folder) == want
        )
    return good, times


def refused(cases: list[tuple[list[str], str]]) -> tuple[int, int]:
    """How many of the command lines are refused with exit code 2, the words expected, and
    nothing trained."""
    from pact_nb.runs import main
    good = 0
    for words, part in cases:
        with redirect_stderr(err := StringIO()), redirect_stdout(out := StringIO()):
            code = main(words)
        right = code == 2 and part in err.getvalue() and "epoch" not in out.getvalue()
        good += right
        if not right:
            print(
                "not refused as expected:", " ".join(words), code, err.getvalue()[:300],
                file=sys.stderr
            )
    return good, len(cases)


def bad_data(tmp: Path) -> list[tuple[list[str], str]]:
    from broken_data import make
    (tmp / "broken").mkdir()
    fresh = lambda i: ["--run_dir", str(tmp / f"never{i}")]
    return [
        (
            [
                "--recipe", "cifar10_resnet20", "--dataset", name, "--data_dir", str(where),
                *fresh(i)
            ],
            part,
        )
        for i, (name, where, part) in enumerate(make(tmp / "broken").values())
    ]


def write(file: Path, counts: dict) -> None:
    "What was counted so far."
    import platform
    import torch
    told = dict(
        torch=torch.__version__, python=platform.python_version(), threads=1, device="cpu",
        counts=counts
    )
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf8")


WRITES_FAILED = (
    "writes that failed (file size limit), checkpoint intact, run ended as if nothing had been"
)
SWEEPS_STOPPED = (
    "sweeps stopped by SIGINT, SIGTERM, SIGHUP (saved, nothing else begun), or a process of theirs"
    " killed (one run lost)"
)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--quick", action="store_true", help="a few of each, for the test suite")
    p.add_argument("file", nargs="?", help="write the counts here as JSON")
    a = p.parse_args()
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        tmp = Path(folder)
        words = [([f"--{k.split('=', 1)[0]}", k.split("=", 1)[1]], part) for k, part in BAD.items()]
        tasks = {
            "bad parameters refused before anything is trained": lambda: refused(words),
            "broken data sets refused with file and remedy": lambda: refused(bad_data(tmp)),
            "runs killed at a step boundary and continued, identical by hash": lambda: resumed(
                tmp, [1, 20, 27] if a.quick else list(range(1, 41))
            ),
            "the same, compiled": lambda: resumed(
                tmp, [23] if a.quick else [1, 19, 20, 33, 40], kind="compiled", compile="on"
            ),
            "the same, with other optimizers, precisions, quantizers and schedules": (
                lambda: variants(tmp, ["adam"] if a.quick else list(VARIANTS))
            ),
            "kill -9 while saving: a whole checkpoint, none older than the last finished one": (
                lambda: killed_while_saving(tmp, 8 if a.quick else 50)
            ),
            "truncations and flipped bits noticed, the checkpoint before used": lambda: damaged(
                tmp, 20
            ),
            WRITES_FAILED: (
                lambda: full_disk(tmp, 1 if a.quick else 5)
            ),
            "folders with files of somebody else's, refused and untouched": (
                lambda: hostile.foreign_folders(tmp)
            ),
            "finished runs changed by hand, noticed when they are read": (
                lambda: hostile.edited_folders(tmp)
            ),
            "random damage to every file a run writes, noticed or without effect": (
                lambda: hostile.damaged_files(tmp, 16 if a.quick else 400)
            ),
            "random signals at random moments until the run ends, identical by hash": (
                lambda: hostile.random_signals(tmp, 1 if a.quick else 12, fingerprint)
            ),
            "output that is closed, full or of another alphabet, the run ended": (
                lambda: hostile.broken_output(tmp, 1 if a.quick else 4)
            ),
            SWEEPS_STOPPED: lambda: hostile.stopped_sweeps(
                tmp, ["TERM"] if a.quick else ["TERM", "INT", "HUP", "KILL"]
            ),
            "compilers that fail in five ways, trained without": lambda: hostile.wrong_compilers(
                tmp,
                (
                    ["writes rubbish"]
                    if a.quick
                    else ["fails", "odd words", "killed", "writes nothing", "writes rubbish"]
                ),
            ),
            "hostile files of parameters refused": lambda: hostile.hostile_files(tmp),
        }
        for name, work in tasks.items():
            counts[name] = work()
            print(f"{counts[name][0]:>3} of {counts[name][1]:>3}  {name}", flush=True)
            if a.file: write(Path(a.file), counts)
    return 0 if all(g == n for g, n in counts.values()) else 1


if __name__ == "__main__": sys.exit(main())
