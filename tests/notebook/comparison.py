"""Compares the outputs of two runs of a notebook: all but what must differ has to be the same.

What differs from run to run is replaced by a word: process ids, ports, host names, task ids,
times, rates, addresses, paths, the state of a progress bar. Lines that engines print
("[3] ...") are put in the order of the engines, each engine's own lines as they came. Numbers with
a fraction may differ in their last printed digit, pictures a little, since fonts do.

A cell says by a tag what else differs: "numbers-vary" (every number), "picture-varies" (what is
drawn, not that there is a picture).
"""

from __future__ import annotations

import base64
import io
import math
import re
import socket
from collections.abc import Iterator
from typing import Any

import nbformat
import numpy as np

HOST = "laptop"
"""How this host is called in stored outputs."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")

VARYING = [
    (COLOURS, ""),
    (re.compile(r"(<progress\b)[^>]*>"), r"\1>"),
    (re.compile(r"\S*/ipykernel_\d+/\d+\.py"), "CELL"),
    (re.compile(r"(?<![\w.])~?/[\w.+-]+(?:/[\w.+-]+)+"), "PATH"),
    (re.compile(rf"\b(?:{re.escape(socket.gethostname())}|{HOST})\b"), "HOST"),
    (re.compile(r"\bon engine \d+ \(pid"), "on engine ENGINE (pid"),
    (re.compile(r"\bpid \d+"), "pid PID"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"\b0x[0-9a-f]{6,}"), "0xADDRESS"),
    (re.compile(r"\b(task|tasks) [0-9a-f]{6}(?:-\d+(?:\.\d+)?)?\b"), r"\1 ID"),
    (re.compile(r"\bdefault [0-9a-f]{8}\b"), "default ID"),
    (re.compile(r"\b[0-9a-f]{32}(?:_\d+)?\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|\+\d\d:\d\d)?"), "TIME"),
    (re.compile(r"\b[\d.,]+ ?/s\b"), "RATE"),
    (re.compile(r"\b[\d.,]+ ?(?:min|ms|µs|s|h)\b(?: \d+ (?:s|min)\b)?"), "DURATION"),
    (re.compile(r"\b[\d,]+ of [\d,]+ done(?:, [\d,]+ running)?(?:, DURATION left)?"), "PROGRESS"),
    (re.compile(r"\b[\d.,]+ (?:of [\d.,]+ )?[KMG]B\b"), "SIZE"),
]

NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])")
FORM = re.compile(r"(-?[\d,]+)\.(\d+)(e[+-]?\d+)?")
PICTURES = {"image/png"}
ANNOUNCED = re.compile(r"^\[(\d+)\] *\n\Z", re.MULTILINE)
ENDED = re.compile(r"^[^\n]+: [\d,]+ \w+(?: on [\d,]+ engines?)? in DURATION")
FROM_ENGINE = re.compile(r"\[(\d+)\](?: |$)")
GRAIN = 24
"""Cells of the raster, per side, in which pictures are compared."""

LIKENESS = 0.06
"""How far the mean of such a cell may differ on average, of a range of 1."""


def differences(stored: nbformat.NotebookNode, fresh: nbformat.NotebookNode) -> list[str]:
    """What differs between two runs of a notebook, a text for each cell where something does."""
    told = []
    for number, (old, new) in enumerate(zip(code_cells(stored), code_cells(fresh), strict=True), 1):
        if wrong := wrong_in(old, new):
            told.append("\n".join([f"In [{number}]: {old.source}", *wrong]))
    return told


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """The cells that are run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def wrong_in(old: nbformat.NotebookNode, new: nbformat.NotebookNode) -> list[str]:
    """What differs between the outputs of two runs of a cell."""
    tags = set(old.metadata.get("tags", ()))
    return list(_compared(outputs(old, tags), outputs(new, tags), tags))


