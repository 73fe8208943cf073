"""A copy of the book to work in: some functions are blank, their tests stand below, and the book's
own lines are a click away. `make exercises` writes it into build/exercises."""
import argparse
import ast
import json
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# page → functions to write, in the order of the page
EXERCISES = {
    "1_method/00_forty_lines": ["backward"],
    "1_method/01_grids": ["unsigned_grid", "encode", "straight_through"],
    "1_method/02_pact": ["_eq1", "pact"],
    "1_method/04_error": ["errors"],
    "1_method/06_dorefa": ["dorefa"],
    "1_method/07_sawb": ["sawb"],
    "1_method/08_learned_clips": ["lsq_weight"],
    "2_networks/15_warmup": ["reestimate_norms"],
    "4_training/39_judging": ["holm"],
}
BLANK = 'raise NotImplementedError("your turn: {name}")'


def span(source: str, name: str) -> tuple[int, int] | None:
    "First and last line (from 0, end excluded) of a function's body behind its docstring."
    tree = ast.parse("\n".join("" if re.match(r"\s*[%!]", s) else s for s in source.split("\n")))
    for f in ast.walk(tree):
        if isinstance(f, ast.FunctionDef) and f.name == name:
            body = f.body[1:] if ast.get_docstring(f) else f.body
            if not body: raise ValueError(f"{name}: nothing behind its docstring")
            return body[0].lineno - 1, body[-1].end_lineno
    return None


def blank(cells: list[dict], name: str) -> None:
    "Empty a function of a page, its lines folded below; `ValueError` if it is not there once."
    at = [i for i, c in enumerate(cells)
          if c["cell_type"] == "code" and f"def {name}(" in c["source"]]
    if len(at) != 1: raise ValueError(f"{name} is there {len(at)} times, not once")
    cell = cells[at[0]]
    first, end = span(cell["source"], name)
    lines = cell["source"].split("\n")
    indent = re.match(r" *", lines[first])[0]
    own, lines[first:end] = lines[first:end], [indent + BLANK.format(name=name)]
    cell["source"] = "\n".join(lines)
    code = "\n".join(own)
    told = f"**Your turn:** `{name}`. The tests are below.\n\n<details><summary>The book's lines" \
           f"</summary>\n\n```python\n{code}\n```\n</details>"
    cells.insert(at[0] + 1, dict(cell_type="markdown", id=f"x{at[0]}-{name.strip('_')}"[:60],
                                 metadata=dict(solution=name), source=told))


def solved(cells: list[dict]) -> list[dict]:
    "The page with every blank filled from the lines folded below it."
    out = [dict(c) for c in cells if "solution" not in c["metadata"]]
    for c in (c for c in cells if "solution" in c["metadata"]):
        name = c["metadata"]["solution"]
        code = re.search(r"```python\n(.*)\n```", c["source"], re.S)[1]
        line = BLANK.format(name=name)
        for o in out:
            if line in o["source"]:
                o["source"] = re.sub(r" *" + re.escape(line), lambda _: code, o["source"])
    return out


def read(page: str, nbs: Path = ROOT / "nbs") -> dict:
    "A page, its sources as text."
    nb = json.loads((nbs / f"{page}.ipynb").read_text(encoding="utf8"))
    for c in nb["cells"]: c["source"] = "".join(c["source"])
    return nb


def write(out: Path) -> list[str]:
    "The copy of the book below `out`; the functions that are blank, as page: name."
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out} holds solved pages or other files, which stay; name an empty"
                         " folder: --out, or OUT= of make")
    shutil.copytree(ROOT / "nbs", out / "nbs",
                    ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    for name in ("settings.ini", "pyproject.toml"): shutil.copy2(ROOT / name, out / name)
    for name in ("data", "results"):
        shutil.copytree(ROOT / name, out / name,
                        ignore=shutil.ignore_patterns("*.safetensors"))
    told = []
    for page, names in EXERCISES.items():
        nb = read(page)
        for name in names:
            blank(nb["cells"], name)
            told.append(f"{page}: {name}")
        for c in nb["cells"]:
            if c["cell_type"] == "code": c["outputs"], c["execution_count"] = [], None
        (out / "nbs" / f"{page}.ipynb").write_text(json.dumps(nb, indent=1, ensure_ascii=False))
    return told


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", type=Path, default=ROOT / "build" / "exercises", help="an empty folder")
    a = p.parse_args()
    try: told = write(a.out)
    except ValueError as e:
        print(f"error: {e}", file=sys.stderr)
        return 2
    print(*told, f"{len(told)} functions to write, in {a.out / 'nbs'}; a page is done when its"
          f" tests pass: cd {a.out} && nbdev_test --path nbs/1_method/01_grids.ipynb", sep="\n")
    return 0


if __name__ == "__main__": sys.exit(main())
