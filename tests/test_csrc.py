"The C++ operators compile alone, with their own small test, and are laid out as clang-format does."
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pact_nb.fused import compiler_command, load_fused

CSRC = Path(__file__).resolve().parent.parent / "pact_nb" / "csrc"


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    "The test program, compiled once."
    if why := load_fused(): pytest.skip(why)
    out = tmp_path_factory.mktemp("csrc") / "test_operators"
    command = compiler_command(CSRC / "test_operators.cpp", out)
    command[command.index("-O3")] = "-O1"
    command.remove("-shared")
    lib = Path(torch.__file__).parent / "lib"
    more = [CSRC / "fused.cpp", CSRC / "codes.cpp", CSRC / "bits.cpp",
            f"-Wl,-rpath,{lib}", "-Wl,--no-as-needed"]
    at = command.index("-lc10")
    p = subprocess.run([*command[:at], *more, *command[at:]], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr[-3000:]
    return out


def test_operators_alone(driver):
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    p = subprocess.run([driver], capture_output=True, text=True, env=env, timeout=300)
    assert p.returncode == 0 and p.stdout.count(", at most ") == 23, p.stdout + p.stderr


def test_layout():
    files = sorted(CSRC.glob("*.cpp"))
    assert len(files) == 4
    command = [Path(sys.executable).parent / "clang-format", "--dry-run", "-Werror", *files]
    p = subprocess.run(command, capture_output=True, text=True)
    assert p.returncode == 0, p.stderr[-2000:]
