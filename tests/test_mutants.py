"""The deliberate errors of tests/mutants.yaml: each can be made, nearly all were found, a few are
tried again here. scripts/mutants.py tries all of them, in half an hour."""
import json
from pathlib import Path
import sys

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import mutants  # noqa: E402

QUICK = ("1_method/06_dorefa", "4_training/17_optimizing")  # pages of a few seconds


def test_each_can_be_made():
    for file, least in ((mutants.DATA, 120), (mutants.MORE, 0)):
        told = mutants.read(file)
        assert sum(map(len, told.values())) >= least
        for page, own in told.items():
            for m in own: mutants.changed_cell(ROOT / f"nbs/{page}.ipynb", m["was"], m["now"])


def test_nearly_all_are_found():
    found = json.loads(mutants.FOUND.read_text(encoding="utf8"))
    rows = [r for own in found.values() for r in own]
    asked = {(page, m["was"], m["now"]) for page, own in mutants.read().items() for m in own}
    assert asked == {(r["page"], r["was"], r["now"]) for r in rows}, "run scripts/mutants.py"
    doc = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    assert doc == mutants.between(doc, "mutants", mutants.table(rows)), "scripts/mutants.py --write"
    errors = [r for r in rows if not r.get("no_error")]
    assert sum(bool(r["found"]) for r in errors) >= 0.95 * len(errors)


def test_a_few_again():
    told, of = mutants.read(), mutants.modules()
    for page in QUICK:
        rows = mutants.judge_page(page, told[page][:2], of[page])
        assert all(r["found"] for r in rows), [r["why"] for r in rows if not r["found"]]


def test_what_is_refused(tmp_path):
    import pytest
    page = tmp_path / "page.ipynb"
    cell = dict(cell_type="code", source=["#| export\n", "a = 1\n", "b = 1\n"])
    page.write_text(json.dumps(dict(cells=[cell])))
    with pytest.raises(ValueError, match="2 times, not once"): mutants.changed_cell(page, "= 1", "")
    assert "b = 2" in mutants.changed_cell(page, "b = 1", "b = 2")
    rows = [dict(page="p", why="x", found=""), dict(page="p", why="y", found="its page")]
    assert "| p | 2 | 1 |" in mutants.table(rows) and "- p: x" in mutants.table(rows)
