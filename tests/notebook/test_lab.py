"""What a person sees in JupyterLab while engines work: lines, figures, bars, and a way to stop.

Engines are held at gates until the browser has seen what it is to see, so nothing here depends on
how fast anything is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import expect

from ..gate import Gate
from .lab import PATIENCE, Notebook, notebook_of

Open = Callable[[str, nbformat.NotebookNode], Notebook]

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial" / "2-direct-interface.ipynb"

START = """
import enginery as en
rc = en.Cluster(n=2).start_and_connect_sync()
"""


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """What is expected may take its time."""
    expect.set_options(timeout=PATIENCE * 1000)
    yield
    expect.set_options(timeout=None)


@pytest.fixture
def gates(tmp_path: Path) -> Iterator[list[Gate]]:
    """Three gates, closed at first."""
    three = [Gate(tmp_path / f"gate-{number}") for number in range(3)]
    yield three
    for gate in three:
        gate.open()
        gate.close()


def test_lines_are_seen_before_the_cell_ends(open_notebook: Open, gate: Gate) -> None:
    held = f'%%px\nprint("before")\nopen("{gate.path}").close()\nprint("after")'
    notebook = open_notebook("lines.ipynb", notebook_of(START, held, "'the end'"))
    notebook.run_all()
    for engine in (0, 1):
        expect(notebook.output(1)).to_contain_text(f"[{engine}] before")
    assert notebook.prompt(1).inner_text() == "[*]:"
    assert "after" not in notebook.output(1).inner_text()
    notebook.picture("lines-while-the-cell-runs")
    gate.open()
    notebook.await_done(2)
    lines = notebook.output(1).inner_text().split("\n")
    for engine in (0, 1):
        assert lines.index(f"[{engine}] before") < lines.index(f"[{engine}] after")
    assert notebook.output(2).inner_text().strip().endswith("'the end'")


def test_a_figure_of_an_engine_is_shown(open_notebook: Open) -> None:
    draw = "\n".join(
        [
            "%%px --targets 1",
            "import matplotlib.pyplot as plt",
            'print("above")',
            "plt.figure(figsize=(3, 2))",
            "plt.plot([0, 1, 0])",
            "plt.show()",
            'print("below")',
        ]
    )
    notebook = open_notebook("figure.ipynb", notebook_of(START, "%px %matplotlib inline", draw))
    notebook.run_all()
    notebook.await_done(2)
    output = notebook.output(2)
    picture = output.locator("img")
    expect(picture).to_be_visible()
    width, height = picture.evaluate("img => [img.naturalWidth, img.naturalHeight]")
    assert width > 200
    assert height > 100
    text = output.inner_text()
    assert text.index("[1] above") < text.index("[1] below")
    above, below = (output.get_by_text(f"[1] {word}") for word in ("above", "below"))
    tops = [part.bounding_box()["y"] for part in (above, picture, below)]
    assert tops == sorted(tops), "the figure is not between the lines that were printed round it"


def test_a_bar_moves_while_tasks_end(open_notebook: Open, gates: list[Gate]) -> None:
    paths = [str(gate.path) for gate in gates]
    held = f"""
def held(path):
    with open(path):
        return path[-1]

lview = rc.load_balanced_view()
lview.map_sync(held, ["/dev/null"] + {paths}, progress=True)
"""
    notebook = open_notebook("bar.ipynb", notebook_of(START, held))
    notebook.run_all()
    bar = notebook.output(1).locator("progress")
    for number, gate in enumerate(gates, 1):
        expect(bar).to_have_js_property("value", number)
        expect(bar).to_have_js_property("max", 4)
        assert notebook.prompt(1).inner_text() == "[*]:"
        if number == 2:
            notebook.picture("bar-while-tasks-run")
        gate.open()
    notebook.await_done(1)
    expect(bar).to_have_count(0)
    expect(notebook.output(1)).to_contain_text("map(held): 4 items on 2 engines in")
    expect(notebook.output(1)).to_contain_text("['l', '0', '1', '2']")


def test_the_square_interrupts_the_engines(open_notebook: Open) -> None:
    endless = '%%px\nimport time\nn = 1\nprint("begun")\nwhile True:\n    time.sleep(0.01)'
    notebook = open_notebook(
        "interrupt.ipynb", notebook_of(START, endless, '%px print("alive, n =", n)')
    )
    notebook.run(0)
    notebook.run(1)
    for engine in (0, 1):
        expect(notebook.output(1)).to_contain_text(f"[{engine}] begun")
    assert notebook.prompt(1).inner_text() == "[*]:"
    notebook.interrupt()
    notebook.await_done(1)
    expect(notebook.output(1)).to_contain_text("KeyboardInterrupt")
    expect(notebook.output(1)).to_contain_text("interrupted engines 0-1")
    notebook.picture("interrupted")
    notebook.run(2)
    notebook.await_done(2)
    for engine in (0, 1):
        expect(notebook.output(2)).to_contain_text(f"[{engine}] alive, n = 1")


def test_a_tutorial_runs_in_lab(open_notebook: Open) -> None:
    stored = nbformat.read(TUTORIAL, as_version=4)
    last = sum(cell.cell_type == "code" for cell in stored.cells) - 1
    pictures = str(stored).count("'image/png'")
    assert pictures > 0
    for cell in stored.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook = open_notebook(TUTORIAL.name, stored)
    assert notebook.page.locator(".jp-OutputArea-output").count() == 0
    notebook.run_all()
    notebook.await_done(last)
    assert notebook.page.locator(".jp-OutputArea-output img").count() == pictures
    notebook.whole_picture("tutorial")
