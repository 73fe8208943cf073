"""The files a run leaves for scripts, people and viewers, from the command line: no Jupyter, no
display."""
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_files_from_the_command_line(tmp_path):
    "Log, CSV and pictures of a run without a display, where matplotlib is told to open windows."
    env = {k: v for k, v in os.environ.items() if k != "DISPLAY"} | {"MPLBACKEND": "TkAgg"}
    words = (
        "--width", "2", "--train_images", "64", "--epochs", "2", "--run_dir", str(tmp_path / "r")
    )
    command = [sys.executable, "-m", "pact_nb.runs", *words]
    p = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
    assert p.returncode == 0 and not p.stderr, p.stderr[-1500:]
    printed, log = (
        p.stdout.splitlines(), (tmp_path / "r" / "log.txt").read_text(encoding="utf8").splitlines()
    )
    assert log[:-1] == printed[:-1] and printed[-1].startswith(log[-1] + ";") and len(log) == 4
    lines = (tmp_path / "r" / "metrics.jsonl").read_text().splitlines()
    rows = list(csv.DictReader((tmp_path / "r" / "metrics.csv").open()))
    assert [{k: str(v) for k, v in json.loads(s).items()} for s in lines] == rows
    for name in ("curves.png", "alphas.png"):
        assert (tmp_path / "r" / name).read_bytes().startswith(b"\x89PNG"), name
    assert not list((tmp_path / "r").glob(".*.tmp"))
