"Hook of mkdocs: what mkdocs-jupyter makes of a notebook, in plain HTML, with formulas as MathML."
import html
import json
import re
from pathlib import Path

from bs4 import BeautifulSoup
from latex2mathml.converter import convert
from mkdocs.structure.toc import get_toc
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

LEXER = PythonLexer(stripnl=False)
CODE = re.compile(
    r'<div class="highlight-ipynb[^"]*">\s*<pre>(?:<span></span>)?(.*?)</pre>\s*</div>', re.S
)
# spans that the theme does not colour
PLAIN = re.compile(r'<span class="(?:n|w|p)">([^<]*)</span>')
UNUSED = re.compile(
    r"<(style|script)\b.*?</\1>|<div"
    r' class="zeroclipboard-container">.*?</clipboard-copy>\s*</div>|<div'
    r' class="clipboard-copy-txt" id="cell-\d+">.*?</div>',
    re.S,
)
# | and /, which TeX sets without space
TIGHT = re.compile(r'<mo(?: stretchy="false")?>(&#x0007C;|&#x0002F;)</mo>')
FORMULA = re.compile(r"\$\$(.+?)\$\$|\$([^$]+?)\$", re.S)


def mathml(found: re.Match) -> str:
    """A formula as MathML, which browsers draw without a script; its source as label for search
    and screen readers."""
    block = found[1] is not None
    source = (found[1] if block else found[2]).strip()
    out = TIGHT.sub(
        r'<mo stretchy="false" lspace="0" rspace="0">\1</mo>',
        convert(source, display="block" if block else "inline")
    )
    return f'<div class="formula">{out}</div>' if block else out


def formulas(soup: BeautifulSoup) -> None:
    "Draw every formula of the prose; code and outputs keep their dollar signs."
    for text in soup.find_all(string=re.compile(r"\$")):
        if text.find_parent(["pre", "code"]) or not text.find_parent(class_="jp-RenderedMarkdown"):
            continue
        pieces = BeautifulSoup(FORMULA.sub(mathml, escaped(str(text))), "html.parser")
        text.replace_with(*list(pieces.contents))


def escaped(text: str) -> str:
    "Text whose prose is HTML; a formula's own `&` and `<` are left to the converter."
    return "".join(
        p if p.startswith("$") else p.replace("&", "&amp;").replace("<", "&lt;")
        for p in re.split(r"(\$\$.+?\$\$|\$[^$]+?\$)", text, flags=re.S)
    )


def coloured(found: re.Match) -> str:
    """A block of code as the theme expects it, so that its colours and its copy button apply;
    names need no colour."""
    spans = PLAIN.sub(r"\1", highlight(html.unescape(found[1]), LEXER, HtmlFormatter(nowrap=True)))
    return f'<div class="highlight"><pre><code>{spans}</code></pre></div>'


def without_code(body: str) -> tuple[str, list[str]]:
    """The page with each block of code taken out, and the blocks: parsing them takes most of the
    time."""
    blocks = []
    take = lambda m: (
        blocks.append(coloured(m)), f'<code-block n="{len(blocks) - 1}"></code-block>'
    )[1]
    return re.sub(CODE, take, re.sub(UNUSED, "", body)), blocks


def plain_tables(soup: BeautifulSoup) -> None:
    "Tables without classes and borders of their own: the theme styles them and lets them scroll."
    for e in soup.select("table, tr"):
        for k in ("class", "border", "style"): e.attrs.pop(k, None)


def headings(soup: BeautifulSoup) -> list[dict]:
    "Give headings ids that differ; return them as the page's table of contents."
    seen, tokens, path = {}, [], []
    for h in soup.find_all(re.compile("^h[1-6]$")):
        n = seen[h.get("id", "")] = seen.get(h.get("id", ""), 0) + 1
        if n > 1: h["id"] = f"{h['id']}_{n - 1}"
        link = h.find(class_="anchor-link")
        if link: link["class"], link["href"] = "headerlink", f"#{h['id']}"
        name = "".join(str(c) for c in h.contents if c is not link)
        token = dict(level=int(h.name[1]), id=h.get("id", ""), name=name, children=[])
        while path and path[-1]["level"] >= token["level"]: path.pop()
        (path[-1]["children"] if path else tokens).append(token)
        path.append(token)
    return tokens


def name_pictures(soup: BeautifulSoup, notebook: Path) -> None:
    """Give each picture the description that stands in its output's metadata: nbconvert's template
    leaves it out."""
    cells = json.loads(notebook.read_text(encoding="utf8"))["cells"]
    outputs = [o for c in cells for o in c.get("outputs", []) if "image/png" in o.get("data", {})]
    for picture, o in zip(soup.select(".jp-RenderedImage img"), outputs, strict=True):
        picture["alt"] = o["metadata"].get("image/png", {}).get("alt", "")


def on_page_content(html: str, page, config, files) -> str:
    "mkdocs calls this with the body of each page."
    if not page.file.src_uri.endswith(".ipynb"): return html
    body, blocks = without_code(html)
    soup = BeautifulSoup(body, "html.parser")
    formulas(soup), plain_tables(soup), name_pictures(soup, Path(page.file.abs_src_path))
    page.toc = get_toc(headings(soup))
    return re.sub(r'<code-block n="(\d+)"></code-block>', lambda m: blocks[int(m[1])], str(soup))
