"""Notebooks as a reader opens them in JupyterLab: 02_pact runs through, train draws itself and is
stopped by the square button."""
import json
import shutil

import nbformat
import pytest
from browser import ROOT, browse
from lab import LONG, OUTPUTS, jupyterlab, start, wait_for_all

PICTURES = (
    f"{OUTPUTS}.filter(o => o.data?.['image/png'] && JSON.stringify(o.data).includes('Figure"
    " size')).map(o => o.data['image/png'])"
)
STEPS = "epochs = 500; width = 4; train_images = 256; valid_fraction = 0.25; run_dir = 'run'"


@pytest.fixture(scope="module")
def at(tmp_path_factory):
    """One server for the copies of both notebooks; in the copy of train, parameters of a run
    that would take minutes."""
    tmp = tmp_path_factory.mktemp("lab")
    (root := tmp / "root").mkdir()
    shutil.copy(ROOT / "nbs" / "1_method" / "02_pact.ipynb", root)
    nb = nbformat.read(ROOT / "nbs" / "train.ipynb", as_version=4)
    tagged = next(i for i, c in enumerate(nb.cells) if "parameters" in c.metadata.get("tags", []))
    nb.cells.insert(tagged + 1, nbformat.v4.new_code_cell(STEPS))
    nbformat.write(nb, root / "train.ipynb")
    with jupyterlab(root, tmp) as address: yield address, root


def test_01_runs_through(at):
    with browse() as page:
        start(page, f"{at[0]}02_pact.ipynb")
        assert wait_for_all(page) == [] and page.outside == []


def test_train_draws_itself_and_stops(at):
    address, root = at
    with browse() as page:
        start(page, f"{address}train.ipynb")
        page.wait_for_function(f"{PICTURES}.length === 1", timeout=LONG)
        first = page.evaluate(f"{PICTURES}[0]")
        # the same picture, an epoch later
        page.wait_for_function(f"(was) => {PICTURES}[0] !== was", arg=first, timeout=LONG)
        page.evaluate("() => { window.jupyterapp.commands.execute('notebook:interrupt-kernel') }")
        assert wait_for_all(page) == []
        assert "paused by SIGINT" in page.evaluate(f"JSON.stringify({OUTPUTS})")
    said = json.loads((root / "run" / "summary.json").read_text())
    assert said["status"] == "paused" and (root / "run" / "last.pt").is_file()
