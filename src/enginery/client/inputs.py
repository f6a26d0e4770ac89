"""Results that are arguments: which tasks they wait for, and what is sent in their stead.

The arguments hold places, and the controller puts the values in that it has from the engines: what
is large does not come by here. What is done and small goes along at once, and so does what the
controller has forgotten meanwhile, as long as somebody here still holds the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from ..core.messages import Outcome, Query, Terms
from ..error import NotSupportedError, TimeoutError
from ..wire.chunks import MapChunk
from ..wire.codec import sayable
from ..wire.inputs import Part, along, arrive
from ..wire.taking import Takeable
from . import text

if TYPE_CHECKING:
    from .link import Link
    from .results import AsyncResult
    from .slots import Slot

SMALL = 4096
"""Bytes of a value that goes along with the arguments when it is here."""

DEEPEST = 40
"""Lists in lists that are searched for what an argument is called."""

NAME = 40
"""Characters at most of what an argument is called."""


class Inputs:
    """The results among the arguments of one call (`wire.taking.Taker`), or of a chain of calls."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.used = False  # there are some
        self.ids: dict[str, int] = {}  # of the tasks to wait for, by their order
        self.names: dict[str, str] = {}  # what these arguments are called
        self.refusal: Exception | None = None  # why this cannot be sent
        self._gone: dict[str, bool] = {}  # of tasks that are done: whether that is forgotten

    def take(self, result: Any) -> tuple[Any, ...]:
        """Note which tasks a result waits for; gives what stands for it."""
        self.used = True
        mine: AsyncResult = result.as_argument
        parts: list[Part] = []
        slots, assembly = mine.taken()
        if self._may_take(mine):
            self._look(slots)
            parts = [self._part(slot) for slot in slots]
        return arrive, (parts, assembly)

    def _may_take(self, result: AsyncResult) -> bool:
        link, other = self.link, result.link
        if link.farms:
            self.refusal = NotSupportedError(
                f"{result!r} is an argument: the scheme 'pure' cannot do that: no Python sees its "
                "tasks\n  Pass its value: ar.get(). A controller with another scheme can: "
                "ipcontroller --scheme=leastload"
            )
        elif other is not link:
            if _cluster(other) != _cluster(link):
                self.refusal = ValueError(
                    f"{result!r} is of another cluster, which alone knows it; pass its value: "
                    "ar.get()"
                )
            elif not (result.ready() or other.closed):  # it must be known there before this is
                other.ask(Query(0, "states", list(result.msg_ids)))
        return self.refusal is None

    def _look(self, slots: Sequence[Slot]) -> None:
        """Ask which large values the controller does not have any more."""
        done = [slot.id for slot in slots if slot.id not in self._gone and _large(slot)]
        if not done:
            return
        try:
            kept: list[str] = self.link.ask(Query(0, "kept", done))
        except TimeoutError:  # then this, too, waits until the controller is back
            kept = done
        self._gone |= dict.fromkeys(done, True) | dict.fromkeys(kept, False)

    def _part(self, slot: Slot) -> Part:
        outcome = slot.outcome
        if outcome is None or outcome.status != "ok":
            return self._number(slot)
        if self._gone.get(slot.id, not _large(slot)):
            return along(outcome.value, outcome.buffers)
        return self._number(slot)

    def _number(self, slot: Slot) -> int:
        return self.ids.setdefault(slot.id, len(self.ids))

    # --- what is asked for -----------------------------------------------------------------------

    def look_at(self, f: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Find out what the arguments of a call are called, as far as that is not known.

        Raises what cannot be done: NotSupportedError, or ValueError.
        """
        if self.refusal is not None:
            raise self.refusal
        if len(self.names) < len(self.ids):
            for value, path in _arguments(f, args, kwargs):
                self._name(value, path, DEEPEST)

    def _name(self, value: Any, path: str, depth: int) -> None:
        if len(self.names) == len(self.ids):
            return
        if isinstance(value, Takeable):
            slots, _ = value.as_argument.taken()  # type: ignore[attr-defined]
            for id in (slot.id for slot in slots):
                if id in self.ids:
                    self.names.setdefault(id, sayable(text.brief(path, NAME)))
        elif depth and isinstance(value, list | tuple | dict):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in items:
                self._name(item, f"{path}[{key!r:.{NAME}}]", depth - 1)

    def next(self) -> Inputs:
        """Those of a further call, which are other ones; what is known of the tasks is the same."""
        following = Inputs(self.link)
        following._gone = self._gone
        return following

    def terms(self, terms: Terms | None) -> Terms | None:
        """These terms, and that the task waits for what its arguments take."""
        if not self.ids:
            return terms
        names = tuple(self.names.get(id, "") for id in self.ids)
        return replace(terms or Terms(), inputs=tuple(self.ids), arguments=names)


def _large(slot: Slot) -> bool:
    """Whether a value is here, and is better not sent from here."""
    outcome: Outcome | None = slot.outcome
    return outcome is not None and outcome.status == "ok" and outcome.size() > SMALL


def _cluster(link: Link) -> str:
    """What tells the cluster of a link from others."""
    return link.welcome.controller if link.welcome is not None else ""


def _arguments(f: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[tuple[Any, str]]:
    """Each argument of a call, and what it is called; those of every item of a chunk."""
    if isinstance(f, MapChunk):
        for item in args[0]:
            yield from _arguments(f.function, item, {})
        return
    while not isinstance(f, FunctionType) and hasattr(f, "__wrapped__"):
        f = f.__wrapped__
    names: tuple[str, ...] = ()
    if isinstance(f, FunctionType):
        names = f.__code__.co_varnames[: f.__code__.co_argcount]
    for i, value in enumerate(args):
        yield value, names[i] if i < len(names) else str(i + 1)
    for name, value in kwargs.items():
        yield value, name
