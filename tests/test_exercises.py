"""The copy of the book with blank functions: the blanks fail their tests, and the book's own lines,
which stand folded below, fill them to the letter."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import exercises  # noqa: E402


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("exercises")
    told = exercises.write(out)
    assert len(told) == sum(map(len, exercises.EXERCISES.values())) >= 12
    return out


@pytest.mark.parametrize("page", exercises.EXERCISES)
def test_solved_is_the_book(copy, page):
    here, book = exercises.read(page, copy / "nbs"), exercises.read(page)
    code = lambda cells: [c["source"] for c in cells if c["cell_type"] == "code"]
    blanks = [s for s in code(here["cells"]) if "your turn" in s]
    assert blanks and code(here["cells"]) != code(book["cells"])
    assert code(exercises.solved(here["cells"])) == code(book["cells"])


@pytest.mark.parametrize("page", ["1_method/01_grids", "1_method/06_dorefa"])
def test_a_blank_fails(copy, page):
    "A page with a blank function says whose turn it is."
    p = subprocess.run(["nbdev_test", "--path", f"nbs/{page}.ipynb", "--n_workers", "0"], cwd=copy,
                       capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert p.returncode != 0 and "your turn" in p.stdout + p.stderr


def test_refused(tmp_path):
    "Nothing is written over: neither other files nor the reader's own solutions."
    for name in ("thesis.tex", "settings.ini"):  # the second as in an earlier copy
        (own := tmp_path / name.replace(".", "_")).mkdir()
        (own / name).write_text("mine")
        with pytest.raises(ValueError, match="or other files, which stay"): exercises.write(own)
        assert [(f.name, f.read_text()) for f in own.iterdir()] == [(name, "mine")]
    with pytest.raises(ValueError, match="0 times, not once"): exercises.blank([], "pact")
