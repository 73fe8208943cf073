"""What results/ says of itself: committed code made it, and one thing has one number."""
import json
from pathlib import Path
import re
import pytest
from pact_nb.studies import read_study

RESULTS = Path(__file__).resolve().parent.parent / "results"
STUDIES = sorted(RESULTS.glob("study-*.json"))


@pytest.mark.parametrize("file", STUDIES, ids=lambda f: f.stem)
def test_made_by_committed_code(file):
    rows = read_study(file)
    for name, row in rows.items():
        assert row["dirty"] is False, f"{name}: made by code that was not committed"
        assert all(re.fullmatch("[0-9a-f]{40}", c) for c in row["commit"].split(" and ")), name


def test_one_number_for_one_thing():
    same, compared = {}, 0
    for file in STUDIES:
        for name, row in read_study(file).items():
            if row["recipe"]["init"] or row["recipe"]["teacher"]: continue
            if not row["test"]: continue
            machine = [row[k] for k in ("device_name", "torch", "threads")]
            for seed, top1 in zip(row["seeds"], row["test"]):
                asked = {k: v for k, v in row["recipe"].items() if k not in ("seed", "data_dir")}
                key = json.dumps([asked, seed, machine], sort_keys=True)
                if row.get("name", "").startswith("page"): continue  # own activations
                compared += key in same
                first = same.setdefault(key, (file.stem, name, top1))
                assert first[2] == top1, f"{first} but {file.stem}, {name}, seed {seed}: {top1}"
    assert compared > 200  # settings that stand in two files, or twice in one


def test_no_machine_in_results():
    for file in (f for kind in ("json", "yaml", "csv") for f in RESULTS.rglob(f"*.{kind}")):
        text = file.read_text(encoding="utf8")
        assert not re.search(r'(?<![\w.])(/home/|/root/|/work/|/tmp/|[A-Z]:\\\\)', text), file


def test_no_machine_in_outputs():
    for file in (RESULTS.parent / "nbs").rglob("*.ipynb"):
        if ".ipynb_checkpoints" in file.parts: continue
        cells = json.loads(file.read_text(encoding="utf8"))["cells"]
        for cell in (c for c in cells if c.get("outputs")):
            text = json.dumps(cell["outputs"])
            assert not re.search(r"(?<![\w.])(/home/|/root/|/work/)|site-packages", text), (
                f"{file.name}, cell {cell['id']}: a path of the machine that ran it")
