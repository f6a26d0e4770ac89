"""The result of `execute`: what the engines say of the code, with what it printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .failed import Failed
from .metadata import all_printed, printed
from .results import AsyncResult
from .values import Values

if TYPE_CHECKING:
    from .link import Link, Slot

OUTPUT_TIME = 5.0
"""Seconds that output may come after the reply that it belongs to."""


class ExecuteResult(AsyncResult):
    """As `AsyncResult`; its values are `ExecuteReply` objects, which know engine and output."""

    def __init__(self, client: Any, slots: Sequence[Slot], **form: Any) -> None:
        super().__init__(client, slots, **form)
        self._values = Replies(self._slots, client.link)


class Replies(Values):
    """The replies of engines, completed by what else came from them."""

    def __init__(self, slots: Sequence[Slot], link: Link) -> None:
        super().__init__(slots, None)
        self._link = link

    def _unpack(self, i: int) -> Sequence[Any]:
        replies, slot = super()._unpack(i), self._slots[i]
        self._link.wait(lambda: all_printed(slot), OUTPUT_TIME)
        for reply in replies:
            if not isinstance(reply, Failed) and slot.outcome is not None:
                reply.engine = slot.outcome.engine
                reply.stdout = printed(slot, "stdout")
        return replies
