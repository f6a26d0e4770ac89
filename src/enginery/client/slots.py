"""One task as its client knows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from weakref import ref

from ..core import messages as m
from .outputs import Outputs

MANY_GONE = 20_000
"""Slots that are gone after which it is looked whether few are left."""


class Slot:
    """A task and, once it is done, its outcome.

    Each of `watchers` is called with the slot when the outcome is there, by the thread that reads
    the sockets and with `Link.changed` held.
    """

    __slots__ = (
        "__weakref__",
        "engine",
        "id",
        "label",
        "mute",
        "name",
        "outcome",
        "outputs",
        "received",
        "sending",
        "submitted",
        "watchers",
    )

    def __init__(
        self,
        id: str,
        name: str = "",
        engine: int = -1,
        submitted: float = 0.0,
        label: str = "",
    ) -> None:
        self.id = id
        self.name = name
        self.engine = engine  # the engine asked for, or the one it ran on
        self.submitted = submitted
        self.label = label
        self.mute = False  # what it puts out goes to another client
        self.received = 0.0
        self.outcome: m.Outcome | None = None
        self.outputs: Outputs | None = None  # what it has put out, once it has
        self.watchers: tuple[Callable[[Slot], None], ...] = ()
        self.sending: tuple[Callable[[], object], ...] = ()  # each: whether the caller's memory is

    @property
    def sent(self) -> bool:
        """Whether the memory of its arguments is not needed any more."""
        return self.outcome is not None or not any(still() for still in self.sending)

    def end(self, outcome: m.Outcome, now: float) -> None:
        """The task is done."""
        self.received = now
        self.engine = outcome.engine
        self.outcome = outcome
        watchers, self.watchers = self.watchers, ()
        for watcher in watchers:
            watcher(self)

    def put_out(self, output: m.Output) -> None:
        """The task has put out something."""
        if self.outputs is None:
            self.outputs = Outputs()
        self.outputs.add(output)

    @property
    def last_outputs(self) -> Outputs | None:
        """What the attempt that counts has put out so far, if anything."""
        outputs, outcome = self.outputs, self.outcome
        if outputs is None or (outcome is not None and outputs.attempt != outcome.attempt):
            return None
        return outputs

    @property
    def all_put_out(self) -> bool:
        """Whether the task has ended and all that it has put out is here."""
        outcome = self.outcome
        if outcome is None:
            return False
        if not outcome.outputs or self.mute:
            return True
        return self.outputs is not None and self.outputs.complete(outcome)

    def __repr__(self) -> str:
        return f"<Slot {self.id} {self.outcome.status if self.outcome else 'pending'}>"


class ShareSlot(Slot):
    """Some items of a chunk that one engine was given: from `start` up to `stop`, once they ended.

    It is a task of its own, which nobody knows here before it has ended or put something out.
    """

    __slots__ = ("start", "stop")

    def __init__(self, id: str, whole: Slot) -> None:
        super().__init__(id, whole.name, -1, whole.submitted, whole.label)
        self.mute = whole.mute
        self.start = self.stop = 0


class ChunkSlot(Slot):
    """A task that stands for items `start` to `stop`, which engines divide among themselves.

    Each of `listeners` is called with each share that has ended, as `watchers` are.
    """

    __slots__ = ("_ended", "listeners", "shares", "speaking", "start", "stop")

    def __init__(
        self,
        id: str,
        name: str = "",
        submitted: float = 0.0,
        label: str = "",
        items: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__(id, name, -1, submitted, label)
        self.start, self.stop = items  # the same, when it is not known (yet) to be a chunk
        self.shares: list[ShareSlot] = []  # those that have ended, in that order
        self._ended: dict[str, ShareSlot] = {}  # the same, by their ids
        self.speaking: dict[str, ShareSlot] = {}  # others that have put something out
        self.listeners: tuple[Callable[[ShareSlot], None], ...] = ()

    def share(self, id: str) -> ShareSlot:
        """A share that has not ended."""
        share = self.speaking.get(id)
        if share is None:
            share = self.speaking[id] = ShareSlot(id, self)
        return share

    def ended_share(self, id: str) -> ShareSlot | None:
        """A share that has ended, if this is one."""
        return self._ended.get(id)

    def share_ended(self, outcome: m.Outcome, now: float) -> ShareSlot | None:
        """A share has ended; None when that was known already."""
        known = self._ended.get(outcome.id)
        if known is not None and (known.start, known.stop) == (outcome.start, outcome.stop):
            return None
        share = self.speaking.pop(outcome.id, None) or ShareSlot(outcome.id, self)
        share.start, share.stop = outcome.start, outcome.stop
        self.shares.append(share)
        self._ended[share.id] = share
        share.end(outcome, now)
        for listener in self.listeners:
            listener(share)
        return share


class _Ref(ref[Slot]):
    """Refers to a slot and knows under which id that is found."""

    __slots__ = ("id",)
    id: str


class KnownSlots:
    """Slots by the ids of their tasks, for as long as somebody else holds them.

    A `WeakValueDictionary` does the same at twice the cost, of which every call has its part.
    """

    __slots__ = ("_gone", "_refs")

    def __init__(self) -> None:
        refs: dict[str, _Ref] = {}

        gone_since = 0

        def gone(each: _Ref) -> None:
            nonlocal gone_since
            if refs.get(each.id) is each:  # else there is a newer slot of that id
                del refs[each.id]
            gone_since += 1
            if gone_since >= MANY_GONE:  # a dictionary gives its room back to no one
                gone_since = 0
                left = refs.copy() if len(refs) < MANY_GONE // 2 else None
                if left is not None:
                    refs.clear()
                    refs.update(left)

        self._refs, self._gone = refs, gone

    def add(self, slots: Iterable[Slot]) -> None:
        """Know these, too."""
        for slot in slots:
            self.know(slot)

    def know(self, slot: Slot) -> None:
        """Know this one, too."""
        each = _Ref(slot, self._gone)
        each.id = slot.id
        self._refs[slot.id] = each

    def get(self, id: str) -> Slot | None:
        """The slot of this task, if it is still held."""
        each = self._refs.get(id)
        return None if each is None else each()

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self.get(id) is not None

    def values(self) -> list[Slot]:
        """All that are still held."""
        refs = self._refs.copy()  # at one go: slots may be collected at any moment
        return [slot for each in refs.values() if (slot := each()) is not None]
