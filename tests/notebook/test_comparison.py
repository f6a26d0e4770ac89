"""The comparison of two runs finds every difference but those that it says it passes over."""

from __future__ import annotations

import base64
import io
import socket
from typing import Any

import nbformat
import numpy as np
import pytest
from matplotlib.image import imsave

from .comparison import differences

V4 = nbformat.v4


def ran(*outputs: Any, source: str = "", tags: tuple[str, ...] = ()) -> nbformat.NotebookNode:
    """A notebook of one cell that has given these outputs."""
    cell = V4.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})
    return V4.new_notebook(cells=[cell])


def printed(text: str, name: str = "stdout") -> Any:
    return V4.new_output("stream", text=text, name=name)


def value(text: str) -> Any:
    return V4.new_output("execute_result", {"text/plain": text})


def figure(column: int, ink: float = 1.0) -> Any:
    """A white picture with a stripe, black or lighter."""
    pixels = np.full((96, 96), 1.0)
    pixels[:, column : column + 24] -= ink
    file = io.BytesIO()
    imsave(file, pixels, cmap="gray", vmin=0, vmax=1, format="png")
    png = base64.b64encode(file.getvalue()).decode()
    return V4.new_output("display_data", {"image/png": png, "text/plain": "<Figure>"})


SAME = {
    "process ids": ("engine 1 (pid 4711, laptop)", f"engine 1 (pid 82, {socket.gethostname()})"),
    "who was free": ("item 3 on engine 0 (pid 1)", "item 3 on engine 2 (pid 1)"),
    "ports": ("controller 127.0.0.1:10101", "controller 127.0.0.1:41234"),
    "task ids": ("task 7f3a2c failed", "task 0123ab-17 failed"),
    "times": ("in 3 min 28 s (48/s)", "in 0.7 s (1,024.5/s)"),
    "addresses": ("<lock at 0x7f3210abcdef>", "<lock at 0x7fffffabcdef>"),
    "paths": ("in /tmp/a/b.py", "in /home/me/c.py"),
    "colours": ("\x1b[31mred\x1b[0m", "red"),
    "the last digit": ("about 0.993 and 1.52e-05", "about 0.992 and 1.53e-05"),
    "engines in another order": ("[0] a\n[0] b\n[1] c\n", "[1] c\n[0] a\n[0] b\n"),
}

DIFFERENT = {
    "a word": ("it is good", "it is bad"),
    "a whole number": ("[1, 2, 3]", "[1, 2, 4]"),
    "more than the last digit": ("0.993", "0.990"),
    "more digits": ("0.99", "0.992"),
    "another number of numbers": ("[1, 2]", "[1, 2, 3]"),
    "the order of one engine's lines": ("[0] a\n[0] b\n", "[0] b\n[0] a\n"),
    "which engine it was": ("[0] a\n[1] b\n", "[1] a\n[0] b\n"),
    "a line": ("[0] a\n", "[0] a\n[1] b\n"),
}


@pytest.mark.parametrize(("before", "now"), SAME.values(), ids=SAME)
def test_what_varies_is_passed_over(before: str, now: str) -> None:
    assert differences(ran(printed(before)), ran(printed(now))) == []


@pytest.mark.parametrize(("before", "now"), DIFFERENT.values(), ids=DIFFERENT)
def test_what_differs_is_found(before: str, now: str) -> None:
    assert len(differences(ran(value(before)), ran(value(now)))) == 1
    assert len(differences(ran(printed(before)), ran(printed(now)))) == 1


def test_another_kind_of_output_is_found() -> None:
    assert differences(ran(printed("5")), ran(value("5")))
    assert differences(ran(printed("5")), ran(printed("5", "stderr")))
    assert differences(ran(value("5")), ran())


def test_errors_are_compared() -> None:
    one = V4.new_output("error", ename="ValueError", evalue="bad", traceback=["\x1b[31mx", "bad"])
    other = V4.new_output("error", ename="ValueError", evalue="worse", traceback=["x", "worse"])
    assert differences(ran(one), ran(one)) == []
    assert "worse" in differences(ran(one), ran(other))[0]


def test_a_cell_may_say_that_its_numbers_vary() -> None:
    old = ran(value("[4711, 4712]"), tags=("numbers-vary",))
    assert differences(old, ran(value("[17, 18]"))) == []
    assert differences(old, ran(value("[17, 18, 19]")))


def test_progress_is_compared_where_it_was_asked_for() -> None:
    line = value("map(f): 8 items on 4 engines in 2.4 s (3.3/s)")
    assert differences(ran(value("5")), ran(line, value("5"))) == []
    asked = "map(f, x, progress=True)"
    assert differences(ran(line, source=asked), ran(source=asked))


def test_pictures_are_compared_by_what_they_show() -> None:
    assert differences(ran(figure(0)), ran(figure(0))) == []
    assert differences(ran(figure(0)), ran(figure(1))) == []
    assert "differs" in differences(ran(figure(0)), ran(figure(48)))[0]
    vary = ("picture-varies",)
    assert differences(ran(figure(0), tags=vary), ran(figure(48))) == []
    assert "nothing" in differences(ran(figure(0), tags=vary), ran(figure(0, ink=0.0)))[0]


def test_pictures_of_engines_may_come_in_any_order() -> None:
    first = [printed("[0]\n"), figure(0), printed("[1]\n"), figure(48)]
    second = [printed("[1]\n"), figure(48), printed("[0]\n"), figure(0)]
    swapped = [printed("[1]\n"), figure(0), printed("[0]\n"), figure(48)]
    assert differences(ran(*first), ran(*second)) == []
    assert differences(ran(*first), ran(*swapped))
