"""Who may say what: the one table of the cluster's permissions.

The role of a peer comes from the key of its connection. `MAY_SEND` has a row for every message;
a test fails when a new message has none. What the controller sends is marked with an empty row:
no peer may send it to the controller.
"""

from __future__ import annotations

from typing import Final

from . import messages as m

MOST: Final = {"monitor": 4 << 20}
"""Bytes of one message at most from who may only look: decoded, it takes many times as much."""

ENGINE: Final = frozenset({"engine"})
MONITORS: Final = frozenset({"client", "task", "monitor"})
WORKERS: Final = frozenset({"client", "task"})
CLIENT: Final = frozenset({"client"})
EVERYONE: Final = ENGINE | MONITORS
NOBODY: Final[frozenset[str]] = frozenset()

MAY_SEND: Final[dict[type[m.Message], frozenset[str]]] = {
    m.Hello: EVERYONE,
    m.Goodbye: EVERYONE,
    m.Shares: EVERYONE,
    m.Need: EVERYONE,
    # engines and their supervisors
    m.Results: ENGINE,
    m.Holds: ENGINE,
    m.Output: ENGINE,
    m.Dropped: ENGINE,
    m.Exited: ENGINE,
    m.Kept: ENGINE,
    m.Changed: ENGINE,
    m.Reply: ENGINE,
    # clients; a task-only client addresses no engine (`core.intake` refuses `Task.engine`)
    m.Define: WORKERS,
    m.Submit: WORKERS,
    m.Claim: WORKERS,
    m.Got: MONITORS,
    m.Abort: WORKERS,
    m.Resubmit: WORKERS,
    m.Purge: WORKERS,
    m.Choose: CLIENT,
    m.Query: MONITORS,
    m.Signal: CLIENT,
    m.Clear: CLIENT,
    m.Shutdown: CLIENT,
    # what only the controller says
    m.Welcome: NOBODY,
    m.Refused: NOBODY,
    m.Again: NOBODY,
    m.Accepted: NOBODY,
    m.Room: NOBODY,
    m.Run: NOBODY,
    m.Acked: NOBODY,
    m.Keep: NOBODY,
    # what passes the controller by
    m.Farmed: NOBODY,
    m.Probed: NOBODY,
    m.Deliver: NOBODY,
    m.Engines: NOBODY,
}

MAY_ASK_ENGINES: Final[dict[str, frozenset[str]]] = {
    "usage": MONITORS - {"task"},
    "stacks": CLIENT,  # they show code
    "about": CLIENT,
    "log": CLIENT,
}
"""Who may put which question to engines (`core.inquiries`)."""

SEES_CODE: Final = frozenset({"client", "task"})
"""Roles that may see code, arguments and results; a monitor sees ids, states and times."""


def may_send(role: str, message: m.Message) -> bool:
    """Whether a peer of this role may send this message to the controller."""
    return role in MAY_SEND.get(type(message), NOBODY)


def may_address_engines(role: str) -> bool:
    """Whether a peer of this role may send work to an engine of its choice."""
    return role in CLIENT


def sees_all_tasks(role: str) -> bool:
    """Whether a peer of this role is told about tasks that it did not submit itself."""
    return role in {"client", "monitor"}
