"The papermill command line, as users type it: what runs, and what is refused before training."
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent


def papermill(
    tmp: Path, *words: str, name: str = "out.ipynb", **env: str
) -> tuple[int, str, float]:
    "Exit code, output and seconds of `papermill nbs/train.ipynb TMP/NAME …`, called from the root."
    command = [
        sys.executable, "-m", "papermill", "nbs/train.ipynb", str(tmp / name), "--no-progress-bar",
        *words
    ]
    for _ in range(2):
        start = time.perf_counter()
        p = subprocess.run(
            command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, **env}, stdin=subprocess.DEVNULL, timeout=600
        )
        # two kernels that start at once can choose the same port
        if "Kernel didn't respond" not in p.stdout: break
    return p.returncode, p.stdout, time.perf_counter() - start


def summary(folder: Path) -> dict: return json.loads((folder / "summary.json").read_text())


def text_of(notebook: Path) -> str:
    nb = nbformat.read(notebook, as_version=4)
    return "\n".join(
        o.get("text", "") or str(o.get("data", {}).get("text/plain", ""))
        for c in nb.cells
        if c.cell_type == "code"
        for o in c.outputs
    )


def test_two_bits_after_clean(tmp_path):
    "nbdev_clean keeps the parameters tag, so -p a_bits 2 reaches the network."
    notebook = ROOT / "nbs" / "train.ipynb"
    before = notebook.read_bytes()
    subprocess.run(["nbdev_clean", "--fname", str(notebook)], cwd=ROOT, check=True)
    assert notebook.read_bytes() == before
    code, out, _ = papermill(
        tmp_path, "-p", "a_bits", "2", "-p", "epochs", "2", "-p", "run_dir", str(tmp_path / "run")
    )
    assert code == 0, out
    said = summary(tmp_path / "run")
    assert said["recipe"]["a_bits"] == 2 and said["status"] == "finished"
    from pact_nb.pact import PACT
    from pact_nb.runs import Run
    run = Run(tmp_path / "run")
    data = run.data()
    # 32: the one that feeds the classifier
    assert {m.k for m in run.model(data).modules() if isinstance(m, PACT)} == {2, 32}
    code, out, _ = papermill(
        tmp_path, "-f", str(tmp_path / "run" / "params.yaml"), "-p", "run_dir",
        str(tmp_path / "again"), name="again.ipynb"
    )
    assert code == 0, out
    assert (
        summary(tmp_path / "again")["test_top1"] == said["test_top1"]
        and summary(tmp_path / "again")["alphas"] == said["alphas"]
    )
    pictures = [
        o
        for c in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
        if c.cell_type == "code"
        for o in c.outputs
        if "image/png" in o.get("data", {})
    ]
    assert len(pictures) == 3


def test_float_twin(tmp_path):
    words = (
        "-p", "a_bits", "32", "-p", "w_bits", "32", "-p", "activation", "relu", "-p", "epochs", "1"
    )
    yaml = ("-y", "lr: 5e-2")  # text for YAML 1.1, and a number for us
    code, out, _ = papermill(tmp_path, *words, *yaml, "-p", "run_dir", str(tmp_path / "run"))
    assert code == 0, out
    assert (
        summary(tmp_path / "run")["alphas"] == {}
        and summary(tmp_path / "run")["recipe"]["lr"] == 0.05
    )
    assert "a float network has no α" in text_of(tmp_path / "out.ipynb")


REFUSED = {  # the others are counted by scripts/survive.py, without papermill
    "unknown name": (["abits", "2"], "unknown parameter 'abits'; did you mean a_bits?"),
    "text for a number": (["a_bits", "two"], "a_bits must be a whole number from 1 to 8, or 32"),
    "zero bits": (["a_bits", "0"], "or 32 (not quantized); got 0"),
    "no such folder": (
        ["recipe", "cifar10_resnet20", "data_dir", "nowhere"], "data_dir nowhere: no such folder"
    ),
}


def refused(tmp_path: Path, pairs: list[str], part: str) -> None:
    words = [w for i in range(0, len(pairs), 2) for w in ("-p", *pairs[i:i + 2])]
    before = set((ROOT / "runs").iterdir())
    code, out, seconds = papermill(tmp_path, *words)
    assert code != 0 and part in out, out[-1500:]
    assert (
        "epoch   1/" not in text_of(tmp_path / "out.ipynb")
        and set((ROOT / "runs").iterdir()) == before
    )
    # seconds when the machine is idle; the bound only says that nothing was trained
    assert seconds < 60


@pytest.mark.parametrize("case", REFUSED)
def test_refused(tmp_path, case): refused(tmp_path, *REFUSED[case])


def test_broken_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq
    (half := tmp_path / "half").mkdir()
    pq.write_table(
        pa.table({"img": [{"bytes": b"x" * 5000, "path": None}], "label": [0]}),
        f := half / "train-00000-of-00001.parquet"
    )
    f.write_bytes(f.read_bytes()[:200])
    refused(tmp_path, ["recipe", "cifar10_resnet20", "data_dir", str(half)], "half written")


