"The queue as a user starts it: in a clone at a commit, killed half way, started again to the end."
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
SMALL = dict(width=2, epochs=4, train_images=200, compile="off", fused="off", save_minutes=0.0)


def head() -> str:
    done = subprocess.run(("git", "rev-parse", "HEAD"), cwd=ROOT, capture_output=True, text=True)
    if done.returncode: pytest.skip("not a git checkout, so there is no commit to run")
    return done.stdout.strip()


def queue(tmp: Path, *more: str) -> subprocess.Popen:
    words = (sys.executable, "-m", "pact_nb.queue", str(tmp / "plan.yaml"),
             "--home", str(tmp / "home"), *more)
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, start_new_session=True)


def test_killed_and_started_again(tmp_path):
    plan = dict(commit=head(), parameters=SMALL, runs=dict(two=dict(a_bits=2), four=dict(a_bits=4)))
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    first = queue(tmp_path)
    for _ in range(1200):
        time.sleep(0.1)
        if list((tmp_path / "home").glob("plan-*/*/last.pt")): break
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    before = list(tmp_path.glob("*.json"))
    again = queue(tmp_path)
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0 and len(before) < 2, said
    found = {p.stem: json.loads(p.read_text()) for p in tmp_path.glob("*.json")}
    assert set(found) == {"two", "four"} and sum(r["resumed"] for r in found.values()) >= 1, said
    told = {(r["commit"], r["dirty"], r["status"]) for r in found.values()}
    assert told == {(head(), False, "finished")}
    listed, _ = queue(tmp_path, "--list").communicate()
    assert [line.split(":")[0] for line in listed.splitlines()] == ["two", "four"]
    assert "open" not in listed


def test_no_such_commit(tmp_path):
    plan = dict(commit="0" * 40, parameters=SMALL, runs=dict(two=dict(a_bits=2)))
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(plan))
    p = queue(tmp_path)
    said, _ = p.communicate(timeout=120)
    assert p.returncode == 1 and "error: git" in said and "Traceback" not in said, said
