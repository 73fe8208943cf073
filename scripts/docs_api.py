"Reference pages from docstrings and the comments of parameters: one page a module."
import ast
import dataclasses
import functools
import html
import importlib
import inspect
import re
from pathlib import Path

from fastcore.docments import docments

ROOT = Path(__file__).resolve().parent.parent
EMPTY = inspect.Parameter.empty


def prose(text: str) -> str:
    "A comment or docstring as Markdown: code in backticks stays, all else is literal."
    parts = re.split(r"(`[^`]*`)", " ".join((text or "").split()))
    return "".join(
        (
            p
            if p.startswith("`")
            else re.sub(r"[*_|\[\]]", lambda m: f"&#{ord(m[0])};", html.escape(p, quote=False))
        )
        for p in parts
    )


def type_name(anno) -> str:
    "An annotation without the modules its names come from."
    if anno in (EMPTY, None): return ""
    return re.sub(
        r"\b(?:\w+\.)+(?=\w)", "", anno if isinstance(anno, str) else inspect.formatannotation(anno)
    )


def default_text(value) -> str:
    return "" if value is EMPTY else getattr(value, "__name__", None) or repr(value)


def code(text: str) -> str: return f"`{text}`" if text else ""


def parameter(p: inspect.Parameter) -> str:
    "A parameter as it is written in a signature."
    stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    kind, default = type_name(p.annotation), default_text(p.default)
    return (
        stars
        + p.name
        + (f": {kind}" if kind else "")
        + (f"{' = ' if kind else '='}{default}" if default else "")
    )


def signature(name: str, obj) -> str:
    "`name(a, b: int = 1) -> T`, a parameter a line where one line is too long."
    try: sig = inspect.signature(obj)
    except (TypeError, ValueError): return name
    words = [parameter(p) for p in sig.parameters.values() if p.name not in ("self", "cls")]
    back = (
        f" -> {type_name(sig.return_annotation)}"
        if type_name(sig.return_annotation) and not inspect.isclass(obj)
        else ""
    )
    one = f"{name}({', '.join(words)}){back}"
    return one if len(one) <= 88 else f"{name}(\n    " + ",\n    ".join(words) + f",\n){back}"


def field_help(obj) -> dict[str, str]:
    "What the fields of a dataclass say of themselves."
    return (
        {f.name: f.metadata.get("doc", "") for f in dataclasses.fields(obj)}
        if dataclasses.is_dataclass(obj)
        else {}
    )


def parameters(obj) -> str:
    "Table of parameters and result; empty where nothing is said of any."
    try: found = docments(obj, full=True, returns=True)
    except (TypeError, ValueError, OSError): return ""
    helps = field_help(obj)
    rows = [
        (k, type_name(v.anno), default_text(v.default), v.docment or helps.get(k, ""))
        for k, v in found.items()
        if k not in ("self", "cls")
    ]
    if not any(said for *_, said in rows): return ""
    rows = [r for r in rows if r[0] != "return" or r[3] or not inspect.isclass(obj) and r[1]]
    lines = [
        f"| {'*returns*' if k == 'return' else code(k)} | {code(t)} | {code(d)} | {prose(m)} |"
        for k, t, d, m in rows
    ]
    return "| parameter | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(lines) + "\n"


def callable_entry(name: str, obj, level: int) -> str:
    "Heading, signature, docstring and parameters of a function, method or class."
    last = name.split(".")[-1]
    return (
        f"{'#' * level} {last if level == 2 else name} {{ #{name} }}\n\n"
        f"```python\n{signature(last, obj)}\n```\n\n"
        f"{prose(obj.__doc__)}\n\n{parameters(obj)}\n"
    )


def methods(name: str, cls: type) -> str:
    "The described public methods that a class defines itself."
    own = {k: getattr(v, "__func__", v) for k, v in vars(cls).items() if not k.startswith("_")}
    return "".join(
        callable_entry(f"{name}.{k}", f, 3)
        for k, f in own.items()
        if inspect.isfunction(f) and f.__doc__
    )


