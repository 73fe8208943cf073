"The documentation site: built once, its links checked, and read in a browser."
import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import ROOT, browse, free_port, served

sys.path.insert(0, str(ROOT / "scripts"))
bs4 = pytest.importorskip("bs4")
pytest.importorskip("mkdocs_jupyter", reason="the site needs the packages of the extra `dev`")
import docs  # noqa: E402
import docs_links  # noqa: E402

NAMES = docs.notebooks()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    "The site, built; a broken link or a warning of mkdocs fails it."
    out = tmp_path_factory.mktemp("docs")
    p = subprocess.run(
        [sys.executable, "scripts/docs.py", "--out", str(out)], cwd=ROOT, capture_output=True,
        text=True, timeout=600
    )
    assert p.returncode == 0, p.stdout[-2000:] + p.stderr[-2000:]
    return out / "site"


@pytest.fixture(scope="module")
def url(site):
    port = free_port()
    with served(
        sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "-d", str(site),
        url=f"http://127.0.0.1:{port}/"
    ) as at:
        yield at


@pytest.fixture(scope="module")
def articles(site) -> dict:
    "The text part of each notebook's page, as a tree."
    return {
        n: (
            bs4.BeautifulSoup((site / f"{n}.html").read_text(encoding="utf8"), "html.parser").find(
                "article"
            )
        )
        for n in NAMES
    }


# what needs no site
def test_every_notebook_once():
    order = docs.reading_order()
    assert sorted(order) == sorted(set(NAMES) - {"index"})
    assert {n.rpartition("/")[0] for n in order} <= set(docs.PARTS)
    pages = re.findall(r"'([\w/]+)\.ipynb'", str(docs.navigation([], order)))
    assert pages == ["index", *order]


def test_unlisted_notebook(tmp_path, monkeypatch):
    "A notebook that the front page does not name ends the build; so does one named twice."
    (tmp_path / "nbs").mkdir()
    for row, names in (("| [a](a.ipynb) | |", "ab"), ("| [a](a.ipynb), [a](a.ipynb) | |", "a")):
        for n in names: (tmp_path / "nbs" / f"{n}.ipynb").write_text("{}")
        cell = dict(cell_type="markdown", id="x", metadata={}, source=row)
        (tmp_path / "nbs" / "index.ipynb").write_text(
            json.dumps(dict(cells=[cell], metadata={}, nbformat=4, nbformat_minor=5))
        )
        monkeypatch.setattr(docs, "ROOT", tmp_path)
        with pytest.raises(SystemExit, match="exactly once; look at "): docs.reading_order()
        (tmp_path / "nbs" / "b.ipynb").unlink(missing_ok=True)


def test_broken_links_noticed(tmp_path):
    with pytest.raises(ValueError, match="there is no page in it"): docs_links.check(tmp_path)
    (tmp_path / "good.html").write_text(
        '<h1 id="here">x</h1><a href="#here">a</a><a href="good.html#here">b</a><a'
        ' href="https://example.org/">c</a>'
    )
    assert docs_links.check(tmp_path) == ([], dict(pages=1, inside=2, outside=1))
    (tmp_path / "bad.html").write_text(
        '<a href="none.html">a</a><img src="none.png"><a href="good.html#gone">b</a><a'
        ' href="../x.html">c</a><script src="https://example.org/x.js"></script>'
    )
    said, _ = docs_links.check(tmp_path)
    assert said == [
        "bad.html: none.html leads nowhere", "bad.html: none.png leads nowhere",
        "bad.html: good.html#gone has no such anchor", "bad.html: ../x.html leads nowhere",
        "bad.html: https://example.org/x.js is loaded from elsewhere"
    ]


@pytest.mark.parametrize("name", [p.name for p in sorted(ROOT.glob("*.md"))])
def test_links_in_the_repository(name):
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / name).read_text(encoding="utf8"))
    gone = [
        x for x in links if not re.match(r"[a-z]+:|#", x) and not (ROOT / x.split("#")[0]).exists()
    ]
    assert not gone and not any(x.startswith("..") for x in links), gone


