"README.md from nbs/index.ipynb: `--write` makes it, without it the two are compared."
import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent


def render() -> str:
    """The front page as Markdown: prose, shown code, and Markdown outputs; links made to start
    at the root."""
    nb = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    # nbdev_clean removes it; it colours the code
    nb.metadata["language_info"] = dict(name="python")
    nb.cells = [c for c in nb.cells if not c.source.startswith("#| hide")]
    for c in nb.cells:
        if c.cell_type == "code" and c.source.startswith("#| echo: false"):
            c.metadata["tags"] = ["hide-input"]
    text, _ = MarkdownExporter(
        config={"TagRemovePreprocessor": {"enabled": True, "remove_input_tags": {"hide-input"}}}
    ).from_notebook_node(nb)
    text = re.sub(r"\]\((?!http|#|/)([\w./-]+\.(?:ipynb|png|md))\)", r"](nbs/\1)", text).replace(
        "](nbs/../", "]("
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def main() -> int:
    readme = ROOT / "README.md"
    if "--write" in sys.argv: readme.write_text(render(), encoding="utf8")
    same = readme.read_text(encoding="utf8") == render()
    print(
        "README.md and nbs/index.ipynb agree"
        if same
        else "README.md is out of step with nbs/index.ipynb: run `make readme`"
    )
    return 0 if same else 1


if __name__ == "__main__": sys.exit(main())
