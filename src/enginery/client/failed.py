"""One failed item of a call, and what every message about it says alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..core.messages import EngineInfo, Outcome
from ..error import EngineryError
from ..wire.failure import Failure
from . import text


class Call(NamedTuple):
    """The call as a whole: its name as people say it ("map(bad)"), and how far it has got."""

    name: str
    total: int
    good: int
    is_map: bool
    engines: Mapping[int, EngineInfo]  # those registered now
    first: int | None = None  # of a part of a map without a known end: which item it begins with

    @property
    def method(self) -> str:
        """What was called: "map", "apply", "execute"."""
        return self.name.partition("(")[0]

    @property
    def unit(self) -> str:
        """What the parts of this call are called."""
        return "items" if self.is_map else "engines"

    @property
    def kept(self) -> str:
        """What is done although something failed, and how to get it; "" when nothing is."""
        if not (self.is_map and self.good) or self.first is not None:
            return ""
        failed = "one" if self.total - self.good == 1 else "ones"
        return (
            f"{text.of(self.good, self.total)} items are done and kept: "
            f"ar.partial() gives them, ar.resubmit() runs the failed {failed} again."
        )


class Failed:
    """Stands where an item's value would be.

    `why` is what its engine said, or what loading its value here raised, or None when `outcome`
    itself tells. It is kept as long as the result, so it keeps no frames of who asked.
    """

    __slots__ = ("item", "outcome", "why")

    def __init__(self, why: Failure | Exception | None, outcome: Outcome, item: int) -> None:
        self.why = why.with_traceback(None) if isinstance(why, Exception) else why
        self.outcome, self.item = outcome, item

    def remote(self) -> Failure | None:
        """What the engine said, if it said anything."""
        return None if isinstance(self.why, Exception) else self.why

    def what(self, call: Call) -> str:
        """The item in words: "item 5 of 8 of map(bad)"."""
        if not call.is_map:
            return call.name
        if call.first is not None:
            return f"item {self.number(call):,} of {call.name}"
        return f"item {self.item:,} of {call.total:,} of {call.name}"

    def number(self, call: Call) -> int:
        """The number of the item in its map."""
        return self.item + (call.first or 0)


def note(error: BaseException, line: str) -> None:
    """Add an indented line to what is shown of an exception; an empty one adds nothing."""
    if line:
        error.add_note(text.fold(f"  {line}"))


def message(kind: type[EngineryError], line: str) -> str:
    """What an exception of this class is made with, so that what is shown keeps to its width."""
    return text.fold(line, len(f"{kind.__name__}: "))
