"""Showing what engines put out and gave, once all is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..display import prompts
from ..display.live import LiveOutput, in_order

if TYPE_CHECKING:
    from ..executed import ExecuteResult
    from ..slots import Slot


def values(result: ExecuteResult) -> None:
    """Show the value of each engine whose code has one, in target order."""
    for i in sorted(good := result.partial()):
        prompts.value(good[i])


def grouped(result: ExecuteResult, by: str) -> None:
    """Show output and values of a result that is done, by "type", "engine" or "order"."""
    slots, good = result._slots, result.partial()
    if by == "type":
        _by_type(slots)
        values(result)
        return
    which = list(range(len(slots)))
    if by == "engine":
        which.sort(key=lambda i: slots[i].engine)
    for i in which:
        LiveOutput([slots[i]]).close()
        if i in good:
            prompts.value(good[i])


def _by_type(slots: Sequence[Slot]) -> None:
    """Show all of stdout, then all of stderr, then what was displayed."""
    live = LiveOutput(slots)
    for i, engine, piece in in_order(slots, "type"):
        live.show(slots[i].id, engine, piece)
    live.screen.flush()
