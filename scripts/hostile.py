"Groups of `make survive`: what users, systems and strangers do to a run, counted."

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SMALL = dict(a_bits=2, width=4, epochs=2, train_images=400)
OWN = (
    "params.yaml",
    "summary.json",
    "metrics.jsonl",
    "metrics.csv",
    "alphas.csv",
    "log.txt",
    "best.pt",
    "best.pt.sha256",
    "last.pt",
    "last.pt.sha256",
)


def _as_in_a_terminal() -> None:
    "nohup has SIGHUP ignored, a background job SIGINT; a child inherits that."
    for s in (signal.SIGHUP, signal.SIGINT):
        signal.signal(s, signal.SIG_DFL)


def command(*words: str, module: str = "runs", **kw) -> subprocess.Popen:
    how = (
        dict(
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        | kw
    )
    how["preexec_fn"] = _as_in_a_terminal
    return subprocess.Popen([sys.executable, "-m", f"pact_nb.{module}", *words], **how)


def options(folder: Path, **params) -> list[str]:
    return [f"--{k}={v}" for k, v in {**SMALL, **params, "run_dir": str(folder)}.items()]


def made(folder: Path, **params):
    "A finished run."
    from pact_nb.recipes import from_params
    from pact_nb.runs import run

    return run(from_params({**SMALL, **params, "run_dir": str(folder)}), lambda s: None)


def said_of(work) -> str:
    "What an error says; '' where there was none."
    try:
        work()
    except (ValueError, TypeError, OSError, ImportError) as e:
        return str(e)
    return ""


def foreign_folders(tmp: Path) -> tuple[int, int]:
    """Folders with a file of somebody else's, named like one of a run's or not: refused, and
    untouched."""
    from pact_nb.recipes import from_params
    from pact_nb.runs import run

    good, names = 0, [n for n in OWN if n != "params.yaml"] + ["notes.txt", "curves.png", "deep/x"]
    for i, name in enumerate(names):
        file = tmp / f"foreign{i}" / name
        file.parent.mkdir(parents=True)
        file.write_text("mine")
        r = from_params({**SMALL, "run_dir": str(tmp / f"foreign{i}")})
        told = said_of(lambda: run(r, lambda s: None))
        good += name.partition("/")[0] in told and file.read_text() == "mine"
    return good, len(names)


EDITS = {  # file → (what is there, what somebody makes of it)
    "params.yaml": [
        ("a_bits: 2", "a_bits: 4"),
        ("seed: 0", "seed: 1"),
        ("lr: 0.1", "lr: 0.2"),
        ("width: 4", "width: 8"),
        ("a_bits: 2", "a_bits: 2\na_bits: 3"),
    ],
    "summary.json": [
        ('"finished"', '"running"'),
        ('"status": "finished",', ""),
        ("{", "["),
        ('"test_n": 360', '"test_n": 359'),
        ('"seconds": ', '"seconds": 1'),
    ],
    "metrics.jsonl": [('"train_loss": ', '"train_loss": 1'), ("}\n", "")],
    "alphas.csv": [("act0", "act9"), ("\n0,", "\n9,")],
}


def edited_folders(tmp: Path) -> tuple[int, int]:
    "A finished run's folder changed by hand: noticed when it is read."
    good, cases = 0, [(n, *c) for n, cs in EDITS.items() for c in cs]
    made(tmp / "edited")
    for name, old, new in cases:
        file = tmp / "edited" / name
        text = file.read_text()
        assert old in text, (name, old)
        file.write_text(text.replace(old, new, 1))
        told = said_of(lambda: (x := finished(tmp / "edited"), x.metrics(), x.alphas()))
        good += bool(told)
        if not told:
            print(f"{name}: {old!r} → {new!r} was not noticed", file=sys.stderr)
        file.write_text(text)
    return good, len(cases)


def finished(folder: Path):
    """The run there; one that no longer says so counts in no report, and the same command ends
    it again."""
    from pact_nb.runs import Run

    x = Run(folder)
    if x.summary["status"] != "finished":
        raise ValueError(f"{folder}: {x.summary['status']}")
    return x


def look(folder: Path):
    "Everything that can be read of a run."
    import torch

    x = finished(folder)
    told = {k: v for k, v in x.summary.items() if k != "seal"}
    state = x.model(x.data()).state_dict()
    return (
        told,
        x.metrics().to_csv(),
        x.alphas().to_csv(),
        [t.tolist() for t in state.values() if t.dtype != torch.int8],
    )


def damaged_files(tmp: Path, times: int) -> tuple[int, int]:
    "Random bytes of every file a run writes changed, cut or added: noticed, or without any effect."
    if not (tmp / "edited").is_dir():
        made(tmp / "edited")
    rng, good, want = random.Random(2), 0, look(tmp / "edited")
    names = [n for n in OWN if not n.startswith("last")]
    for k in range(times):
        file = tmp / "edited" / names[k % len(names)]
        whole = file.read_bytes()
        content, at = bytearray(whole), rng.randrange(len(whole))
        how = rng.choice(("flip", "cut", "add", "byte"))
        if how == "flip":
            content[at] ^= 1 << rng.randrange(8)
        if how == "byte":
            content[at] = rng.randrange(256)
        if how == "add":
            content[at:at] = rng.randbytes(rng.randrange(1, 9))
        file.write_bytes(content[:at] if how == "cut" else content)
        try:
            same = look(tmp / "edited") == want
            good += same
            if not same:
                print(f"{file.name}, {how} at {at}: read as something else", file=sys.stderr)
        except (ValueError, TypeError, OSError):
            good += 1
        except Exception as e:
            print(f"{file.name}, {how} at {at}: {type(e).__name__}: {e}", file=sys.stderr)
        file.write_bytes(whole)
    return good, times


def random_signals(tmp: Path, times: int, fingerprint) -> tuple[int, int]:
    """Runs sent a random signal at random moments until they end: equal to one that was never
    stopped."""
    from pact_nb.runs import status_of

    rng, good = random.Random(3), 0
    plain = dict(epochs=15, train_images=1200, fused="off", compile="off", save_minutes=0.002)
    made(tmp / "signals-whole", **plain)
    kinds = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL, signal.SIGSTOP]
    for k in range(times):
        folder, story = tmp / f"signals{k}", []
        for turn in range(12):
            p = command(*options(folder, **plain))
            try:
                said = p.communicate(timeout=rng.uniform(2, 14) if turn < 4 else 300)[0]
            except subprocess.TimeoutExpired:
                kind = rng.choice(kinds)
                story.append(kind.name)
                p.send_signal(kind)
                if kind == signal.SIGSTOP:
                    time.sleep(0.5)
                    p.send_signal(signal.SIGCONT)
                said = p.communicate(timeout=300)[0]
            story.append(f"{p.returncode}: {' | '.join(said.splitlines()[-3:])[:300]}")
            if status_of(folder) == "finished":
                break  # a signal behind the end changes its exit code alone
        same = status_of(folder) == "finished" and fingerprint(folder) == fingerprint(
            tmp / "signals-whole"
        )
        if not same:
            print("not equal after", *story, sep="\n    ", file=sys.stderr)
        good += same
    return good, times


