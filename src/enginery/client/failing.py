"""Engines that cannot start: what to say of them to who waits for engines."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ..core.messages import Query
from ..error import EngineryError

if TYPE_CHECKING:
    from .link import Link

SOON = 1.0
"""Seconds that the controller has to say why engines are missing."""

NAMED = 3
"""Engines that are named."""


def failing(link: Link, supervisors: Collection[int] | None = None) -> list[str]:
    """What there is to say of each engine that was given up: its lives were too short.

    Only of engines of these supervisors (process ids), if they are given.
    """
    if link.lost_since is not None:
        return []
    try:
        places = link.ask(Query(0, "places"), SOON)
    except EngineryError:  # nobody knows; who waits for engines has something to say anyway
        return []
    told = [
        f"engine {place['id']} on {place['host']} cannot start: {place['failed']}"
        for place in places
        if place["failed"] and not place["here"]
        if supervisors is None or place["supervisor"] in supervisors
    ]
    more = [f"… and {len(told) - NAMED:,} more"] if len(told) > NAMED else []
    return told[:NAMED] + more


def told_failed(link: Link) -> str:
    """The same as lines to follow a message; "" when there is nothing to say."""
    lines = failing(link)
    see = ["See what they printed:  enginery logs"] if lines else []
    return "".join(f"\n  {line}" for line in [*lines, *see])