def test_pictures_in_prose_have_alternative_text():
    for name in NAMES:
        prose = "\n".join(
            "".join(c["source"])
            for c in json.loads((ROOT / "nbs" / f"{name}.ipynb").read_text(encoding="utf8"))[
                "cells"
            ]
            if c["cell_type"] == "markdown"
        )
        assert not re.findall(r"!\[\s*\]|<img(?![^>]*alt=)", prose), name


# the site, as files
def test_reader_sees_no_set_up(articles):
    said = articles["1_method/02_pact"].get_text()
    assert "AlphaError" in said and "set_theme" not in said
    for name, page in articles.items(): assert "#|" not in page.get_text(), name


def test_formulas_and_pictures(articles):
    "No formula is left as source, no picture without a description."
    assert len(articles["1_method/02_pact"].find_all("math")) > 50
    for name, page in articles.items():
        assert not [
            s for s in page.find_all(string=re.compile(r"\$")) if not s.find_parent(["pre", "code"])
        ], name
        said = [i.get("alt", "") for i in page.find_all("img")]
        assert all(len(s) > 20 and "No description" not in s for s in said), (name, said)


def test_every_public_name(site):
    for file in sorted((ROOT / "pact_nb").glob("[!_]*.py")):
        public = next(
            ast.literal_eval(n.value)
            for n in ast.parse(file.read_text(encoding="utf8")).body
            if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"
        )
        ids = docs_links.Page((site / "api" / f"{file.stem}.html").read_text(encoding="utf8")).ids
        assert set(public) <= ids, (file.stem, set(public) - ids)
    said = {m: (site / "api" / f"{m}.html").read_text(encoding="utf8")
            for m in ("clipping", "pact", "recipe_fields", "recipes")}
    assert "passes over the training part" in said["recipe_fields"]
    assert "clip level α &gt; 0, shape" in said["clipping"]
    assert "α is not a single finite number above 0." in said["clipping"]
    faces = (("pact", "PACT", "clipping"), ("recipes", "Recipe", "recipe_fields"))
    for module, name, home in faces:
        assert f'href="{home}.html#{name}"' in said[module]


def test_old_addresses(site):
    "Each address that a page had before leads to where it is now."
    moved = json.loads((ROOT / "docs" / "moved.json").read_text(encoding="utf8"))
    assert len(moved) == 147
    for old, new in moved.items():
        stub = bs4.BeautifulSoup((site / f"{old}.html").read_text(encoding="utf8"), "html.parser")
        leads = (site / old).parent / stub.find("a")["href"]
        assert leads.resolve() == (site / f"{new}.html").resolve() and leads.is_file(), old


# the site, in a browser
@pytest.mark.parametrize("word", ("alpha", "clip", "pact", "quantize", "sigterm", "recipe"))
def test_search(url, word):
    with browse() as page:
        page.goto(url)
        page.locator("input[name=query]").click()
        page.keyboard.type(word)
        found = page.locator(".md-search-result__item a").first
        found.wait_for(timeout=30_000)
        assert int(re.search(r"\d+", page.locator(".md-search-result__meta").inner_text())[0]) > 3
        found.click()
        page.wait_for_load_state()
        assert ".html" in page.url and word in page.locator("article").inner_text().lower()
        assert page.complaints == page.outside == []


def test_formula_is_drawn(url):
    "Eq. 1's brace is as tall as its three cases, in the font the site brings."
    with browse() as page:
        page.goto(f"{url}1_method/02_pact.html")
        page.evaluate("document.fonts.ready")
        brace, cases = (
            page.locator(f".formula {e}").first.bounding_box()
            for e in ("mo:has(+ mtable)", "mtable")
        )
        assert brace["height"] > 0.8 * cases["height"] > 30
        assert page.complaints == page.outside == []


def test_dark(url):
    with browse(color_scheme="light") as page:
        page.goto(f"{url}1_method/02_pact.html")
        shade = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")
        light = shade()
        page.locator("label.md-header__button[title=Dark]").click()
        page.wait_for_function(f"getComputedStyle(document.body).backgroundColor != '{light}'")
        dark = shade()
        page.goto(f"{url}1_method/04_error.html")
        assert shade() == dark and page.complaints == []
    with browse(color_scheme="dark") as page:
        page.goto(url)
        assert shade() == dark