def broken_output(tmp: Path, kinds: int) -> tuple[int, int]:
    """Output that nobody reads, that has no room, that knows no α: the run ends, its result is
    there."""
    from pact_nb.runs import status_of

    good, cases = (
        0,
        [dict(stdout="closed"), dict(stdout="/dev/full"), dict(env="latin-1"), dict(env="ascii")][
            :kinds
        ],
    )
    for i, case in enumerate(cases):
        folder = tmp / f"output{i}"
        env = os.environ | ({"PYTHONIOENCODING": case["env"]} if "env" in case else {})
        words = options(folder, lambda_alpha=1e6)  # messages with an α in them
        if case.get("stdout") == "closed":
            p = command(*words, env=env, stderr=subprocess.DEVNULL)
            p.stdout.readline()
            p.stdout.close()
        elif "stdout" in case:
            p = command(*words, env=env, stdout=open("/dev/full", "w"), stderr=subprocess.DEVNULL)
        else:
            p = command(*words, env=env)
        if p.stdout and not p.stdout.closed:
            p.communicate(timeout=300)
        p.wait(timeout=300)
        good += status_of(folder) == "finished"
    return good, len(cases)


def children(pid: int) -> list[int]:
    found = subprocess.run(
        ["ps", "--ppid", str(pid), "-o", "pid="], capture_output=True, text=True
    ).stdout
    return [int(w) for w in found.split()]


