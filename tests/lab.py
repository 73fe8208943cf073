"""JupyterLab for the tests of pages: a server with nobody's settings, notebooks opened, run and
read."""
import sys
from contextlib import contextmanager
from pathlib import Path

from browser import free_port, served

BIN = Path(sys.executable).parent
LONG = 300_000  # ms; a limit for a busy machine, nothing waits for it
CELLS = "window.jupyterapp.shell.currentWidget.content.widgets.filter(c => c.model.type === 'code')"
OUTPUTS = f"{CELLS}.flatMap(c => c.model.outputs.toJSON())"


def own_folders(tmp: Path) -> dict[str, str]:
    """Jupyter's folders, empty but for settings: cells out of sight stay in the page, and nobody
    asks for news."""
    settings = {
        "notebook-extension/tracker": '{"windowingMode": "none"}',
        "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}'
    }
    for name, text in settings.items():
        (f := tmp / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings").parent.mkdir(
            parents=True
        )
        f.write_text(text)
    folders = {f"JUPYTER_{n}_DIR": str(tmp / n.lower()) for n in ("CONFIG", "DATA", "RUNTIME")}
    return folders | dict(
        IPYTHONDIR=str(tmp / "ipython"), JUPYTERLAB_SETTINGS_DIR=str(tmp / "settings")
    )


@contextmanager
def jupyterlab(root: Path, tmp: Path):
    "Serve the notebooks of `root`; yields the address under which each opens."
    port = free_port()
    words = [
        str(BIN / "jupyter-lab"), "--no-browser", "--expose-app-in-browser", "--allow-root",
        f"--port={port}", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
        f"--ServerApp.root_dir={root}"
    ]
    with served(
        *words, url=f"http://127.0.0.1:{port}/api/status", cwd=tmp, seconds=120, **own_folders(tmp)
    ):
        yield f"http://127.0.0.1:{port}/lab/tree/"


def start(page, address: str) -> None:
    "Open a notebook and run all its cells, without waiting for them."
    page.goto(f"{address}?reset", timeout=LONG)  # without the tabs of the notebook before
    opened = "window.jupyterapp?.shell?.currentWidget"
    page.wait_for_function(
        f"{opened}?.context?.path === '{address.rsplit('/', 1)[1]}' &&"
        f" {opened}.sessionContext?.session?.kernel?.status === 'idle'",
        timeout=LONG,
    )
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")


def wait_for_all(page) -> list[str]:
    "Wait until every cell has run or one has failed; the errors."
    page.wait_for_function(
        f"{CELLS}.every(c => c.model.executionCount) || {OUTPUTS}.some(o => o.output_type ==="
        " 'error')",
        timeout=LONG,
    )
    return page.evaluate(
        f"{OUTPUTS}.filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue)"
    )
