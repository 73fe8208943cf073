"What a run's folder was, and what somebody made of it since: noticed when the run goes on."

import json
import shutil
from dataclasses import replace
from unittest.mock import patch

import pytest

from pact_nb.checkpoints import Interrupted, Watch
from pact_nb.recipes import from_params, from_yaml
from pact_nb.runs import Run, run, status_of

SMALL = dict(a_bits=2, width=4, epochs=4, train_images=300, compile="off", fused="off")


class Stop(Watch):
    "Says so after so many steps."

    def __init__(self, steps: int):
        super().__init__()
        self.left = steps

    def reason(self) -> str:
        self.left -= 1
        return "SIGTERM" if self.left == 0 else ""


@pytest.fixture
def paused(tmp_path):
    "A run stopped in its third epoch."
    with pytest.raises(Interrupted):
        run(from_params(SMALL | dict(run_dir=str(tmp_path / "run"))), lambda s: None, Stop(10))
    assert status_of(tmp_path / "run") == "paused"
    return tmp_path / "run"


def again(path, **more) -> list[str]:
    "What the run says that is continued by its own file of parameters."
    said = []
    run(replace(from_yaml(path / "params.yaml"), run_dir=str(path), **more), said.append)
    return said


@pytest.mark.parametrize(
    "old, new",
    [
        ("a_bits: 2", "a_bits: 4"),
        ("lr: 0.1", "lr: 0.001"),
        ("seed: 0", "seed: 7"),
        ("epochs: 4", "epochs: 9"),
    ],
)
def test_edited_parameters(paused, old, new):
    file, before = paused / "params.yaml", (paused / "last.pt").read_bytes()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=f"params.yaml was changed.*{old.partition(':')[0]} was"):
        again(paused)
    assert (paused / "last.pt").read_bytes() == before
    file.write_text(file.read_text().replace(new, old, 1))
    assert any("as it never had stopped" in s for s in again(paused))


def test_lost_checkpoints(paused):
    "Not begun anew over what was trained, nor where a checkpoint was asked for."
    for p in paused.glob("last*"):
        p.unlink()
    best = (paused / "best.pt").read_bytes()
    for more in (dict(), dict(resume=True)):
        with pytest.raises(ValueError, match="last.pt and last.prev.pt are gone"):
            again(paused, **more)
    assert (paused / "best.pt").read_bytes() == best


def test_lost_parameters(paused):
    (paused / "params.yaml").unlink()
    with pytest.raises(ValueError, match="holds no run"):
        run(from_params(SMALL | dict(run_dir=str(paused))), lambda s: None)


@pytest.mark.parametrize("what", ["code", "python", "numpy", "torch"])
def test_other_versions(paused, what):
    "Another version of what makes the bits: said, by name, in place of 'as it never had stopped'."
    from pact_nb.runs import environment

    other = lambda *a: environment(*a) | {what: "another"}
    with patch("pact_nb.carry_out.environment", other):
        said = again(paused)
    told = next(s for s in said if "continued after" in s)
    assert f"not to the bit: {what} " in told and "another now" in told


def test_other_teacher(tmp_path):
    "Another network put in the place of the teacher's between two sittings."
    quiet = lambda s: None
    for name, seed in (("teacher", 0), ("other", 1)):
        run(from_params(SMALL | dict(epochs=1, seed=seed, run_dir=str(tmp_path / name))), quiet)
    params = SMALL | dict(teacher=str(tmp_path / "teacher"), run_dir=str(tmp_path / "run"))
    with pytest.raises(Interrupted):
        run(from_params(params), quiet, Stop(10))
    shutil.rmtree(tmp_path / "teacher")
    shutil.copytree(tmp_path / "other", tmp_path / "teacher")
    said = []
    run(from_params(params), said.append)
    assert any("not to the bit: teacher" in s for s in said)


def test_unfinished_teacher(paused, tmp_path):
    for field in ("teacher", "init"):
        with pytest.raises(ValueError, match="the run is paused"):
            run(from_params(SMALL | {field: str(paused)}), lambda s: None)


def test_fewer_cores(paused):
    "Threads of a larger machine are not asked of a smaller one."
    import torch
    from pact_nb.checkpoints import load_weights, save_weights

    state = load_weights(paused / "last.pt")
    state["environment"]["threads"] = 64
    save_weights(paused / "last.pt", state)
    before = torch.get_num_threads()
    said = again(paused)
    assert any("threads 64 then" in s for s in said) and torch.get_num_threads() == before


@pytest.mark.parametrize("text", ['{"status": "running"}', "[]", "null", '{"status": 3}', "7"])
def test_unknown_status(paused, text):
    (paused / "summary.json").write_text(text)
    with pytest.raises(ValueError, match="says none of finished, stopped, paused"):
        again(paused)
    with pytest.raises(ValueError, match="none of"):
        Run(paused)


def test_summary_of_another_version(paused):
    told = json.loads((paused / "summary.json").read_text()) | dict(status="finished")
    told.pop("seal", None)
    (paused / "summary.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="lacks test_top1"):
        Run(paused)


def test_moved_together_with_its_start(tmp_path):
    """A paused run and the run it began with, moved: the new place is named, and it goes on to
    the bit."""
    quiet, first = lambda s: None, tmp_path / "first"
    run(
        from_params(
            SMALL
            | dict(epochs=1, activation="relu", a_bits=32, w_bits=32, run_dir=str(first / "float"))
        ),
        quiet,
    )
    params = SMALL | dict(init=str(first / "float"), run_dir=str(first / "run"))
    with pytest.raises(Interrupted):
        run(from_params(params), quiet, Stop(10))
    first.rename(tmp_path / "second")
    said = again(tmp_path / "second" / "run", init=str(tmp_path / "second" / "float"))
    assert any("as it never had stopped" in s for s in said)


def test_another_start_of_the_same_name(tmp_path):
    "Two folders of one name, both there, are two runs."
    quiet = lambda s: None
    for place, seed in (("a", 0), ("b", 1)):
        run(
            from_params(SMALL | dict(epochs=1, seed=seed, run_dir=str(tmp_path / place / "float"))),
            quiet,
        )
    params = SMALL | dict(init=str(tmp_path / "a" / "float"), run_dir=str(tmp_path / "run"))
    with pytest.raises(Interrupted):
        run(from_params(params), quiet, Stop(10))
    with pytest.raises(ValueError, match="init is .*a/float' there and .*b/float' here"):
        again(tmp_path / "run", init=str(tmp_path / "b" / "float"))
