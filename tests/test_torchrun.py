"Two processes on the CPU, as torchrun starts them."
import json
import subprocess
import sys
from pathlib import Path

import pytest

from pact_nb import runs
from pact_nb.training import validate

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--width", "2", "--train_images", "201", "--epochs", "2", "--a_bits", "2")


def torchrun(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            "-m", "pact_nb.runs", *SMALL, *words
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_processes(tmp_path):
    "One folder, written by rank 0; as many images an epoch as there are."
    p = torchrun("--run_dir", str(tmp_path / "run"), "--world_size", "2")
    assert p.returncode == 0, p.stderr[-2000:]
    said = json.loads((tmp_path / "run" / "summary.json").read_text())
    rows = [json.loads(s) for s in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert (
        said["status"] == "finished"
        and said["processes"] == 2
        and [r["images"] for r in rows] == [201, 201]
    )
    assert p.stdout.count("epoch   1/2") == 1 and said["test_n"] == 360


def test_other_number_refused(tmp_path):
    p = torchrun("--run_dir", str(tmp_path / "run"), "--world_size", "4")
    assert (
        p.returncode != 0
        and "world_size is 4, but 2 processes are running" in p.stderr
        and not (tmp_path / "run").exists()
    )


def test_paused_and_continued(tmp_path):
    """Both pause at the same step and continue; the result is that of two processes that never
    stopped."""
    for name, words in (
        ("whole", ()), ("part", ("--max_minutes", "0.0001")), ("part", ("--resume", "True"))
    ):
        p = torchrun("--run_dir", str(tmp_path / name), *words)
        assert p.returncode == 0, p.stderr[-2000:]
    a, b = (json.loads((tmp_path / n / "summary.json").read_text()) for n in ("whole", "part"))
    assert a["alphas"] == b["alphas"] and a["valid_top1"] == b["valid_top1"] and b["resumed"] == 1


@pytest.mark.parametrize("w_quant", ["lsq", "pact"])
def test_learned_weight_clips_join_after_the_warm_up(tmp_path, w_quant):
    "A clip without a gradient in the first epoch: DDP waited for it, and the second step failed."
    words = ("--w_bits", "2", "--w_quant", w_quant, "--warmup_epochs", "1")
    p = torchrun("--run_dir", str(tmp_path / "run"), *words)
    assert p.returncode == 0, p.stderr[-2000:]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "finished"


def test_norms_are_those_of_the_saved_network(tmp_path):
    "With norm_batches all processes validate one network, the one that is saved."
    more = ("--width", "8", "--train_images", "1001", "--epochs", "3", "--norm_batches", "3")
    p = torchrun("--run_dir", str(tmp_path / "run"), *more)
    assert p.returncode == 0, p.stderr[-2000:]
    done = runs.Run(tmp_path / "run")
    data = done.data()
    model, valid = done.model(data), runs.batches(data.valid, done.recipe, data)
    assert done.summary["valid_top1"] == validate(model, valid)[1] > 0.15
    seen = [
        m.num_batches_tracked.item() for m in model.modules() if hasattr(m, "num_batches_tracked")
    ]
    assert set(seen) == {6}  # three batches of each of the two


def test_a_sweep_of_torchrun_with_a_deadline(tmp_path):
    """A run of two processes; out of time it is saved, and the same command ends it."""
    start = f"{sys.executable} -m torch.distributed.run --standalone --nproc-per-node 2"
    words = [sys.executable, "-m", "pact_nb.sweeps", "--a_bits", "2", "--workers", "1",
             "--launch", start, "--folder", str(tmp_path / "sweep"), "--params",
             "epochs=8, width=4, train_images=1001, compile=off"]
    go = lambda *more: subprocess.run([*words, *more], cwd=ROOT, capture_output=True, text=True,
                                      timeout=300)
    first = go("--minutes", "0.2")
    assert first.returncode == 3 and "1 of 1 runs left; the same command goes on" in first.stdout, (
        first.stdout + first.stderr
    )
    told = [json.loads(f.read_text())["status"] for f in tmp_path.glob("sweep/*/summary.json")]
    assert told in ([], ["paused"]), told
    second = go()
    assert second.returncode == 0, second.stdout + second.stderr
    told = [json.loads(f.read_text()) for f in tmp_path.glob("sweep/*/summary.json")]
    assert [(t["status"], t["processes"]) for t in told] == [("finished", 2)]
