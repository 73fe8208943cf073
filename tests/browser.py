"""Headless Chromium for the tests of pages: found or skipped, and whatever a page complains
about kept."""
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync"
]


def find_browser() -> str:
    """Path of a Chromium. None: the test is skipped, or fails where REQUIRE_BROWSER is set, as
    CI does."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found: return found
    said = (
        f"no browser: none of {', '.join(NAMES)} is on the PATH (Debian: apt-get install chromium)"
    )
    (pytest.fail if os.environ.get("REQUIRE_BROWSER") else pytest.skip)(said)


@contextmanager
def browse(**context):
    """A page of a fresh browser, offline but for this machine; `page.complaints` collects
    console errors and exceptions."""
    path = find_browser()
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=FLAGS)
        page = browser.new_context(viewport=dict(width=1280, height=900), **context).new_page()
        page.complaints, page.outside = [], []
        page.on("console", lambda m: page.complaints.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda e: page.complaints.append(str(e)))
        page.on(
            "request",
            lambda r: (
                page.outside.append(r.url)
                if r.url.startswith("http")
                and "//127.0.0.1" not in r.url
                and "//localhost" not in r.url
                else None
            ),
        )
        try: yield page
        finally: browser.close()


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextmanager
def served(*words: str, url: str, cwd: Path = ROOT, seconds: float = 60, **env: str):
    "Run a server until the block ends; `url` must answer within `seconds`."
    with open(
        os.devnull if not os.environ.get("BROWSER_LOG") else os.environ["BROWSER_LOG"], "ab"
    ) as log:
        server = subprocess.Popen(
            words, cwd=cwd, env={**os.environ, "OMP_NUM_THREADS": "1", **env}, stdout=log,
            stderr=log, start_new_session=True
        )
        try:
            _answers(server, url, seconds)
            yield url
        finally:
            _end(server)


def _end(server: subprocess.Popen) -> None:
    "Stop the server and, where it was started through make or a shell, what they started."
    for said, seconds in ((signal.SIGTERM, 20), (signal.SIGKILL, 5)):
        end = time.monotonic() + seconds
        try:
            os.killpg(server.pid, said)
            while time.monotonic() < end: server.poll(); os.killpg(server.pid, 0); time.sleep(0.1)
        except ProcessLookupError: return


def _answers(server: subprocess.Popen, url: str, seconds: float) -> None:
    "Wait until `url` answers; fail if the server ends or is too slow."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.poll() is not None:
            pytest.fail(f"{server.args[0]} ended with {server.returncode}")
        try: return urllib.request.urlopen(url, timeout=5).close()
        except OSError: time.sleep(0.2)
    pytest.fail(f"nothing answered at {url} within {seconds:.0f} s")
