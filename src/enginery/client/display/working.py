"""What the engines are at now, as the controller last said; for those who show it to people.

It is not asked often, however many look, and never waited for long: what shows something must not
hang when the controller does.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from ...core.messages import Query
from ...error import EngineryError

if TYPE_CHECKING:
    from ..link import Link

FRESH = 20.0
"""For how long an answer, or that there was none, is good: so many times what it took to get it."""

STALE = 1.0
"""Seconds for which it is good at most."""

PATIENCE = 0.5
"""Seconds that its answers may take."""


class Seen(NamedTuple):
    """What the controller said at a time: of itself, of each engine, and which tasks run.

    By the scheme "pure" nobody knows what runs.
    """

    status: Mapping[str, Any]
    engines: list[Mapping[str, Any]]
    running: frozenset[str] | None


class Working:
    """Asks the controller, and remembers for a moment what it said."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._until = 0.0
        self._seen: Seen | None = None

    def look(self, *, again: bool = False) -> Seen | None:
        """What there is now; None when the controller does not answer soon.

        With `again` it is asked in any case.
        """
        begin = monotonic()
        if again or begin >= self._until:
            self._seen = self._ask()
            end = monotonic()
            self._until = end + min(FRESH * (end - begin), STALE)
        return self._seen

    def last(self) -> Seen | None:
        """What there was when somebody looked last; never asks."""
        return self._seen

    def _ask(self) -> Seen | None:
        link = self._link
        if link.closed or link.ended or link.lost_since is not None:
            return None
        end = monotonic() + PATIENCE
        try:
            status = link.ask(Query(0, "status"), timeout=PATIENCE)
            engines = link.ask(Query(0, "engines"), timeout=max(0.0, end - monotonic()))
        except EngineryError:  # it shows as what is missing
            return None
        running = frozenset(id for each in engines for id in each["running"])
        return Seen(status, engines, None if status["scheme"] == "pure" else running)
