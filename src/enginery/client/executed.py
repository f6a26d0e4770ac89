"""The result of `execute`: what the engines say of the code, with what it printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .display import prompts
from .display.shown import notebook
from .failed import Failed
from .metadata import OUTPUT_TIME, metadata
from .results import AsyncResult
from .values import Values

if TYPE_CHECKING:
    from .link import Link, Slot

TITLE = "<Results List>"


class ResultList(list[Any]):
    """The replies of engines, in target order; printed as at the prompts of the engines.

    >>> dview.execute("a = 5", targets=[0, 1])  # doctest: +SKIP
    <Results List>
    [0] In [1]: a = 5
    [1] In [1]: a = 5

    In IPython its prompts are coloured, and in a notebook values and figures are shown as they are.
    """

    def __repr__(self) -> str:
        return "\n".join([TITLE, *map(repr, self)])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(prompts.coloured(repr(self)))

    def _ipython_display_(self) -> None:
        """IPython asks: in a notebook everything is shown in its own form."""
        if notebook() is None:
            raise NotImplementedError
        print(TITLE)
        for reply in self:
            prompts.show(reply)


class ExecuteResult(AsyncResult):
    """As `AsyncResult`; its values are `ExecuteReply` objects, several in a `ResultList`."""

    def __init__(self, client: Any, slots: Sequence[Slot], **form: Any) -> None:
        super().__init__(client, slots, **form)
        self._values = Replies(self._slots, client.link)

    def _unpacked(self) -> Sequence[Any]:
        return self._values.part(0)

    def _assemble(self, values: Sequence[Any]) -> Any:
        return values[0] if self._scalar else ResultList(values)


class Replies(Values):
    """The replies of engines, completed by what else came from them."""

    def __init__(self, slots: Sequence[Slot], link: Link) -> None:
        super().__init__(slots, None)
        self._link = link

    def _unpack(self, i: int) -> Sequence[Any]:
        replies, slot = super()._unpack(i), self._slots[i]
        self._link.wait(lambda: slot.all_put_out, OUTPUT_TIME)
        for reply in replies:
            if not isinstance(reply, Failed) and slot.outcome is not None:
                reply.came_with(metadata(slot, None))
        return replies