def test_without_output_path(tmp_path):
    """The short line, with its output redirected: papermill then writes the notebook to standard
    output."""
    p = subprocess.run(
        [
            sys.executable, "-m", "papermill", "nbs/train.ipynb", "-p", "epochs", "1", "-p",
            "run_dir", str(tmp_path / "run")
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    assert p.returncode == 0, p.stderr[-1500:]
    assert (
        summary(tmp_path / "run")["status"] == "finished"
        and nbformat.reads(p.stdout, as_version=4).cells
    )


def test_no_compiler(tmp_path):
    "Without a C++ compiler the main job still ends well, in eager mode, and says so."
    code, out, _ = papermill(
        tmp_path, "-p", "compile", "on", "-p", "epochs", "1", "-p", "run_dir",
        str(tmp_path / "run"), CXX="/nonexistent", TORCHINDUCTOR_CACHE_DIR=str(tmp_path / "cache")
    )
    assert code == 0, out[-1500:]
    assert summary(tmp_path / "run")["mode"].startswith("eager (")
    assert "training in eager mode" in text_of(tmp_path / "out.ipynb")


def test_compiled(tmp_path):
    "With a compiler, `compile on` trains compiled, and says so."
    code, out, _ = papermill(
        tmp_path, "-p", "compile", "on", "-p", "a_bits", "2", "-p", "width", "4", "-p", "epochs",
        "1", "-p", "run_dir", str(tmp_path / "run")
    )
    assert code == 0, out[-1500:]
    assert summary(tmp_path / "run")["mode"] == "compiled"


def test_fused(tmp_path):
    "Paused under the fused operators, continued under them."
    words = [
        "-p", "fused", "on", "-p", "width", "4", "-p", "epochs", "2", "-p", "run_dir",
        str(tmp_path / "run")
    ]
    code, out, _ = papermill(tmp_path, *words, "-p", "max_minutes", "0.0001")
    assert code == 0 and summary(tmp_path / "run")["status"] == "paused", out[-1500:]
    code, out, _ = papermill(tmp_path, *words)
    assert code == 0 and summary(tmp_path / "run")["mode"] == "fused", out[-1500:]
    assert "as it never had stopped" in text_of(tmp_path / "out.ipynb")


def test_help_lists_every_parameter():
    from dataclasses import fields
    from pact_nb.recipes import Recipe
    p = subprocess.run(
        [sys.executable, "-m", "papermill", "--help-notebook", "nbs/train.ipynb"], cwd=ROOT,
        capture_output=True, text=True, timeout=120
    )
    assert "Unable to parse" not in p.stderr + p.stdout
    for f in fields(Recipe): assert f"  {f.name}: " in p.stdout, f.name


def test_one_parameters_cell():
    "papermill reads exactly one cell tagged `parameters`."
    for name in ("train", "bench"):
        nb = nbformat.read(ROOT / "nbs" / f"{name}.ipynb", as_version=4)
        assert sum("parameters" in c.metadata.get("tags", []) for c in nb.cells) == 1, name


@pytest.mark.parametrize("words, part", [
    (("-p", "_a_bits", "2"), "unknown parameter '_a_bits'"),
    (("-p", "os", "2"), "unknown parameter 'os'"),
    (("-p", "dataset", "cifar10"), "without a recipe"),
    (("-p", "before", "2"), "unknown parameter 'before'"),
])
def test_names_that_slip_through(tmp_path, words, part):
    """papermill sets whatever name it is given; one that is none of ours, or was there before,
    is refused."""
    code, out, _ = papermill(
        tmp_path, *words, "-p", "epochs", "1", "-p", "run_dir", str(tmp_path / "run")
    )
    assert code == 1 and part in out and not (tmp_path / "run").exists(), out[-1500:]


def test_stopped_with_its_parent(tmp_path):
    """SIGTERM to papermill ends it; the kernel sees that its parent is gone, saves, and the same
    command goes on."""
    words = (
        "-p", "epochs", "400", "-p", "run_dir", str(tmp_path / "run"), "-p", "width", "4", "-p",
        "compile", "off", "-p", "fused", "off"
    )
    p = subprocess.Popen(
        [
            sys.executable, "-m", "papermill", "nbs/train.ipynb", str(tmp_path / "o.ipynb"),
            "--no-progress-bar", *words
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    rows = tmp_path / "run" / "metrics.jsonl"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (rows.is_file() and rows.read_text().count("\n") >= 3):
        time.sleep(0.1)
    assert rows.is_file(), "no epoch within two minutes"
    p.terminate(); p.communicate(timeout=60)
    end = time.monotonic() + 60
    while time.monotonic() < end and not (tmp_path / "run" / "summary.json").is_file():
        time.sleep(0.1)
    said = summary(tmp_path / "run")
    assert said["status"] == "paused" and "parent" in said["error"], said
    from pact_nb.checkpoints import load_last
    state = load_last(tmp_path / "run" / "last.pt")
    assert state["trainer"]["done"] == rows.read_text().count("\n")  # no epoch is lost
    code, out, _ = papermill(tmp_path, *words, "-p", "max_minutes", "0.05", name="again.ipynb")
    assert code == 0 and "continued after" in out + text_of(tmp_path / "again.ipynb"), out[-1500:]