def constant_entry(name: str, value, source: str) -> str:
    "Heading, value if it is short, and the comment behind it."
    said = re.search(rf"^{name}\b[^\n]*?  # (.+)$", source, re.M)
    text = repr(value)
    shown = (
        f"{name} = {text}"
        if len(text) <= 400
        else f"{name}  # {type(value).__name__} of {len(value)}"
    )
    return (
        f"## {name} {{ #{name}"
        f" }}\n\n```python\n{shown}\n```\n\n{prose(said[1]) if said else ''}\n\n"
    )


def entry(name: str, obj, source: str) -> str:
    if inspect.isclass(obj): return callable_entry(name, obj, 2) + methods(name, obj)
    return (
        callable_entry(name, obj, 2)
        if inspect.isroutine(obj) or hasattr(obj, "__wrapped__")
        else constant_entry(name, obj, source)
    )


def page_words(notebook: str) -> str:
    "The name of a page as prose has it: without part and number."
    return re.sub(r"^\d+_", "", notebook.split("/")[-1]).replace("_", " ")


def handed_on(source: str) -> list[tuple[str, str]]:
    """(name, module it is from) of what a module imports for its users' sake: public names of
    modules from which it imports something that it does not use itself."""
    lines = source.splitlines()
    froms = [n for n in ast.parse(source).body if isinstance(n, ast.ImportFrom)]
    home = lambda n: (n.module or "").removeprefix("pact_nb.")
    faced = {home(n) for n in froms if "noqa: F401" in lines[n.lineno - 1]}
    found = {(a.name, home(n)) for n in froms if home(n) in faced for a in n.names}
    return sorted((name, made_in(name, m)) for name, m in found if not name.startswith("_"))


@functools.cache
def imported(module: str) -> dict[str, str]:
    "Name → the module of the package that a module has it from."
    file = ROOT / "pact_nb" / f"{module}.py"
    body = ast.parse(file.read_text(encoding="utf8")).body if file.is_file() else []
    froms = [n for n in body if isinstance(n, ast.ImportFrom)]
    ours = [n for n in froms if n.level or (n.module or "").startswith("pact_nb")]
    return {a.name: (n.module or "").removeprefix("pact_nb.") for n in ours for a in n.names}


def made_in(name: str, module: str) -> str:
    "The module that makes a name which `module` gives: itself, or the one it has it from."
    source = imported(module).get(name)
    return made_in(name, source) if source else module


def module_page(module, source: str, notebook: str) -> str:
    "The reference page of one module."
    head = (
        f"# {module.__name__}\n\n> {prose(module.__doc__)}\n\nDerived and tested in"
        f" [{page_words(notebook)}](../{notebook}.ipynb).\n\n"
    )
    if also := [f"[`{n}`]({m}.md#{n})" for n, m in handed_on(source)]:
        head += f"Importable from here too: {', '.join(also)}.\n\n"
    return head + "\n".join(entry(n, getattr(module, n), source) for n in module.__all__)


def sources(order: list[str]) -> dict[str, tuple[str, str]]:
    "Module → (its text, the notebook it is exported from), in reading order."
    texts = {
        p.stem: p.read_text(encoding="utf8")
        for p in (ROOT / "pact_nb").glob("*.py")
        if not p.name.startswith("_")
    }
    edited = re.compile(r"File to edit: \.\./nbs/([\w/]+)\.ipynb")
    books = {m: edited.search(t)[1] for m, t in texts.items()}
    return {m: (texts[m], books[m]) for m in sorted(texts, key=lambda m: order.index(books[m]))}


def write_api(folder: Path, order: list[str]) -> list[str]:
    """Write a page for each module of the package, and their list; return the modules in reading
    order."""
    folder.mkdir(parents=True)
    rows = []
    for name, (text, notebook) in sources(order).items():
        module = importlib.import_module(f"pact_nb.{name}")
        (folder / f"{name}.md").write_text(module_page(module, text, notebook), encoding="utf8")
        rows.append((
            name,
            (
                f"| [{name}]({name}.md) | {prose(module.__doc__)} |"
                f" [{page_words(notebook)}](../{notebook}.ipynb) |"
            ),
        ))
    head = (
        "# Reference\n\nEvery public name of the package, from its docstring and the comments"
        " behind its parameters.\n\n| module | what it holds | derived in |\n|---|---|---|\n"
    )
    (folder / "index.md").write_text(head + "\n".join(r for _, r in rows) + "\n", encoding="utf8")
    return [n for n, _ in rows]