def test_nothing_overflows(url, site):
    """No notebook and no long page is wider than its window, on a desk or in a hand. Without
    search, whose index each page would build anew."""
    with browse() as page:
        page.route("**/search*", lambda r: r.abort())
        # the others have the same form
        longest = sorted((site / "api").glob("*.html"), key=lambda f: f.stat().st_size)[-5:]
        pages = [site / f"{n}.html" for n in NAMES]
        for file in [*pages, *longest]:
            page.goto(url + file.relative_to(site).as_posix())
            # the search field grows slowly
            page.add_style_tag(content="* { transition: none !important }")
            for width in (1280, 400):
                page.set_viewport_size(dict(width=width, height=900))
                assert page.evaluate("document.documentElement.scrollWidth") <= width, (
                    file.name, width
                )
        assert page.outside == []


def slide(page, figure: str, **settings) -> dict:
    "What a figure shows after its sliders were moved."
    box = page.locator(f".sliders[data-figure={figure}]")
    for name, value in settings.items():
        box.locator(f"[name={name}]").evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', { bubbles: true })) }",
            str(value))
    return json.loads(box.get_attribute("data-shown"))


X = [-1.0, -1e-9, 0.0, 0.3, 0.5, 1.0, 1.25, 1.5, 2.0, 2.499, 2.5, 2.501, 3.0, 7.0]


@pytest.mark.parametrize("k, alpha", [(1, 2.5), (2, 3), (2, 0.1), (3, 2.5), (5, 1.05), (8, 6)])
def test_sliders(url, k, alpha):
    "What a reader's browser draws from sliders is what the package computes, ties included."
    import torch
    from pact_nb.core import unsigned_grid
    from pact_nb.error import errors
    from pact_nb.pact import pact
    x, a = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (X, float(alpha)))
    with browse() as page:
        page.goto(f"{url}1_method/02_pact.html")
        shown = slide(page, "transfer", bits=k, alpha=alpha)
        levels = unsigned_grid(k, torch.tensor(alpha, dtype=torch.float64))
        assert shown["levels"] == len(levels)
        assert shown["step"] == pytest.approx(levels[1].item(), rel=1e-12)
        drawn = page.evaluate("([x, a, k]) => x.map(v => pactFigures.pact(v, a, k))", [X, alpha, k])
        assert drawn == pytest.approx(pact(x, a, k).tolist(), rel=1e-12, abs=1e-12)
        by_input, by_alpha = torch.autograd.grad(pact(x, a, k).sum(), (x, a))
        slopes = page.evaluate("([x, a]) => [x.map(v => pactFigures.slopeInput(v, a)),"
                               " x.map(v => pactFigures.slopeAlpha(v, a))]", [X, alpha])
        assert slopes[0] == by_input.tolist() and sum(slopes[1]) == by_alpha.item()
        page.goto(f"{url}1_method/04_error.html")
        for name, values in docs.quantiles().items():
            shown = slide(page, "error", bits=k, alpha=alpha, values=name)
            v = torch.tensor(values, dtype=torch.float64)
            clipping, rounding = errors(v, alpha, k)
            assert shown["clipping"] == pytest.approx(clipping.item(), rel=1e-9, abs=1e-15)
            assert shown["rounding"] == pytest.approx(rounding.item(), rel=1e-9, abs=1e-15)
            mean_square = (pact(v, a, k) - v.relu()).square().mean()
            pull = torch.autograd.grad(mean_square, a)[0].item()
            assert shown["slope"] == pytest.approx(pull, rel=1e-9, abs=1e-15)
        assert page.complaints == page.outside == []


PAGES = [
    "index", "1_method/02_pact", "4_training/07_image_batches", "6_experiments/23_explore",
    "6_experiments/13_failures", "train", "api/pact",
]


@pytest.mark.parametrize("name", PAGES)
def test_nothing_complains(url, name):
    """With scripts, no page complains or loads anything from elsewhere, and none is wider than a
    hand."""
    with browse() as page:
        page.set_viewport_size(dict(width=400, height=900))
        page.goto(f"{url}{name}.html")
        # the search field grows slowly
        page.add_style_tag(content="* { transition: none !important }")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        assert page.complaints == page.outside == []
