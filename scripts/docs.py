"""The documentation site from notebooks and docstrings: python scripts/docs.py [--out FOLDER] |
--check SITE"""
import argparse
import json
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

# reading order comes from the tables in nbs/index.ipynb; a folder of nbs is a section
PARTS = {
    "1_method": "1 Method", "2_networks": "2 Networks", "3_speed": "3 Speed",
    "4_training": "4 Training", "5_deploy": "5 Deployment", "6_experiments": "6 Experiments",
    "lab": "Lab", "": "Jobs", "reference": "Reference"
}
# in the repository → on the site
PAGES = {
    "README.md": "index.ipynb", "data/README.md": "data.md", "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md"
}
FLAGS = ("export", "slow", "cuda", "data")  # directives that a reader sees as a label


def notebooks() -> list[str]:
    "Every notebook below nbs, as part/name, sorted."
    at = ROOT / "nbs"
    paths = [p.relative_to(at).with_suffix("") for p in at.rglob("*.ipynb")]
    return sorted(p.as_posix() for p in paths if not any(x[0] in "._" for x in p.parts))


def reading_order() -> list[str]:
    """Names of the notebooks in the order of the table on the front page; exits unless each
    stands there exactly once."""
    text = "\n".join(
        c.source
        for c in nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4).cells
        if c.cell_type == "markdown"
    )
    rows = [r.split("|")[1] for r in text.splitlines() if re.match(r"\| (\d+\. )?\[", r)]
    names = [n for r in rows for n in re.findall(r"\]\(([\w/]+)\.ipynb\)", r)]
    there = set(notebooks()) - {"index"}
    wrong = there ^ set(names) | {n for n in names if names.count(n) > 1}
    if wrong:
        sys.exit(
            "the tables in nbs/index.ipynb must name every notebook exactly once; look at"
            f" {', '.join(sorted(wrong))}"
        )
    return names


def title(name: str) -> str:
    "First heading of a notebook, after its number."
    first = nbformat.read(ROOT / "nbs" / f"{name}.ipynb", as_version=4).cells[0].source
    head = re.match(r"# (.+)", first)
    if not head: sys.exit(f"nbs/{name}.ipynb must start with a title, `# …`; found {first[:40]!r}")
    number = re.search(r"/0?(\d+)_", name)
    return f"{number[1]} {head[1]}" if number else head[1]


def navigation(modules: list[str], names: list[str]) -> list:
    "Front page, parts in reading order, reference, project."
    nav, parts = [{"Front page": "index.ipynb"}], {}
    for name in names:
        parts.setdefault(PARTS[os.path.dirname(name)], []).append({title(name): f"{name}.ipynb"})
    reference = [
        *parts.pop(PARTS["reference"], []), {"Package": "api/index.md"},
        *(f"api/{m}.md" for m in modules)
    ]
    nav += [{part: pages} for part, pages in parts.items()]
    project = [
        {p.split("/")[0].removesuffix(".md").capitalize(): q}
        for p, q in PAGES.items()
        if q.endswith(".md") and (ROOT / p).exists()
    ]
    return [
        *nav, {"Reference": reference}, {"Project": project}
    ]


def destination(link: str, folder: str, out: Path) -> str:
    """Where a relative link of a file in the repository's `folder` leads on the site; what is
    not a page is copied there."""
    path, _, anchor = link.partition("#")
    if not path or re.match(r"[a-z]+:", link): return link
    path = os.path.normpath(os.path.join(folder, path))
    # the site's root holds what is in nbs, and the pages about the project
    at = os.path.relpath(folder, "nbs") if folder.split("/")[0] == "nbs" else "."
    if path.startswith("nbs" + os.sep) or path in PAGES:
        return os.path.relpath(PAGES.get(path, path[4:]), at) + (anchor and "#" + anchor)
    if (ROOT / path).is_file(): copy(ROOT / path, out / "files" / path)
    return os.path.relpath(f"files/{path}", at)


def copy(source: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, to)


def relinked(text: str, folder: str, out: Path) -> str:
    "Markdown with its links leading to the site's pages."
    return re.sub(r"(?<=\]\()([^)\s]+)(?=\))", lambda m: destination(m[1], folder, out), text)


