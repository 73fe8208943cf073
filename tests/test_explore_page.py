"""The page explore as people use it, in JupyterLab and by `make explore`: sliders moved by the
keyboard."""
import os
import shutil

from browser import ROOT, browse, free_port, served
from lab import BIN, LONG, jupyterlab, own_folders, start, wait_for_all

NOTEBOOK = ROOT / "nbs" / "6_experiments" / "23_explore.ipynb"


def control(page, name: str, n: int = 0):
    "The n-th slider or choice of this name."
    return page.locator(".widget-inline-hbox", has=page.get_by_text(name, exact=True)).nth(n)


def press(page, name: str, key: str, n: int = 0) -> None:
    "One key on a slider's handle; the picture and the numbers of its view must follow."
    handle = control(page, name, n).locator(".noUi-handle")
    handle.wait_for(timeout=LONG)
    box = handle.locator("xpath=ancestor::*[contains(@class, 'widget-vbox')]").last
    image, numbers = box.locator("img").element_handle(), box.locator(".widget-html")
    was = image.get_attribute("src"), numbers.inner_text()
    handle.focus()
    page.keyboard.press(key)
    page.wait_for_function("([image, was]) => image.src !== was", arg=[image, was[0]], timeout=LONG)
    page.wait_for_function(
        "([numbers, was]) => numbers.innerText !== was", arg=[numbers.element_handle(), was[1]],
        timeout=LONG
    )
    assert image.evaluate("i => i.decode().then(() => i.naturalWidth)") > 500


def move_all(page) -> None:
    press(page, "α", "ArrowRight")
    press(page, "bits", "ArrowRight")
    press(page, "hysteresis", "ArrowLeft")
    press(page, "epoch", "ArrowLeft")
    assert page.outside == [], f"asked for outside this machine: {page.outside}"


def picture(page, name: str) -> None:
    "A screenshot into the folder SCREENSHOTS names, if any."
    if os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{os.environ['SCREENSHOTS']}/{name}.png")


def test_jupyterlab(tmp_path):
    (root := tmp_path / "root").mkdir()
    shutil.copy(NOTEBOOK, root)
    with jupyterlab(root, tmp_path) as at, browse() as page:
        start(page, f"{at}23_explore.ipynb")
        assert wait_for_all(page) == []
        move_all(page)
        picture(page, "jupyterlab")


def test_voila(tmp_path):
    "The recipe of `make explore` itself, with a free port and no browser of its own."
    port = free_port()
    words = [
        "make", "-o", ".venv/.installed", "explore", f"BIN={BIN}",
        f"VOILA=--no-browser --port={port} --Voila.port_retries=0"
    ]
    with served(
        *words, url=f"http://127.0.0.1:{port}/voila/static/voila-style.js", seconds=120,
        **own_folders(tmp_path)
    ), browse() as page:
        page.goto(f"http://127.0.0.1:{port}/", timeout=LONG)
        move_all(page)
        # no code on the page
        assert page.locator(".jp-CodeCell .jp-InputArea:visible").count() == 0
        page.set_viewport_size(dict(width=800, height=900))
        # once it is laid out anew
        page.wait_for_function(
            "Math.max(...[...document.querySelectorAll('.widget-vbox')].map(v =>"
            " v.getBoundingClientRect().right)) <= innerWidth",
            timeout=30_000,
        )
        picture(page, "voila-800")
        assert page.complaints == []
