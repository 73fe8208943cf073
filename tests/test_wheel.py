"""Wheel and source distribution: built from what git keeps, and the wheel tried alone, in an empty
folder and without the project on the path."""
import shutil
import site
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
import mutants  # noqa: E402


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    "A folder with the package as its wheel has it."
    tmp = tmp_path_factory.mktemp("wheel")
    copy, dist = tmp / "source", tmp / "dist"
    mutants.copy_project(copy)
    def do(*words):
        p = subprocess.run([sys.executable, *words], cwd=copy, capture_output=True, text=True)
        assert p.returncode == 0, p.stdout[-1000:] + p.stderr[-2000:]
    do("setup.py", "-q", "sdist", "-d", str(dist))
    source = next(dist.glob("*.tar.gz"))  # the wheel is made of the source distribution alone
    shutil.unpack_archive(source, tmp / "again")
    copy = next((tmp / "again").iterdir())
    pip = ("-m", "pip", "--quiet", "--no-input")
    do(*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(dist), ".")
    do(*pip, "install", "--no-deps", "--target", str(tmp / "site"), str(next(dist.glob("*.whl"))))
    return tmp / "site"


def alone(installed: Path, folder: Path, code: str) -> str:
    "Python with that package and what it needs; `-S`: the project's own installation is not seen."
    path = [str(installed), *site.getsitepackages()]
    p = subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {path}\n{code}"],
                       cwd=folder, capture_output=True, text=True)
    assert p.returncode == 0, p.stdout + p.stderr[-2000:]
    return p.stdout


def test_a_run(installed, tmp_path):
    said = alone(installed, tmp_path, """
import runpy, pact_nb
print(pact_nb.__file__)
sys.argv = ["runs", *"--epochs 1 --width 2 --train_images 200 --run_dir r".split()]
try: runpy.run_module("pact_nb.runs", run_name="__main__")
except SystemExit as e: assert not e.code
""")
    assert said.startswith(str(installed)) and (tmp_path / "r" / "summary.json").is_file()


def test_a_trained_network(installed, tmp_path):
    said = alone(installed, tmp_path, """
import torch
from pact_nb.zoo import load_pretrained, zoo
x = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
print(len(zoo()), tuple(load_pretrained("cifar10_resnet20_w2a2")(x).shape))
""")
    n, shape = said.split(" ", 1)
    assert int(n) >= 12 and shape.strip() == "(2, 10)"


def test_sources_travel(installed):
    names = {f.name for f in (installed / "pact_nb" / "csrc").iterdir()}
    assert {"fused.cpp", "codes.cpp", "bits.cpp", "absent_cuda.c"} <= names
