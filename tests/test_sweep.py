"sweep, report and evaluate as users type them: run, killed half way, run again to the end, drawn."
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL = "epochs=2, width=2, train_images=200, compile=off"


def papermill(notebook: str, out: Path, *pairs: str, wait: bool = True):
    words = [w for i in range(0, len(pairs), 2) for w in ("-p", *pairs[i:i + 2])]
    p = subprocess.Popen(
        [
            sys.executable, "-m", "papermill", f"nbs/{notebook}.ipynb", str(out),
            "--no-progress-bar", *words
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    if not wait: return p
    said, _ = p.communicate(timeout=600)
    return p.returncode, said


def outputs(notebook: Path) -> list:
    return [
        o
        for c in nbformat.read(notebook, as_version=4).cells
        if c.cell_type == "code"
        for o in c.outputs
    ]


def text_of(notebook: Path) -> str:
    return "\n".join(
        o.get("text", "") or str(o.get("data", {}).get("text/plain", "")) for o in outputs(notebook)
    )


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    "A sweep of four runs, killed (all its processes) when the first is finished, then run again."
    tmp = tmp_path_factory.mktemp("sweep")
    args = (
        "a_bits", "2,4", "activations", "pact,dorefa", "seeds", "1", "params", SMALL, "folder",
        str(tmp / "runs")
    )
    first = papermill("sweep", tmp / "first.ipynb", *args, wait=False)
    for _ in range(2400):
        time.sleep(0.1)
        if list((tmp / "runs").glob("*/summary.json")): break
    else: pytest.fail("no run of the sweep was finished within four minutes")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before = {p.parent.name for p in (tmp / "runs").glob("*/summary.json")}
    time.sleep(3)  # the workers notice that their parent is gone
    code, said = papermill("sweep", tmp / "second.ipynb", *args)
    return tmp, before, code, said


def test_sweep_goes_on(swept):
    tmp, before, code, said = swept
    assert code == 0, said[-2000:]
    assert 0 < len(before) < 4
    found = {
        p.parent.name: json.loads(p.read_text()) for p in (tmp / "runs").glob("*/summary.json")
    }
    assert set(found) == {f"digits_w{k}a{k}{a}_s0" for k in (2, 4) for a in ("", "_dorefa")} and {
        s["status"] for s in found.values()
    } == {"finished"}
    assert "skipped" in text_of(tmp / "second.ipynb")


def test_dask(swept):
    "On a local Dask cluster of two workers, with the same result as on two processes."
    tmp = swept[0]
    code, said = papermill(
        "sweep", tmp / "dask.ipynb", "executor", "dask", "workers", "2", "a_bits", "2,4", "seeds",
        "1", "params", SMALL, "folder", str(tmp / "dask")
    )
    assert code == 0, said[-2000:]
    for k in (2, 4):
        a, b = (
            json.loads((tmp / place / f"digits_w{k}a{k}_s0" / "summary.json").read_text())
            for place in ("runs", "dask")
        )
        assert a["alphas"] == b["alphas"] and a["test_top1"] == b["test_top1"]


def test_report(swept):
    tmp = swept[0]
    code, said = papermill(
        "report", tmp / "report.ipynb", "runs", str(tmp / "runs"), "out", str(tmp / "report.json")
    )
    assert code == 0, said[-2000:]
    rows = json.loads((tmp / "report.json").read_text())
    assert len(rows["rows"] if isinstance(rows, dict) else rows) == 4
    assert sum("image/png" in o.get("data", {}) for o in outputs(tmp / "report.ipynb")) >= 2


def test_evaluate(swept):
    tmp = swept[0]
    run = tmp / "runs" / "digits_w4a4_s0"
    code, said = papermill("evaluate", tmp / "evaluate.ipynb", "run", str(run), "export", "True")
    assert code == 0, said[-2000:]
    lines = (run / "preds.csv").read_text().splitlines()
    right = sum(line.rsplit(",", 1)[1] == "True" for line in lines[1:])
    assert (
        len(lines) == 361
        and right / 360 == json.loads((run / "summary.json").read_text())["test_top1"]
    )
    from pact_nb.packed import load_network
    net, about = load_network(run / "network.safetensors")
    assert (
        about["run"] == run.name
        and all((run / f"network-{form}.onnx").is_file() for form in ("qdq", "integer", "fast"))
        and "network-integer.onnx" in str(outputs(tmp / "evaluate.ipynb"))
    )
    assert (run / "confusion.png").is_file() and sum(
        "image/png" in o.get("data", {}) for o in outputs(tmp / "evaluate.ipynb")
    ) >= 2


def test_show(swept):
    "A sweep's run, which no notebook of its own has shown: result, curves, α, and the clips."
    tmp = swept[0]
    run = tmp / "runs" / "digits_w4a4_s0"
    before = {f.name: f.read_bytes() for f in run.iterdir() if f.is_file()}
    code, said = papermill("show", tmp / "show.ipynb", "run", str(run))
    assert code == 0, said[-2000:]
    text = str(outputs(tmp / "show.ipynb"))
    top1 = json.loads((run / "summary.json").read_text())["test_top1"]
    assert f"{top1:.2%} on 360 images" in text and "python -m pact_nb.evaluate" in text
    assert sum("image/png" in o.get("data", {}) for o in outputs(tmp / "show.ipynb")) == 4
    assert {f.name: f.read_bytes() for f in run.iterdir() if f.is_file()} == before


@pytest.mark.parametrize("notebook,pairs,part", [
    ("sweep", ("a_bits", "2,9"), "1 to 8"), ("sweep", ("params", "lrr=1"), "lr"),
    ("evaluate", ("run", "nowhere"), "not the folder of a run"),
    ("report", ("run", "x"), "did you mean runs?"), ("show", ("images", "1"), "2 or more"),
    ("show", ("run", "nowhere"), "not the folder of a run"),
])
def test_refused(tmp_path, notebook, pairs, part):
    code, said = papermill(notebook, tmp_path / "out.ipynb", *pairs)
    assert code != 0 and part in said, said[-1500:]
