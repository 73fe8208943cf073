"""Do the tests bite? Deliberate errors, one line each, that a page's own tests must find.

python scripts/mutants.py [--pages PART …] [--sample N] [--more] [--write]

tests/mutants.yaml holds them as data: page → list of {was, now, why}. Each is put into a copy of
the project, into the page's cell and into the module that the cell is exported to, and the page's
tests are run there. `by` names a file of tests, or the page that derives the code, which is asked
as well. A mutant that all tests pass is printed and makes the exit code 1, unless `no_error` says
why it is none.
"""
import argparse
from concurrent.futures import ThreadPoolExecutor
import json
import os
from pathlib import Path
import re
import shutil
import subprocess
import sys
import tempfile
import time

from house import between

ROOT = Path(__file__).resolve().parent.parent
DATA, FOUND = ROOT / "tests/mutants.yaml", ROOT / "tests/mutants.json"
MORE = ROOT / "tests/mutants_more.yaml"  # asked by --more alone, until they move to DATA
LIMIT = 600  # seconds for the tests of one page


def read(file: Path = DATA) -> dict[str, list[dict]]:
    "Page → its mutants, from a file of them; `ValueError` for one that cannot be meant."
    import yaml
    told = yaml.safe_load(file.read_text(encoding="utf8"))
    for page, mutants in told.items():
        for m in mutants:
            if odd := m.keys() - {"was", "now", "why", "by", "no_error"}:
                raise ValueError(f"{page}: unknown {', '.join(odd)} in {m}")
            if m["was"] == m["now"]: raise ValueError(f"{page}: nothing changes in {m['was']!r}")
            by = m.get("by", page)
            if not (ROOT / (by if by.endswith(".py") else f"nbs/{by}.ipynb")).is_file():
                raise ValueError(f"{page}: by {by}, which is not there, in {m}")
    return told


def modules() -> dict[str, Path]:
    "Page → the module that it exports, relative to the project."
    found = {}
    for f in sorted((ROOT / "pact_nb").glob("*.py")):
        if m := re.search(r"File to edit: \.\./nbs/(.*)\.ipynb", f.read_text(encoding="utf8")):
            found[m[1]] = f.relative_to(ROOT)
    return found


def changed_cell(notebook: Path, was: str, now: str) -> str:
    "The notebook's JSON with the one code cell that holds `was` changed; `ValueError` if not one."
    nb = json.loads(notebook.read_text(encoding="utf8"))
    code = [c for c in nb["cells"] if c["cell_type"] == "code"]
    exported = [c for c in code if re.match(r"#\|\s*export", "".join(c["source"]))] or code
    hits = [c for c in exported if was in "".join(c["source"])]
    times = sum("".join(c["source"]).count(was) for c in hits)
    if times != 1: raise ValueError(f"{notebook.stem}: {was!r} is there {times} times, not once")
    hits[0]["source"] = "".join(hits[0]["source"]).replace(was, now)
    return json.dumps(nb)


def copy_project(where: Path) -> Path:
    "A copy of what git keeps, and of what is not ignored, without its history."
    git = ("git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard")
    for name in subprocess.run(git, capture_output=True, text=True, check=True).stdout.splitlines():
        if (ROOT / name).is_file():
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, where / name)
    return where


def passes(copy: Path, by: str) -> bool:
    "Whether the tests of a page or a file of tests are green in the copy."
    words = ["nbdev_test", "--path", f"nbs/{by}.ipynb", "--n_workers", "0"]
    if by.endswith(".py"): words = [sys.executable, "-m", "pytest", "-q", "-x", by]
    own = {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            words, cwd=copy, capture_output=True, timeout=LIMIT, env={**os.environ, **own}
        )
    except subprocess.TimeoutExpired: return False
    return done.returncode == 0


