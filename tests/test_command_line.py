"`python -m pact_nb.runs` and the package without the notebook world."
import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAVY = (
    "pandas", "pyarrow", "matplotlib", "seaborn", "ipywidgets", "papermill", "IPython", "sklearn",
    "yaml", "scipy", "fastcore", "nbdev", "tqdm"
)


def test_import_is_light():
    """`import pact_nb.runs` and `pact_nb.bench` need torch, torchvision and numpy alone:
    everything else is blocked."""
    block = (
        f"import sys\nfor m in {HEAVY}: sys.modules[m] = None\nimport pact_nb.runs, pact_nb.bench;"
        " print('light')"
    )
    p = subprocess.run(
        [sys.executable, "-c", block], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert p.stdout.strip() == "light", p.stderr[-1500:]


def test_import_elsewhere():
    """Every module can be imported where the system has no `resource` and no `fcntl`, as Windows
    has not."""
    names = sorted(p.stem for p in (ROOT / "pact_nb").glob("*.py") if not p.stem.startswith("_"))
    code = "import sys\nfor m in ('resource', 'fcntl'): sys.modules[m] = None\n" + "\n".join(
        f"import pact_nb.{n}" for n in names
    )
    p = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert p.returncode == 0, p.stderr[-1500:]


def call(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "pact_nb.runs", *words], cwd=ROOT, capture_output=True, text=True,
        timeout=300
    )


def test_runs_and_refuses(tmp_path):
    p = call("--a_bits", "3", "--epochs", "1", "--run_dir", str(tmp_path / "run"))
    assert p.returncode == 0 and "test" in p.stdout, p.stderr[-1500:]
    assert "a_bits: 3\n" in (tmp_path / "run" / "params.yaml").read_text()
    again = call("--a_bits", "3", "--epochs", "1", "--run_dir", str(tmp_path / "run"))
    assert again.returncode == 2 and "already holds a run" in again.stderr
    bad = call("--abits", "3")
    assert (
        bad.returncode == 2
        and "did you mean a_bits?" in bad.stderr
        and "Traceback" not in bad.stderr
    )


def test_whole_group_told_to_stop(tmp_path):
    """SIGTERM to the run and its decoding workers alike, as a batch system sends it: saved, and
    continued to the end."""
    sys.path.insert(0, str(ROOT / "scripts"))
    from broken_data import folders
    folders(tmp_path / "data")
    words = [
        "--recipe", "imagenet_resnet18", "--data_dir", str(tmp_path / "data"), "--image_size", "32",
        "--width", "4", "--workers", "1", "--batch_size", "4", "--epochs", "12", "--valid_fraction",
        "0", "--run_dir", str(tmp_path / "run")
    ]
    p = subprocess.Popen(
        [sys.executable, "-m", "pact_nb.runs", *words], cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in p.stdout:
        if line.startswith("epoch"): break
    os.killpg(p.pid, signal.SIGTERM)
    _, said = p.communicate(timeout=120)
    assert p.returncode == 130 and "paused by SIGTERM" in said and "Traceback" not in said, said[
        -1500:
    ]
    p = call(*words)
    assert p.returncode == 0 and "continued after" in p.stdout, p.stderr[-1500:]


def test_survives():
    "A few of each of what `make survive` counts in full."
    p = subprocess.run(
        [sys.executable, "scripts/survive.py", "--quick"], cwd=ROOT, capture_output=True, text=True,
        timeout=600
    )
    assert p.returncode == 0, p.stdout + p.stderr[-1500:]


def test_readme_in_step():
    assert (
        subprocess.run([sys.executable, "scripts/readme.py"], cwd=ROOT, timeout=120).returncode == 0
    )