def shown(cell, folder: str, out: Path):
    """A cell of a notebook in `folder` as a reader sees it; None where it is hidden or holds
    directives alone."""
    lines = cell.source.split("\n")
    if cell.cell_type == "markdown":
        return {**cell, "source": as_html(relinked(cell.source, folder, out))}
    marks = directives(lines)
    source = "\n".join(l for l in lines if not l.startswith("#|")).strip("\n")
    if "hide" in marks or not source: return None
    tags = [
        *cell.metadata.get("tags", []), *(f for f in FLAGS if f in marks),
        *(["hide-input"] if marks.get("echo") == "false" else [])
    ]
    outputs = [shown_output(o, folder, out) for o in cell.outputs]
    if "fig-alt" in marks: name_pictures(outputs, marks["fig-alt"])
    if "sliders" in marks: outputs.append(sliders(marks["sliders"]))
    return {**cell, "source": source, "metadata": {"tags": tags}, "outputs": outputs}


def directives(lines: list[str]) -> dict[str, str]:
    """What a cell's lines `#| key: value` say; a value goes on in lines that begin with `#|` and
    two spaces or more."""
    marks, key = {}, None
    for line in lines:
        if key and (more := re.match(r"#\|\s{2,}(\S.*)", line)): marks[key] += " " + more[1].strip()
        elif m := re.match(r"#\| *([\w-]+):?(.*)", line): key, marks[m[1]] = m[1], m[2].strip()
    return marks


def name_pictures(outputs: list, text: str) -> None:
    "Give the pictures of a cell their alternative text, where docs_pages looks for it."
    for o in outputs:
        if "image/png" in o.get("data", {}):
            o["metadata"] = {"image/png": {"alt": text.replace("$", "").replace('"', "”")}}


def as_html(text: str) -> str:
    return re.sub(r"(?<=\]\()(?!\w+:)([\w./-]+)\.(?:ipynb|md)\b", r"\1.html", text)


def shown_output(output, folder: str, out: Path):
    "An output whose Markdown leads to the site's pages."
    data = output.get("data", {})
    if "text/markdown" in data:
        data["text/markdown"] = as_html(relinked(data["text/markdown"], folder, out))
    return output


def quantiles(n: int = 400) -> dict[str, list[float]]:
    "Values that stand for three densities of variance 1: their quantiles at (i + ½)/n."
    import torch
    from torch.distributions import Laplace, Normal, Uniform
    at = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    kinds = dict(normal=Normal(0.0, 1.0), Laplace=Laplace(0.0, 0.5**0.5),
                 uniform=Uniform(-(3**0.5), 3**0.5))
    return {k: [round(v, 6) for v in d.icdf(at).tolist()] for k, d in kinds.items()}


def sliders(figure: str):
    "The place of a figure of docs/sliders.js, with what it draws."
    if figure not in ("transfer", "error"):
        sys.exit(f"sliders: transfer or error, the figures of docs/sliders.js; got {figure!r}")
    values = json.dumps(quantiles() if figure == "error" else {})
    box = "<p>The same formulas, computed in your browser while you move the sliders:</p>" \
          f'<div class="sliders" data-figure="{figure}" data-values=\'{values}\'></div>'
    return nbformat.v4.new_output("display_data", {"text/html": box})


def write_notebook(name: str, out: Path) -> None:
    "nbs/NAME.ipynb without hidden cells and directives, its links and pictures ready for the web."
    nb = nbformat.read(ROOT / "nbs" / f"{name}.ipynb", as_version=4)
    folder = os.path.dirname(f"nbs/{name}")
    nb.cells = [nbformat.from_dict(c) for c in (shown(c, folder, out) for c in nb.cells) if c]
    # colours come later, in docs_pages; no widget state, which needs scripts from elsewhere
    nb.metadata = dict(kernelspec=dict(name="python3", display_name="python3", language="text"))
    (out / name).parent.mkdir(parents=True, exist_ok=True)
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
    for file in ("site.css", "sliders.js"): shutil.copyfile(ROOT / "docs" / file, out / file)
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
    write_stubs(out / "site")
    return out / "site"


def write_stubs(site: Path) -> None:
    "At each address that a page had before, a page that leads to where it is now."
    for old, new in json.loads((ROOT / "docs" / "moved.json").read_text(encoding="utf8")).items():
        at = os.path.relpath(f"{new}.html", os.path.dirname(old) or ".")
        (site / old).parent.mkdir(parents=True, exist_ok=True)
        (site / f"{old}.html").write_text(
            f'<!doctype html><meta charset="utf-8"><title>{title(new)}</title>'
            f'<meta http-equiv="refresh" content="0; url={at}">'
            f'<p>This page is now <a href="{at}">{title(new)}</a>.</p>\n',
            encoding="utf8"
        )


def main() -> int:
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", type=Path, default=ROOT / "build", help="folder for sources and site")
    p.add_argument(
        "--check", type=Path, metavar="SITE", help="only check the links of a built site"
    )
    a = p.parse_args()
    site = a.check or build(a.out.resolve())
    try: broken, counts = check(site)
    except ValueError as e: p.error(str(e))
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
