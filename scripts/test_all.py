"Everything `make test` checks, in order; stops at the first failure and says what to do."
import hashlib
import os
import subprocess
import sys
from pathlib import Path

from docs import notebooks

ROOT = Path(__file__).resolve().parent.parent
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def sh(*words: str) -> str:
    "Run a command at the root, show what it prints, return it; exit if it fails."
    print("$", " ".join(words), flush=True)
    p = subprocess.Popen(
        words, cwd=ROOT, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = []
    for line in p.stdout: lines.append(line); print(line, end="", flush=True)
    if p.wait(): sys.exit(f"failed: {' '.join(words)}")
    return "".join(lines)


def digest(pattern: str) -> dict[str, str]:
    return {
        str(p.relative_to(ROOT)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(ROOT.glob(pattern))
    }


def unchanged(pattern: str, command: str, remedy: str) -> None:
    "Run `command`; exit if it changes a file of `pattern`."
    before = digest(pattern)
    sh(command)
    after = digest(pattern)
    changed = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    if changed: sys.exit(f"{', '.join(changed)}: {remedy}")


def run_notebooks() -> None:
    "nbdev_test on every notebook; exit if one did not run."
    names = notebooks()
    out = sh("nbdev_test", "--n_workers", "2", "--do_print", "--timing")
    done = [line.strip() for line in out.splitlines() if "Completed" in line]
    ran = [n for n in names if any(line.endswith(f"/nbs/{n}.ipynb") for line in done)]
    if ran != names:
        sys.exit(f"notebooks that did not run: {', '.join(sorted(set(names) - set(ran)))}")
    print(f"{len(ran)} of {len(names)} notebooks ran")


def main() -> None:
    sh("ruff", "check", ".")
    unchanged(
        "pact_nb/**/*.py", "nbdev_export",
        "out of step with its notebook; it has been exported now, look at it and commit"
    )
    unchanged("nbs/**/*.ipynb", "nbdev_clean", "was not clean; it is now, look at it and commit")
    sh(sys.executable, "scripts/readme.py")
    run_notebooks()
    sh(sys.executable, "-m", "pytest", "-q", "-rs", "-n", "2", "--dist", "loadfile", "tests")


if __name__ == "__main__": main()
