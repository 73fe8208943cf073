"""Every call in package, scripts, tests and notebooks fits the function it names (mypy,
[call-arg]): long jobs and cells that no test runs would else break unseen."""
import ast
from pathlib import Path
import re
import subprocess
import sys

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import house  # noqa: E402

FOUND = re.compile(r"^(.+?):(\d+): error: .*\[call-arg\]$")
# of other packages nothing is read; of ours all, and what is said is said once, of the package
RULES = """[mypy]
follow_imports = skip
ignore_missing_imports = True
check_untyped_defs = True
[mypy-pact_nb.*]
follow_imports = silent
"""


def wrong_calls(*what: str, at: Path, tmp: Path) -> list[str]:
    """What mypy says of calls with other arguments than the function has. Of `f(*args)` it cannot
    count the arguments, so lines on which such a call stands are left out."""
    (tmp / "rules.ini").write_text(RULES)
    out = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(tmp / "rules.ini"),
         "--cache-dir", str(tmp / "cache"), *what],
        cwd=at, capture_output=True, text=True, env={"MYPYPATH": str(ROOT), "PATH": ""}
    )
    assert out.returncode in (0, 1), out.stderr or out.stdout
    hits = [(line, m) for line in out.stdout.splitlines() if (m := FOUND.match(line))]
    return [line for line, m in hits if not starred(at / m[1], int(m[2]))]


def starred(path: Path, line: int) -> bool:
    "Whether a call that spans `line` hands on a list or a dictionary of arguments."
    calls = (n for n in ast.walk(ast.parse(path.read_text(encoding="utf8")))
             if isinstance(n, ast.Call) and n.lineno <= line <= n.end_lineno)
    return any(isinstance(a, ast.Starred) or isinstance(a, ast.keyword) and a.arg is None
               for n in calls for a in (*n.args, *n.keywords))


def test_package(tmp_path: Path) -> None:
    assert wrong_calls("-p", "pact_nb", at=ROOT, tmp=tmp_path) == []


def test_scripts_and_tests(tmp_path: Path) -> None:
    files = [str(p.relative_to(ROOT)) for d in ("scripts", "tests") for p in ROOT.glob(f"{d}/*.py")]
    assert wrong_calls(*sorted(files), at=ROOT, tmp=tmp_path) == []


def test_notebooks(tmp_path: Path) -> None:
    for page in house.read():
        name, code = re.sub(r"\W", "_", page.name), "".join(map(house.plain, page.cells))
        (tmp_path / f"page_{name}.py").write_text(code, encoding="utf8")
    pages = sorted(p.name for p in tmp_path.glob("page_*.py"))
    assert len(pages) > 90 and wrong_calls(*pages, at=tmp_path, tmp=tmp_path) == []


def test_a_wrong_call_is_found(tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(
        "from pact_nb.core import n_steps\ndef measure(what, *, rounds=1): return what\n\n\n"
        "def main(a):\n    measure(a, 3)\n    n_steps(2, 3)\n    print(*a)\n    n_steps(*a)\n"
    )
    assert len(wrong_calls("job.py", at=tmp_path, tmp=tmp_path)) == 2
