"""The comparisons as one picture: how many times better or worse we are, on a logarithmic axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .harness import Comparison, Figure

COLOURS = {True: "tab:green", False: "tab:red", None: "tab:gray"}
"""Target met, missed, none."""

LINE = 0.24
"""Inches of height."""


@dataclass(frozen=True)
class Bar:
    """One line of the picture: a system, and how many times better than it we are."""

    label: str
    advantage: float
    wanted: float | None
    met: bool | None


def bars(comparisons: Sequence[Comparison]) -> list[tuple[Figure, list[Bar]]]:
    """What can be drawn, by figure, with those that have a limit beside it."""
    drawn = []
    for figure, those in groupby(comparisons, key=lambda comparison: comparison.figure):
        lines = [bar for comparison in those if (bar := bar_of(comparison)) is not None]
        if lines:
            drawn.append((figure, lines))
    return drawn


def bar_of(comparison: Comparison) -> Bar | None:
    """None where nothing was measured, or there is nothing that a logarithm could show."""
    figure, wanted = comparison.figure, comparison.target
    if comparison.peer:
        label, ratio = comparison.peer, comparison.ratio
    elif comparison.ours is not None and wanted:
        label, ratio = "the limit", comparison.ours / wanted
        wanted = None
    else:
        return None
    if ratio is None or ratio <= 0:
        return None
    better = advantage(figure, ratio)
    return Bar(label, better, None if wanted is None else advantage(figure, wanted), comparison.met)


def advantage(figure: Figure, ratio: float) -> float:
    """A ratio, turned so that more than 1 is good."""
    return ratio if figure.more_is_better else 1 / ratio


def draw(comparisons: Sequence[Comparison], file: Path) -> None:
    """Write the picture, in the format that the name of the file asks for."""
    from matplotlib.figure import Figure as Picture
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.ticker import FuncFormatter

    groups = bars(comparisons)
    lines = sum(1 + len(those) for _, those in groups)
    picture = Picture(figsize=(10, LINE * (lines + 6)), layout="constrained")
    axes = picture.subplots()
    places: list[int] = []
    labels: list[str] = []
    y = 0
    for figure, those in groups:
        axes.text(
            0.0, y, figure.title, transform=axes.get_yaxis_transform(), fontsize=8,
            fontweight="bold", va="center",
        )  # fmt: skip
        for bar in those:
            y += 1
            places.append(y)
            labels.append(bar.label)
            colour = COLOURS[bar.met]
            axes.barh(y, bar.advantage - 1, left=1, height=0.7, color=colour)
            right = bar.advantage >= 1
            axes.annotate(
                times(bar.advantage), (bar.advantage, y), fontsize=7, va="center",
                ha="left" if right else "right", xytext=(3 if right else -3, 0),
                textcoords="offset points",
            )  # fmt: skip
            if bar.wanted is not None:
                axes.plot([bar.wanted] * 2, [y - 0.45, y + 0.45], color="black", linewidth=1.5)
        y += 1
    reach = [b.advantage for _, those in groups for b in those]
    reach += [b.wanted for _, those in groups for b in those if b.wanted is not None]
    axes.set_xscale("log")
    axes.set_xlim(min([0.5, *reach]) / 3, max([2.0, *reach]) * 3)
    axes.set_ylim(y, -1)
    axes.set_yticks(places, labels, fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: times(x)))
    axes.set_xlabel("enginery is so many times better (to the right of 1x) or worse")
    axes.spines[["top", "right", "left"]].set_visible(False)
    handles = [
        Patch(color=COLOURS[True], label="target met"),
        Patch(color=COLOURS[False], label="target missed"),
        Patch(color=COLOURS[None], label="no target"),
        Line2D([], [], color="black", linewidth=1.5, label="target"),
    ]
    picture.legend(handles=handles, loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(file, dpi=120)


def times(x: float) -> str:
    """A factor, as short as it can be said."""
    return f"{x:,.0f}x" if x >= 10 else f"{x:.2g}x"
