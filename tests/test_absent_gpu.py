"""Runs with `device="cuda"` on a machine without a GPU, against the CPU's: tests/absent_gpu.py on
the stand-in of `pact_nb.stand_in`. The reason is said where it cannot be built."""
import json
import subprocess
from pathlib import Path

import pytest
import torch

from pact_nb.stand_in import build_stand_in, no_stand_in, run_with_stand_in

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = str(ROOT / "tests" / "absent_gpu.py")
pytestmark = pytest.mark.skipif(bool(no_stand_in()), reason=no_stand_in() or "it can be built")
TIES = 5e-3  # of a loss: a value next to a tie may round the other way, on another processor too


def told(*words: str, **kw) -> dict:
    return json.loads(run_with_stand_in([SCRIPT, *words], **kw).splitlines()[-1])


@pytest.fixture(scope="module")
def settings() -> dict: return told("settings")


def test_losses_are_the_cpus(settings):
    """Adam, half precision, clip first, learned clips, parts: each as on the CPU."""
    off = {n: s["difference"] for n, s in settings.items()}
    assert len(off) == 12 and {n: d for n, d in off.items() if not d <= TIES} == {}
    assert sum(d < 1e-5 for d in off.values()) >= 5, off  # most meet no tie
    assert sum(s["test_equal"] for s in settings.values()) >= 8


def test_steps_are_recorded(settings):
    "All but a step in parts; a setting that is no longer recorded would be slow without a word."
    assert [n for n, s in settings.items() if not s["recorded"]] == ["in parts"]


def test_paused_and_continued():
    "On cuda to the bit; from the CPU to cuda and back as a run that never stopped."
    found = told("continued")
    same = [v for n, v in found.items() if n.startswith("cuda, paused")]
    assert same == [0, 0, 0] and max(found.values()) < TIES and len(found) == 6, found


def test_the_host_never_waits():
    "No step waits for the device but the one that is recorded, and nothing is refused."
    for name, found in told("waits").items():
        assert sum(found["waits"]) <= 1 and found["refused"] == 0, (name, found)
        assert found["replays"] == (0 if name == "in parts" else 5)


def test_values_are_the_same_bits():
    "α = 2.7 is where a quotient by a number differs on CUDA: levels, and pixels, are one result."
    assert set(told("values").values()) == {0}


def test_two_gpus(tmp_path):
    "The first averaged gradient, and the losses of a whole run, are those of two CPU processes."
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT,
             "shared", "cuda", str(tmp_path)]
    there = json.loads(run_with_stand_in(words, gpus=2).splitlines()[-1])
    assert there["gradients"] < 1e-4 and there["losses"] < TIES, there


def test_it_has_all_that_torch_asks_for():
    "A newer PyTorch that wants another function of CUDA is noticed here, by its name."
    lib = Path(torch.__file__).parent / "lib"
    def names(file, how):
        p = subprocess.run(["nm", "-D", how, file], capture_output=True, text=True, check=True)
        return {line.split()[-1].split("@")[0] for line in p.stdout.splitlines()}
    wanted = names(lib / "libtorch_cuda.so", "--undefined-only")
    cuda = {n for n in wanted if n.startswith(("cuda", "__cuda"))}
    assert len(cuda) > 50 and cuda - names(build_stand_in(), "--defined-only") == set()


def test_kernels_of_a_step():
    """PACT is fused with batch norm, and a low-bit step moves at most 1.10 times the bytes of the
    float step; with the PyTorch of the record, the very numbers on record."""
    kept = json.loads((ROOT / "results" / "kernels-sm90.json").read_text())
    known = kept["torch"] == torch.__version__
    code = ("import json; from pact_nb.gpu_kernels import step_of; print(json.dumps([step_of(w) |"
            f" dict(sources=0) for w in {['W4A4'] if known else ['W4A4', 'float']}]))")
    low, *rest = json.loads(run_with_stand_in(["-c", code]).splitlines()[-1])
    plain = kept["rows"][0] if known else rest[0]
    assert low["pact_with_norm"] == 18 and low["megabytes"] <= 1.10 * plain["megabytes"]
    if known: assert {k: v for k, v in low.items() if k != "sources"} == kept["rows"][2]


def test_marked_cells():
    "Cells with `#| cuda` pass on the stand-in, where they need no compiler for a GPU."
    found = told("cells")
    assert {n: f["failed"] for n, f in found.items()} == dict.fromkeys(found, 0)
    assert all(any(": passed" in s for s in f["said"]) for f in found.values())
