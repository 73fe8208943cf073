"""The studies of the book, from a clean clone of one commit: python scripts/studies.py [PAGE …]

Without pages, all of them. Runs lie in the clone, so that the next study finds those it shares, and
the same command goes on where it was stopped. Results are written to results/ here.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = "nbs/6_experiments"
PAGES = (
    "12_ablations", "06_alpha", "07_weight_quantizers", "08_one_bit_training", "11_figure_runs",
    "05_mixed_bits", "09_post_training", "15_finetune", "16_integer_agreement",
    "24_digits"
)


def result_of(page: Path) -> str:
    "Name of the file that a page writes, from its parameters."
    import papermill
    return Path(papermill.inspect_notebook(str(page))["out"]["default"].strip("\"'")).name


def carry_out(name: str, clone: Path, workers: int) -> int:
    "Run one page in the clone; papermill's exit code."
    page, made = clone / FOLDER / f"{name}.ipynb", clone / "runs" / f"{name}.ipynb"
    made.parent.mkdir(exist_ok=True)
    words = [sys.executable, "-m", "papermill", str(page), str(made), "--cwd", str(page.parent)]
    words += ["--no-progress-bar", "--log-output", "-p", "workers", str(workers)]
    words += ["-p", "out", str(ROOT / "results" / result_of(page))]
    return subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(clone), "OMP_NUM_THREADS": "1"}
    ).returncode


def main() -> int:
    from pact_nb.queue import clone_at, default_home
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("pages", nargs="*", metavar="PAGE", help=", ".join(PAGES))
    p.add_argument("--workers", type=int, default=2, help="runs at a time")
    p.add_argument("--commit", default="HEAD", help="the code to run")
    args = p.parse_args()
    if odd := set(args.pages) - set(PAGES):
        p.error(f"no study {min(odd)}; there are {', '.join(PAGES)}")
    git = ("git", "-C", str(ROOT), "rev-parse", "--verify", args.commit)
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    clone = clone_at(ROOT, commit, default_home())
    failed = [name for name in args.pages or PAGES if carry_out(name, clone, args.workers)]
    if failed: print("not finished:", ", ".join(failed))
    return bool(failed)


if __name__ == "__main__": sys.exit(main())
