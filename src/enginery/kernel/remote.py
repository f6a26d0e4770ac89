"""`with mec: client.remote()`: blocks in the form of 2008, which run on the engines.

`client.remote()` stands first in the block. It finds out which block that is, from a note that
the client has made on entering, takes the text of the rest, and leaves the block by an exception
that only the end of that block catches; the end then executes the text.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ..client.block import caller
from ..client.block_text import FORM_2008, Body, body_of
from ..frames import trimmed


class Entered:
    """A `with` statement that a client has entered; `called` once `client.remote()` was called."""

    def __init__(self, client: Any, frame: FrameType) -> None:
        self.client, self.frame, self.line = client, frame, frame.f_lineno
        self.called = False


class Leave(BaseException):
    """Leaves a block, whose end catches this, and executes the rest of it elsewhere."""

    def __init__(self, entered: Entered, body: Body) -> None:
        super().__init__(f"{FORM_2008} has left its block, and something else has caught that")
        self.entered, self.body = entered, body


class _Open(threading.local):
    """The blocks of each thread that are not left."""

    def __init__(self) -> None:
        self.blocks: list[Entered] = []


_open = _Open()


def enter(client: Any) -> None:
    """The caller's frame enters a `with` statement of this client."""
    _open.blocks.append(Entered(client, caller()))


def leave(client: Any) -> Entered | None:
    """The caller's frame leaves the last block of this client; None when there is none."""
    frame = caller()
    own = [entered for entered in _open.blocks if entered.client is client]
    here = [entered for entered in own if entered.frame is frame] or own  # an ExitStack has others
    if not here:
        return None
    _open.blocks.remove(here[-1])
    return here[-1]


@trimmed
def remote() -> None:
    """Run the rest of this block on the engines, and not here: first statement of `with mec:`.

    SyntaxError for a block that cannot run elsewhere, RuntimeError in no block of a client, and
    where the text of the block cannot be had; nothing runs then.
    """
    frame = caller()
    entered = next(_of(frame), None)
    if entered is None:
        raise RuntimeError(
            f"{FORM_2008} is the first statement of a `with mec:` block, where mec is a "
            "MultiEngineClient; it was called elsewhere, and nothing was run"
        )
    entered.called = True
    raise Leave(entered, body_of(frame, entered.line, frame.f_lineno))


def _of(frame: FrameType) -> Iterator[Entered]:
    """The blocks that this frame has entered, innermost first."""
    return (entered for entered in reversed(_open.blocks) if entered.frame is frame)