def caught(copy: Path, page: str, module: Path | None, m: dict) -> str:
    "Who found the mutant: the page, a file of tests, or '' for nobody."
    notebook = Path(f"nbs/{page}.ipynb")
    files = {notebook: changed_cell(ROOT / notebook, m["was"], m["now"])}
    text = (ROOT / module).read_text(encoding="utf8") if module else ""
    if m["was"] in text: files[module] = text.replace(m["was"], m["now"])
    for f, new in files.items(): (copy / f).write_text(new, encoding="utf8")
    try:
        if not passes(copy, page): return "its page"
        return m["by"] if m.get("by") and not passes(copy, m["by"]) else ""
    finally:
        for f in files: shutil.copy2(ROOT / f, copy / f)


def judge_page(page: str, mutants: list[dict], module: Path | None) -> list[dict]:
    "Each mutant of a page with who found it; page and other finders must be green without any."
    with tempfile.TemporaryDirectory(prefix="pact-mutants-") as tmp:
        copy = copy_project(Path(tmp))
        for by in dict.fromkeys((page, *(m["by"] for m in mutants if m.get("by")))):
            if not passes(copy, by):
                raise RuntimeError(f"{by} fails as it is: no mutant of {page} can tell")
        rows = []
        for m in mutants:
            start = time.perf_counter()
            rows.append(dict(page=page, **m, found=caught(copy, page, module, m)))
            said = f"{rows[-1]['found'] or 'NOT FOUND'}, {time.perf_counter() - start:.0f} s"
            print(f"{page}: {said}: {m['why']}", flush=True)
        return rows


def table(rows: list[dict]) -> str:
    "Caught and total by page, in Markdown, and the mutants that nobody finds."
    errors = [r for r in rows if not r.get("no_error")]
    out = ["| page | deliberate errors | found |", "|---|---|---|"]
    for page in dict.fromkeys(r["page"] for r in errors):
        own = [r for r in errors if r["page"] == page]
        out.append(f"| {page} | {len(own)} | {sum(bool(r['found']) for r in own)} |")
    right = sum(bool(r["found"]) for r in errors)
    out.append(f"| **all** | **{len(errors)}** | **{right}** ({right / len(errors):.0%}) |")
    left = [f"- {r['page']}: {r['why']}" for r in errors if not r["found"]]
    if left: out += ["", "Not found yet:", "", *left]
    return "\n".join(out)


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--pages", nargs="*", default=[""], help="parts of page names; all if not given")
    p.add_argument("--sample", type=int, help="only so many mutants, spread over the pages")
    p.add_argument("--more", action="store_true", help="those of mutants_more.yaml; no record")
    p.add_argument("--workers", type=int, default=2, help="pages at a time")
    p.add_argument("--write", action="store_true", help="the table, into CONTRIBUTING.md")
    args = p.parse_args()
    all_pages = read(MORE if args.more else DATA)
    told = {n: m for n, m in all_pages.items() if any(part in n for part in args.pages)}
    if not told:
        p.error(f"no page is named {' or '.join(args.pages)}; there are {', '.join(all_pages)}")
    if args.sample:
        flat = [(n, m) for n, own in told.items() for m in own if not m.get("no_error")]
        flat = flat[:: max(1, len(flat) // args.sample)][: args.sample]
        told = {n: [m for k, m in flat if k == n] for n, _ in flat}
    of, rows = modules(), []
    known = {} if not FOUND.is_file() else json.loads(FOUND.read_text(encoding="utf8"))
    with ThreadPoolExecutor(args.workers) as pool:
        for own in pool.map(lambda n: judge_page(n, told[n], of.get(n)), told):
            rows += own
            if args.sample or args.more: continue
            known[own[0]["page"]] = own
            known = {page: known[page] for page in read() if page in known}
            text = json.dumps(known, indent=1, ensure_ascii=False)
            FOUND.write_text(text + "\n", encoding="utf8")
    if args.write:
        doc = ROOT / "CONTRIBUTING.md"
        made = table([r for own in known.values() for r in own])
        text = between(doc.read_text(encoding="utf8"), "mutants", made)
        doc.write_text(text, encoding="utf8")
    print(table(rows))
    return int(any(not r["found"] and not r.get("no_error") for r in rows))


if __name__ == "__main__": sys.exit(main())
