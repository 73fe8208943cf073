"""The structure of the workbook, read from its pages: `python scripts/house.py` prints it,
`--write` draws the modules into CONTRIBUTING.md."""
import ast
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
from docs import PARTS, notebooks  # noqa: E402

MOST_COLUMNS, MOST_LINES, MOST_CELL = 100, 400, 25
GROUND = "lab/01_utils"  # helpers that every part may use
# what a picture shows, in words, and what moves beside it on the site: no code
ALT = re.compile(r"^#\| *(?:fig-alt|sliders):.*\n(?:#\|  +.*\n)*", re.M)


class Notebook(NamedTuple):
    "A page: its name, and the text of its code cells."
    name: str
    cells: list[str]

    def lines(self) -> list[str]: return [x for c in self.cells for x in c.splitlines()]

    def sizes(self) -> list[int]:
        "Lines of code of each cell, without the descriptions of pictures."
        return [len(ALT.sub("", c).splitlines()) for c in self.cells]

    def module(self) -> str:
        "The module it exports; '' for none."
        found = re.search(r"^#\| *default_exp +(\S+)", "\n".join(self.cells), re.M)
        return found[1] if found else ""

    def run_of_exports(self) -> int:
        "How many cells in a row are exported before one runs."
        longest = now = 0
        for c in self.cells:
            now = now + 1 if re.search(r"^#\| *export", c, re.M) else 0
            longest = max(longest, now)
        return longest

    def imports(self) -> set[str]:
        "Modules of the package that a cell imports, at the top or in a function."
        return set().union(*(imported(c) for c in self.cells)) - {self.module()}


def plain(source: str) -> str:
    "The Python of a cell: `pass` where a line is a magic or the shell's."
    magic = re.compile(r"\s*(%+[a-z]|!)")
    return "".join(f"{'pass' if magic.match(x) else x}\n" for x in source.splitlines())


