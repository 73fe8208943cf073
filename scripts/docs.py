"""The documentation site from notebooks and docstrings: python scripts/docs.py [--out FOLDER] |
--check SITE"""
import argparse
import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
from docs_links import check  # noqa: E402

# reading order comes from the table in nbs/index.ipynb; a section starts with the page named here
SECTIONS = {
    "00_core": "Quantizers", "05a_levels": "Networks", "07_data": "Data and recipes",
    "08b_parallel": "Training", "10_evaluation": "Evaluation and runs",
    "12_integer": "Integers, files, cost", "20_documents": "Experiments", "train": "Jobs"
}
# in the repository → on the site
PAGES = {
    "README.md": "index.ipynb", "data/README.md": "data.md", "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md"
}
FLAGS = ("export", "slow", "cuda", "data")  # directives that a reader sees as a label


def reading_order() -> list[str]:
    """Names of the notebooks in the order of the table on the front page; exits unless each
    stands there exactly once."""
    text = "\n".join(
        c.source
        for c in nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4).cells
        if c.cell_type == "markdown"
    )
    rows = [r.split("|")[1] for r in text.splitlines() if r.startswith("| [")]
    names = [n for r in rows for n in re.findall(r"\]\((\w+)\.ipynb\)", r)]
    there = {p.stem for p in (ROOT / "nbs").glob("*.ipynb") if not p.name.startswith("_")} - {
        "index"
    }
    wrong = there ^ set(names) | {n for n in names if names.count(n) > 1}
    if wrong:
        sys.exit(
            "the table in nbs/index.ipynb must name every notebook exactly once; look at"
            f" {', '.join(sorted(wrong))}"
        )
    return names


def title(name: str) -> str:
    "First heading of a notebook, after its number."
    first = nbformat.read(ROOT / "nbs" / f"{name}.ipynb", as_version=4).cells[0].source
    head = re.match(r"# (.+)", first)
    if not head: sys.exit(f"nbs/{name}.ipynb must start with a title, `# …`; found {first[:40]!r}")
    number = re.match(r"\d+\w?_", name)
    return f"{number[0][:-1]} {head[1]}" if number else head[1]


def navigation(modules: list[str], names: list[str]) -> list:
    "Front page, sections in reading order, reference, project."
    nav = [{"Front page": "index.ipynb"}]
    for name in names:
        if name in SECTIONS: nav.append({SECTIONS[name]: []})
        next(iter(nav[-1].values())).append({title(name): f"{name}.ipynb"})
    project = [
        {p.split("/")[0].removesuffix(".md").capitalize(): q}
        for p, q in PAGES.items()
        if q.endswith(".md") and (ROOT / p).exists()
    ]
    return [
        *nav, {"Reference": ["api/index.md", *(f"api/{m}.md" for m in modules)]},
        {"Project": project}
    ]


def destination(link: str, folder: str, out: Path) -> str:
    """Where a relative link of a file in the repository's `folder` leads on the site; what is
    not a page is copied there."""
    path, _, anchor = link.partition("#")
    if not path or re.match(r"[a-z]+:", link): return link
    path = os.path.normpath(os.path.join(folder, path))
    if path.startswith("nbs" + os.sep) or path in PAGES:
        return PAGES.get(path, path[4:]) + (anchor and "#" + anchor)
    if (ROOT / path).is_file(): copy(ROOT / path, out / "files" / path)
    return f"files/{path}"


def copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)


def relinked(text: str, folder: str, out: Path) -> str:
    "Markdown with its links leading to the site's pages."
    return re.sub(r"(?<=\]\()([^)\s]+)(?=\))", lambda m: destination(m[1], folder, out), text)


def shown(cell, out: Path):
    "A cell as a reader sees it; None where it is hidden or holds directives alone."
    lines = cell.source.split("\n")
    if cell.cell_type == "markdown":
        return {**cell, "source": as_html(relinked(cell.source, "nbs", out))}
    marks = {m[1]: m[2].strip() for l in lines if (m := re.match(r"#\| *(\w+):?(.*)", l))}
    source = "\n".join(l for l in lines if not l.startswith("#|")).strip("\n")
    if "hide" in marks or not source: return None
    tags = [
        *cell.metadata.get("tags", []), *(f for f in FLAGS if f in marks),
        *(["hide-input"] if marks.get("echo") == "false" else [])
    ]
    return {
        **cell, "source": source, "metadata": {"tags": tags},
        "outputs": [shown_output(o, out) for o in cell.outputs]
    }


