"""JupyterLab on a port of its own, and what a person does in it: open, run, look, interrupt."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from .execution import environment

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator, Page

PATIENCE = 60.0
"""Seconds to wait for anything; continuous integration is slow."""

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ARTIFACTS = Path(__file__).with_name("artifacts")
"""Where screenshots are kept; not under version control."""

BROWSER_FLAGS = [
    "--no-sandbox",  # it shows pages of ours only, and cannot have one as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

OVERRIDES = """{
  "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false},
  "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}
}"""
"""Settings of Lab: no question about news, and all cells are in the page, also below its edge."""


READY = """async () => {
    const context = window.jupyterapp?.shell.currentWidget?.sessionContext;
    await context?.ready;
    const kernel = context?.session?.kernel;
    const info = await kernel?.info;
    return info && kernel.connectionStatus === "connected" && kernel.status === "idle";
}"""
"""Whether the kernel takes requests; Lab calls it idle before that, and then loses what is run."""


def browser() -> str | None:
    """The path of Chromium, if there is one."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def notebook_of(*cells: str) -> nbformat.NotebookNode:
    """A notebook of these code cells, which needs no question for its kernel."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source.strip()) for source in cells],
        metadata={"kernelspec": kernel},
    )


class Lab:
    """A running JupyterLab; `root` is where its notebooks are."""

    def __init__(self, root: Path, port: int, token: str) -> None:
        self.root, self._port, self._token = root, port, token

    def write(self, name: str, notebook: nbformat.NotebookNode) -> None:
        """Put a notebook where Lab finds it."""
        nbformat.write(notebook, self.root / name)

    def url(self, path: str) -> str:
        """The address of something of this server, with the right to see it."""
        return f"http://127.0.0.1:{self._port}/{path}?token={self._token}"

    def answers(self) -> bool:
        """Whether the server is up."""
        try:
            with urllib.request.urlopen(self.url("api/status"), timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def running_lab(home: Path) -> Iterator[Lab]:
    """Start JupyterLab, and end it with all its kernels."""
    root = home / "notebooks"
    settings = home / "config" / "lab" / "settings"
    for directory in (root, settings):
        directory.mkdir(parents=True)
    (settings / "overrides.json").write_text(OVERRIDES)
    lab = Lab(root, free_port(), secrets.token_hex(16))
    with (home / "lab.log").open("wb") as log:
        server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab",
                "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={lab._port}",
                "--ServerApp.port_retries=0", "--ServerApp.open_browser=False",
                "--ServerApp.allow_root=True", f"--ServerApp.root_dir={root}",
                f"--LabApp.app_settings_dir={settings}", "--LabApp.expose_app_in_browser=True",
            ],
            cwd=root,
            env={**environment(home), "JUPYTER_TOKEN": lab._token},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )  # fmt: skip
    try:
        _await_server(server, lab, home / "lab.log")
        yield lab
    finally:
        server.terminate()
        try:
            server.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _await_server(server: subprocess.Popen[bytes], lab: Lab, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not lab.answers():
        if server.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"JupyterLab did not start\n{log.read_text()[-3000:]}", pytrace=False)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(0.1)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@contextlib.contextmanager
def running_browser(home: Path) -> Iterator[BrowserContext]:
    """A new Chromium, which writes into this directory; it ends, and the driver that leads it."""
    from playwright.sync_api import sync_playwright

    path = browser()
    assert path is not None, "tests that need a browser are left out where there is none"
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=path, args=BROWSER_FLAGS, env=dict(environment(home))
        )
        try:
            context = chromium.new_context(viewport={"width": 1100, "height": 1000})
            context.set_default_timeout(PATIENCE * 1000)
            yield context
        finally:
            chromium.close()


def keep_picture(page: Page, name: str) -> None:
    """Store what is to be seen now."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / f"{name}.png")


class Notebook:
    """A notebook that is open in Lab, with its kernel ready."""

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        self.page, self._name = page, name
        page.goto(lab.url(f"lab/tree/{name}") + "&reset")
        self.cell(0).wait_for()
        page.wait_for_function(READY)

    def cell(self, number: int) -> Locator:
        """The code cell of this number, counted from 0."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def output(self, number: int) -> Locator:
        """The outputs of a code cell."""
        return self.cell(number).locator(".jp-Cell-outputArea")

    def prompt(self, number: int) -> Locator:
        """What stands before a cell: "[*]:" while it runs, "[2]:" after that."""
        return self.cell(number).locator(".jp-InputPrompt")

    def run(self, number: int) -> None:
        """Run one cell, as with Shift+Enter."""
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def run_all(self) -> None:
        """Run all cells, from the menu."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()

    def interrupt(self) -> None:
        """Click the button with the square."""
        self.page.click('.jp-NotebookPanel-toolbar [data-command="notebook:interrupt-kernel"]')

    def await_done(self, number: int) -> None:
        """Wait until a cell has its number."""
        self.page.wait_for_function(
            r"cell => /\[\d+\]/.test(cell.textContent)", arg=self.prompt(number).element_handle()
        )

    def whole_picture(self, name: str) -> None:
        """Keep all of the notebook."""
        panel = self.page.locator(".jp-NotebookPanel-notebook .jp-WindowedPanel-outer").first
        height = self.page.locator(".jp-Notebook .jp-WindowedPanel-viewport").first
        tall = height.evaluate("cells => cells.getBoundingClientRect().height")
        self.page.set_viewport_size({"width": 1100, "height": int(tall) + 200})
        panel.evaluate("panel => { panel.scrollTop = 0; }")
        self.picture(name)

    def picture(self, name: str) -> None:
        """Keep what is to be seen now."""
        keep_picture(self.page, name)