def outputs(cell: nbformat.NotebookNode, tags: set[str]) -> list[tuple[str, Any]]:
    """The outputs of a cell as pairs of their kind and what is compared of it.

    Text comes first, then what was displayed, in the order of the engines.
    """
    texts: dict[str, str] = {}
    shown: list[tuple[int, str, Any]] = []
    engine = -1  # whose display comes next: it is announced by a line of its own
    for output in cell.outputs:
        if output.output_type == "stream":
            texts[output.name] = texts.get(output.name, "") + output.text
            announced = ANNOUNCED.search(output.text)
            engine = int(announced[1]) if announced else -1
        elif output.output_type == "error":
            error = "\n".join([output.ename, output.evalue, *output.traceback])
            shown.append((-1, "error", settled(error, tags)))
        elif not _passing(output, cell.source):
            shown += [
                (engine, kind, value if kind in PICTURES else settled(str(value), tags))
                for kind, value in sorted(output.data.items())
            ]
            engine = -1
    streams = [(name, settled(by_engine(text), tags)) for name, text in sorted(texts.items())]
    return streams + [(kind, value) for _, kind, value in sorted(shown, key=lambda each: each[0])]


def _passing(output: nbformat.NotebookNode, source: str) -> bool:
    """Whether this tells of progress and nobody asked for that: it depends on the time it took."""
    text = settled(output.data.get("text/plain", ""))
    return "progress=True" not in source and ENDED.search(text) is not None


def settled(text: str, tags: set[str] = frozenset()) -> str:  # type: ignore[assignment]
    """The text with a word in the place of everything that differs from run to run."""
    for pattern, word in VARYING:
        text = pattern.sub(word, text)
    if "numbers-vary" in tags:
        text = NUMBER.sub("NUMBER", text)
    return text.strip()


def by_engine(text: str) -> str:
    """The lines in the order of the engines that printed them; the others first."""
    lines = COLOURS.sub("", text).splitlines()

    def engine(line: str) -> int:
        match = FROM_ENGINE.match(line)
        return int(match[1]) if match else -1

    return "\n".join(sorted(lines, key=engine))


def _compared(
    old: list[tuple[str, Any]], new: list[tuple[str, Any]], tags: set[str]
) -> Iterator[str]:
    kinds_before, kinds_now = [kind for kind, _ in old], [kind for kind, _ in new]
    if kinds_before != kinds_now:
        yield f"  gave {kinds_before}, gives {kinds_now}"
        yield from (f"  now {kind}: {str(value)[:2000]}" for kind, value in new)
        return
    for (kind, before), (_, now) in zip(old, new, strict=True):
        if kind == "image/png":
            yield from _pictures(before, now, "picture-varies" in tags)
        elif not alike(before, now):
            yield f"  {kind} was:\n{before}\n  and is:\n{now}"


def alike(before: str, now: str) -> bool:
    """Whether two texts are the same, but for the last digit of numbers with a fraction."""
    if NUMBER.sub("", before) != NUMBER.sub("", now):
        return False
    pairs = zip(NUMBER.findall(before), NUMBER.findall(now), strict=True)
    return all(a == b or _close(a, b) for a, b in pairs)


def _close(a: str, b: str) -> bool:
    """Whether two numbers have the same form, and differ by 1 in the last digit at most."""
    form_a, form_b = FORM.fullmatch(a), FORM.fullmatch(b)
    if not (form_a and form_b) or form_a[3] != form_b[3] or len(form_a[2]) != len(form_b[2]):
        return False
    last = 10.0 ** -len(form_a[2])
    value_a, value_b = (float(f"{form[1]}.{form[2]}".replace(",", "")) for form in (form_a, form_b))
    return math.isclose(value_a, value_b, rel_tol=0, abs_tol=1.5 * last)


def _pictures(before: str, now: str, only_there: bool) -> Iterator[str]:
    old, new = raster(before), raster(now)
    for name, picture in (("stored", old), ("new", new)):
        if picture.std() < 0.01:
            yield f"  the {name} picture shows nothing"
    if not only_there and (distance := float(abs(old - new).mean())) > LIKENESS:
        yield f"  the picture differs: by {distance:.3f} on average"


def raster(png: str) -> np.ndarray:
    """The grey levels of a picture, from 0 to 1, on a raster of `GRAIN` by `GRAIN`."""
    from matplotlib.image import imread

    pixels = imread(io.BytesIO(base64.b64decode(png)), format="png")
    grey = pixels[..., :3].mean(axis=2) if pixels.ndim == 3 else pixels
    rows = np.array_split(grey, GRAIN, axis=0)
    return np.array([[part.mean() for part in np.array_split(row, GRAIN, axis=1)] for row in rows])
