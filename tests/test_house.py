"The structure of the workbook: what builds on what, and how large a page or a cell may be."
import ast
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import house  # noqa: E402
import pictures  # noqa: E402

# pages and cells that are longer than they should be; a number here may only get smaller
LEFT = json.loads((ROOT / "tests" / "house.json").read_text(encoding="utf8"))
# signatures that an operator's schema gives
TORCHS = {"shape", "_norm_shapes", "_norm_back_shapes"}


@pytest.fixture(scope="module")
def pages(): return house.read()


def test_no_circles():
    graph = house.modules()
    assert len(graph) > 70 and house.circles(graph) == []


def test_a_circle_is_seen():
    assert house.circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]
    assert house.circles({"a": {"a"}}) == [["a"]]


def test_pages_build_on_earlier_ones(pages): assert house.backwards(pages) == []


def test_an_import_that_runs_backwards_is_seen():
    first = house.Notebook("1_method/01_a", ["#| default_exp a", "from pact_nb.b import x"])
    second = house.Notebook("1_method/02_b", ["#| default_exp b", "def f(): import pact_nb.a"])
    said = ["1_method/01_a imports b, which 1_method/02_b makes"]
    assert house.backwards([first, second]) == said and second.imports() == {"a"}


def test_every_module_has_a_page(pages):
    made = [p.module() for p in pages if p.module()]
    assert sorted(made) == sorted(house.modules()) and len(set(made)) == len(made)


def test_sizes(pages):
    "No line over 100 columns; no page over 400 lines, no cell over 25, but those that are left."
    for p in pages:
        assert max(map(len, p.lines()), default=0) <= house.MOST_COLUMNS, p.name
        most = LEFT["pages"].get(p.name, house.MOST_LINES)
        assert sum(p.sizes()) <= most, (p.name, sum(p.sizes()))
        over = [n for n in p.sizes() if n > house.MOST_CELL]
        assert len(over) <= LEFT["cells"].get(p.name, 0), (p.name, over)


def test_bytes_of_pages():
    sizes = {p: p.stat().st_size for p in (ROOT / "nbs").rglob("*.ipynb")}
    assert max(sizes.values()) < 200_000, f"{max(sizes, key=sizes.get)}: scripts/pictures.py"


def png(image) -> bytes:
    image.save(out := io.BytesIO(), "PNG")
    return out.getvalue()


def test_pictures_lose_colours_and_nothing_else():
    "4,096 colours in any order: the same size, and each pixel off by a few levels at most."
    x = np.random.default_rng(0).permutation(4096).reshape(64, 64)
    wide = Image.fromarray(np.stack([x // 64 * 4, x % 64 * 4, x * 0], 2).astype("uint8"))
    few = Image.open(io.BytesIO(less := pictures.reduced(png(wide))))
    assert few.mode == "P" and few.size == (64, 64)
    assert len(np.unique(np.asarray(few))) <= 256 and len(less) < len(png(wide))
    off = np.abs(np.asarray(few.convert("RGB")).astype(int) - np.asarray(wide))
    assert 0 < off.mean() < 4 and off.max() <= 16, (off.mean(), off.max())
    assert pictures.reduced(less) == less  # once more changes nothing
    clear = png(Image.new("RGBA", (8, 8), (9, 9, 9, 99)))
    assert pictures.reduced(clear) == clear  # transparency stays


def test_median_cell(pages): assert house.table(pages)[-1]["median_cell"] <= 12


# what readers stumbled over → what the glossary says
WORDS = {
    "strangers?": "third-party networks", "passed over": "skipped", "told apart": "distinguished",
    "held against the": "checked against the", "epochs more": "more epochs",
}


@pytest.mark.parametrize("word", WORDS)
def test_words(word):
    "Prose says what the field says."
    for name in house.notebooks():
        told = json.loads((ROOT / "nbs" / f"{name}.ipynb").read_text(encoding="utf8"))["cells"]
        prose = " ".join("".join(c["source"]) for c in told if c["cell_type"] == "markdown")
        spaced = word.replace(" ", r"\s+")
        found = re.search(rf".{{0,40}}\b{spaced}\b.{{0,40}}", prose, re.I)
        assert not found, f"{name}: {found[0]!r}; write {WORDS[word]}"


def test_positional_arguments():
    for file in sorted((ROOT / "pact_nb").glob("[!_]*.py")):
        for f in ast.walk(ast.parse(file.read_text(encoding="utf8"))):
            if not isinstance(f, ast.FunctionDef) or f.name in TORCHS: continue
            names = [a.arg for a in (*f.args.posonlyargs, *f.args.args)]
            assert len(names) - (names[:1] in (["self"], ["cls"])) <= 6, (file.name, f.name, names)


def test_drawing_is_todays():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf8")
    assert text == house.write(text), "run: python scripts/house.py --write"
    with pytest.raises(ValueError, match="0 times, not once"):
        house.between(text.replace("<!-- /house -->", ""), "house", "")


def test_command():
    words = [sys.executable, "scripts/house.py"]
    p = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert p.returncode == 0 and "circles: none" in p.stdout, p.stdout + p.stderr