def as_html(text: str) -> str:
    return re.sub(r"(?<=\]\()(?!\w+:)([\w./-]+)\.(?:ipynb|md)\b", r"\1.html", text)


def shown_output(output, out: Path):
    "An output whose Markdown leads to the site's pages."
    data = output.get("data", {})
    if "text/markdown" in data:
        data["text/markdown"] = as_html(relinked(data["text/markdown"], "nbs", out))
    return output


def describe(cells: list, page: str) -> None:
    "Give each picture an alternative text: the heading it stands under, and the page."
    heading = page
    for c in cells:
        if c["cell_type"] == "markdown":
            heading = (re.findall(r"^#+ (.+)", c["source"], re.M) or [heading])[-1]
        for o in c.get("outputs", []):
            if "image/png" in o.get("data", {}):
                o["metadata"] = {
                    "image/png": {
                        "alt": f"Figure: {heading} ({page})".replace("$", "").replace('"', "”")
                    }
                }


def write_notebook(name: str, out: Path) -> None:
    "nbs/NAME.ipynb without hidden cells and directives, its links and pictures ready for the web."
    nb = nbformat.read(ROOT / "nbs" / f"{name}.ipynb", as_version=4)
    nb.cells = [nbformat.from_dict(c) for c in (shown(c, out) for c in nb.cells) if c]
    # colours come later, in docs_pages; no widget state, which needs scripts from elsewhere
    nb.metadata = dict(kernelspec=dict(name="python3", display_name="python3", language="text"))
    describe(nb.cells, title(name))
    nbformat.write(nb, out / f"{name}.ipynb")


def math_font() -> Path:
    """STIX Two Math, whose braces grow with what they hold; it comes with a package of the
    build, so that readers need none."""
    spec = find_spec("ziamath")
    if not spec:
        sys.exit("ziamath is missing, whose font the formulas need: pip install -e '.[dev]'")
    return Path(spec.submodule_search_locations[0]) / "fonts" / "STIXTwoMath-Regular.ttf"


def write_sources(out: Path) -> list:
    "Fill `out` with everything mkdocs reads; return the navigation."
    from docs_api import write_api
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "nbs" / "images", out / "images")
    shutil.copyfile(ROOT / "docs" / "site.css", out / "site.css")
    shutil.copyfile(math_font(), out / "math.ttf")
    names = reading_order()
    for name in ("index", *names): write_notebook(name, out)
    for path, page in PAGES.items():
        if page.endswith(".md") and (ROOT / path).exists():
            (out / page).write_text(
                relinked((ROOT / path).read_text(encoding="utf8"), os.path.dirname(path), out),
                encoding="utf8"
            )
    return navigation(write_api(out / "api", names), names)


def build(out: Path) -> Path:
    "The site in `out`/site, from sources in `out`/docs; a warning of mkdocs ends it."
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config
    nav = write_sources(out / "docs")
    mkdocs_build(
        load_config(
            str(ROOT / "mkdocs.yml"), docs_dir=str(out / "docs"), site_dir=str(out / "site"),
            nav=nav
        )
    )
    return out / "site"


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", type=Path, default=ROOT / "build", help="folder for sources and site")
    p.add_argument(
        "--check", type=Path, metavar="SITE", help="only check the links of a built site"
    )
    a = p.parse_args()
    site = a.check or build(a.out.resolve())
    broken, counts = check(site)
    print(
        *broken,
        f"{site}: {counts['pages']} pages, {counts['inside']} links inside, {len(broken)} broken;"
        f" {counts['outside']} links outside not looked at",
        sep="\n",
    )
    if not a.check and not broken:
        print(
            f"read it: python -m http.server -b 127.0.0.1 -d {site} 8000, then"
            " http://127.0.0.1:8000"
        )
    return 1 if broken else 0


if __name__ == "__main__": sys.exit(main())
