"""Executes reading notebooks and compares their text with what is committed: python
scripts/outputs.py [PART/NAME …]"""
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from docs import notebooks
from nbclient import NotebookClient

NBS = Path(__file__).resolve().parent.parent / "nbs"
JOBS = {"train", "evaluate", "sweep", "report", "show"}  # committed without outputs
SKIPPED = re.compile(r"#\| *(slow|cuda|data)\b")


def text(cell) -> list[str]:
    "What a cell said, without pictures and without what went to stderr."
    said = [o for o in cell.get("outputs", []) if o.get("name") != "stderr"]
    return [
        o.get("text")
        or o.get("data", {}).get("text/markdown")
        or o.get("data", {}).get("text/plain", "")
        for o in said
    ]


def differences(name: str) -> list[str]:
    "Cells of a notebook that say something else now."
    old = nbformat.read(NBS / f"{name}.ipynb", as_version=4)
    new = nbformat.read(NBS / f"{name}.ipynb", as_version=4)
    for c in new.cells:
        if c.cell_type == "code" and SKIPPED.match(c.source): c.source = ""
    NotebookClient(
        new, timeout=1800, kernel_name="python3",
        resources={"metadata": {"path": str((NBS / name).parent)}}
    ).execute()
    pairs = [
        (i, text(a), text(b))
        for i, (a, b) in enumerate(zip(old.cells, new.cells))
        if b.cell_type == "code" and b.source
    ]
    return [f"{name}, cell {i}: was {a!r:.300}, is {b!r:.300}" for i, a, b in pairs if a != b]


def main() -> None:
    names = sys.argv[1:] or [n for n in notebooks() if n not in JOBS]
    with ThreadPoolExecutor(2) as pool:
        found = [d for part in pool.map(differences, names) for d in part]
    print("\n".join(found) or f"{len(names)} notebooks say what is committed")
    sys.exit(bool(found))


if __name__ == "__main__": main()