def imported(source: str) -> set[str]:
    "Modules of the package that Python text imports."
    found = set()
    for node in ast.walk(ast.parse(plain(source))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            base = "pact_nb" + (f".{node.module}" if node.module else "")
            base = base if node.level else node.module or ""
            names = [f"{base}.{a.name}" for a in node.names] if base == "pact_nb" else [base]
        found |= {n.removeprefix("pact_nb.") for n in names if n.startswith("pact_nb.")}
    return found


def read() -> list[Notebook]:
    "Every page, in the order in which pages build on one another: parts, then the jobs."
    def cells(name):
        told = json.loads((ROOT / "nbs" / f"{name}.ipynb").read_text(encoding="utf8"))["cells"]
        return ["".join(c["source"]) for c in told if c["cell_type"] == "code"]
    place = lambda n: (n != GROUND, list(PARTS).index(part(n)), n)
    return [Notebook(n, cells(n)) for n in sorted(notebooks(), key=place)]


def part(name: str) -> str: return name.rpartition("/")[0]


def modules() -> dict[str, set[str]]:
    "Module of the package → the modules it imports, from the exported files."
    paths = [p for p in (ROOT / "pact_nb").rglob("*.py") if not p.name.startswith("_")]
    name = lambda p: ".".join(p.relative_to(ROOT / "pact_nb").with_suffix("").parts)
    return {name(p): imported(p.read_text(encoding="utf8")) for p in sorted(paths)}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    "Groups of modules that import one another."
    def reach(m):
        seen, todo = set(), [m]
        while todo:
            for n in graph.get(todo.pop(), ()):
                if n not in seen: seen.add(n); todo.append(n)
        return seen
    reached = {m: reach(m) for m in graph}
    groups = {frozenset(n for n in reached[m] if m in reached[n]) for m in graph if m in reached[m]}
    return sorted(sorted(g) for g in groups)


def backwards(pages: list[Notebook]) -> list[str]:
    "Imports of what only a later page makes, in words."
    at = {p.module(): i for i, p in enumerate(pages) if p.module()}
    return [
        f"{p.name} imports {m}, which {pages[at[m]].name} makes"
        for i, p in enumerate(pages) for m in sorted(p.imports()) if at.get(m, -1) > i
    ]


def table(pages: list[Notebook]) -> list[dict]:
    "A row for each part, and one for all."
    def row(name, some):
        lines = {p.name: sum(p.sizes()) for p in some}
        cells = [n for p in some for n in p.sizes()]
        return dict(
            part=name, pages=len(some), lines=sum(lines.values()),
            long_lines=sum(len(x) > MOST_COLUMNS for p in some for x in p.lines()),
            median_cell=sorted(cells)[len(cells) // 2], longest_cell=max(cells),
            cells_over=sum(c > MOST_CELL for c in cells), longest_page=max(lines.values()),
            pages_over=sum(n > MOST_LINES for n in lines.values()),
            run_of_exports=max(p.run_of_exports() for p in some),
        )
    parts = [k for k in PARTS if any(part(p.name) == k for p in pages)]
    rows = [row(k or "jobs", [p for p in pages if part(p.name) == k]) for k in parts]
    return [*rows, row("all", pages)]


def needed(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    "The graph without the arrows that go round another way."
    def behind(m): return graph[m] | {x for n in graph[m] for x in behind(n)}
    return {m: {n for n in ns if not any(n in behind(o) for o in ns - {n})}
            for m, ns in graph.items()}


def diagram(graph: dict[str, set[str]]) -> str:
    "A graph in Mermaid, which GitHub draws; who imports stands above what is imported."
    arrows = [f"  {m} --> {n}" for m, ns in needed(graph).items() for n in sorted(ns)]
    alone = [f"  {m}" for m in graph if not any(m in a.split() for a in arrows)]
    return "\n".join(["```mermaid", "flowchart TD", *alone, *arrows, "```"])


def drawing(pages: list[Notebook], graph: dict[str, set[str]]) -> str:
    "The parts, and the modules of each part, as diagrams."
    where = {p.module(): part(p.name) or "jobs" for p in pages if p.module() in graph}
    parts = {k: {where[n] for m in graph if where.get(m) == k for n in graph[m] if n != "utils"}
             for k in dict.fromkeys(where.values())}
    out = [diagram({k.replace("_", " ").split()[-1]: {n.split("_")[-1] for n in ns - {k}}
                    for k, ns in parts.items()})]
    for k in parts:
        inside = {m: {n for n in graph[m] if where.get(n) == k} for m in graph if where.get(m) == k}
        if len(inside) > 1:
            out += [f"<details><summary>{k}</summary>\n", diagram(inside), "\n</details>"]
    return "\n".join(out)


def between(text: str, name: str, new: str) -> str:
    "`text` with what stands between `<!-- name -->` and `<!-- /name -->` replaced."
    whole = f"<!-- {name} -->\n{new}\n<!-- /{name} -->"
    text, n = re.subn(f"<!-- {name} -->.*<!-- /{name} -->", lambda m: whole, text, flags=re.S)
    if n != 1: raise ValueError(f"<!-- {name} --> … <!-- /{name} --> is there {n} times, not once")
    return text


def write(text: str) -> str:
    "CONTRIBUTING.md with the diagrams of today."
    return between(text, "house", drawing(read(), modules()))


def main() -> None:
    pages, graph = read(), modules()
    rows = table(pages)
    widths = {k: max(len(k), *(len(str(r[k])) for r in rows)) for k in rows[0]}
    for r in (dict(zip(rows[0], rows[0])), *rows):
        print("  ".join(str(r[k]).rjust(w) for k, w in widths.items()))
    size = sum(len(p.read_text().splitlines()) for p in (ROOT / "pact_nb").rglob("[a-z]*.py"))
    print(f"package: {len(graph)} modules, {size} lines; circles: {circles(graph) or 'none'}")
    print(*backwards(pages) or ["every page builds on earlier ones only"], sep="\n")
    if "--write" in sys.argv:
        file = ROOT / "CONTRIBUTING.md"
        file.write_text(write(file.read_text(encoding="utf8")), encoding="utf8")


if __name__ == "__main__": main()