def sweep_of(tmp: Path, name: str, epochs: int) -> tuple[subprocess.Popen, Path]:
    folder = tmp / name
    params = f"epochs={epochs}, width=4, train_images=400, compile=off, fused=off"
    return (
        command(
            "--a_bits",
            "2,3,4",
            "--workers",
            "1",
            "--params",
            params,
            "--folder",
            str(folder),
            module="sweeps",
            start_new_session=True,
        ),
        folder,
    )


def wait_for(found, seconds: float = 120) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found():
            return True
        time.sleep(0.1)
    return False


def stopped_sweeps(tmp: Path, kinds: list[str]) -> tuple[int, int]:
    "Sweeps of three runs, sent a signal in the first, or whose process is killed."
    from pact_nb.runs import status_of

    good = 0
    for kind in kinds:
        p, folder = sweep_of(tmp, f"sweep-{kind}", 40 if kind != "KILL" else 12)
        first = folder / "digits_w2a2_s0"
        begun = wait_for(lambda: (first / "metrics.jsonl").is_file())
        if kind == "INT":
            os.killpg(p.pid, signal.SIGINT)  # as Ctrl-C does
        elif kind == "KILL":
            os.kill(_worker(p.pid), signal.SIGKILL)
        else:
            p.send_signal(getattr(signal, f"SIG{kind}"))
        said = p.communicate(timeout=600)[0]
        names = [q.name for q in folder.iterdir() if q.is_dir()]
        if kind == "KILL":
            right = (p.returncode, said.count(": finished"), len(names)) == (
                1,
                2,
                3,
            ) and "SIGKILL" in said
        else:
            right = (p.returncode, names, status_of(first)) == (
                130,
                [first.name],
                "paused",
            ) and "Traceback" not in said
        if not (begun and right):
            print(kind, begun, p.returncode, names, status_of(first), said[-600:], file=sys.stderr)
        good += begun and right
    return good, len(kinds)


def _worker(pid: int) -> int:
    "The process that trains: the busiest child."
    rows = [
        (Path(f"/proc/{c}/stat").read_text().rsplit(")", 1)[1].split()[11], c)
        for c in children(pid)
    ]
    return max((int(t), c) for t, c in rows)[1]


def wrong_compilers(tmp: Path, names: list[str]) -> tuple[int, int]:
    """Compilers that fail, and libraries that are damaged: the run goes on without, or they are
    built anew."""
    scripts = {
        "fails": "exit 1",
        "odd words": "printf 'error: \\351\\n'; exit 1",
        "killed": "kill -KILL $$",
        "writes nothing": "exit 0",
        "writes rubbish": (
            'for last; do case $prev in -o) out=$last;; esac; prev=$last; done; echo x > "$out"'
        ),
    }
    good = 0
    for i, name in enumerate(names):
        cache, cc = tmp / f"cache{i}", tmp / f"cc{i}"
        cc.write_text(f"#!/bin/sh\n{scripts[name]}\n")
        cc.chmod(0o755)
        env = os.environ | dict(CXX=f"env {cc}", TORCH_EXTENSIONS_DIR=str(cache))
        p = command(*options(tmp / f"compiled{i}", fused="on", compile="off"), env=env)
        said = p.communicate(timeout=300)[0]
        good += p.returncode == 0 and "no fused operators" in said
    return good, len(names)


HOSTILE_YAML = [
    "seed: 1\nseed: 2",
    "seed: 010",
    "x: " + 5000 * "[",
    "lr: &a [*a]",
    "!!python/object/apply:os.abort []",
    "a" * 2_000_000,
    "\"x=__import__('os').abort(); y\": 3",
    "lr: [&a [x], &b [*a,*a], [*b,*b]]",
    "- 1",
    "lr: 1" + 500 * "0",
    "a_bits: {a: {b: 2}}",
    "\x00",
]


def hostile_files(tmp: Path) -> tuple[int, int]:
    """Files of parameters that repeat names, nest without end, refer to themselves or hold code:
    refused."""
    from pact_nb.runs import read_params
    from pact_nb.recipes import from_params

    good, file = 0, tmp / "hostile.yaml"
    for text in HOSTILE_YAML:
        file.write_text(text)
        told = said_of(lambda: from_params(read_params(file, lambda s: None)))
        good += 0 < len(told) < 2000
        if not 0 < len(told) < 2000:
            print("hostile YAML:", text[:60], "→", told[:200], file=sys.stderr)
    return good, len(HOSTILE_YAML)
