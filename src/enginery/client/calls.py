"""From functions and arguments to tasks that are on their way, and the memory of what was asked.

Functions are serialized once and named by their content hash, arguments anew for each task. What
cannot be sent raises here, in the caller's thread.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from time import time
from types import FunctionType
from typing import Any, NamedTuple

from msgspec.structs import replace

from ..core.messages import Abort, Buffer, Code, Task, Terms
from ..core.names import content_hash
from ..error import NotSupportedError, UnsendableError
from ..wire import payload
from ..wire.chunks import MapChunk
from ..wire.codec import sayable
from ..wire.functions import FunctionCache, Lend
from ..wire.modules import PushedModules
from ..wire.taking import taken_by
from ..wire.unsendable import explain_unsendable
from .cuts import Cut, cuts
from .inputs import Inputs
from .link import Link
from .parts import items_of
from .remembered import Remembered
from .slots import KnownSlots, Slot

FUNCTION_CACHE_BYTES = 64 << 20
FIRST_BATCH, LAST_BATCH = 32, 1024
"""Tasks handed on at once: few at first, so that engines begin early, then more and more."""

ANYWHERE = -1
"""The engine of a task that any engine may run."""

Args = tuple[Any, ...]
Kwargs = dict[str, Any]


class Wishes(NamedTuple):
    """What a view asks for its tasks, besides that they run; see `core.messages.Task`.

    `recovery` are functions that get the same arguments when the task has failed for good, each
    when the one before it has.
    """

    targets: tuple[int, ...] = ()
    retries: int = 0
    label: str = ""
    terms: Terms | None = None
    recovery: tuple[Callable[..., Any], ...] = ()


class Calls:
    """Makes tasks, submits them over the link, and knows them by their ids afterwards.

    A task that is done is known as long as somebody holds its result; `history` has the ids of
    the last ones, oldest first. `modules` are the modules that go with every function.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self.history = Remembered()
        self.slots = KnownSlots()
        link.remember = self.slots.add
        self.modules = PushedModules()
        self._cache = FunctionCache(FUNCTION_CACHE_BYTES, self._lender)

    def same(
        self,
        f: Callable[..., Any],
        args: Args,
        kwargs: Kwargs,
        name: str,
        *,
        engines: Sequence[int],
        wishes: Wishes,
        waiting: bool = False,
    ) -> list[Slot]:
        """Submit the same call once for each of these engines; it is serialized once.

        `waiting` promises that the caller waits for the results at once.
        """
        hash, blobs = self._function(f, name)
        inputs = Inputs(self.link)
        arguments, buffers = self._arguments(f, args, kwargs, inputs)
        terms = wishes.terms
        if wishes.recovery:
            terms = self._recovering(wishes, blobs)(arguments, buffers)
        if inputs.ids:
            terms = inputs.terms(terms)
        next_id, now = self.link.next_id, time()
        tasks = [
            Task(
                next_id(), hash, arguments, buffers, name, engine,
                wishes.targets, wishes.retries, now, wishes.label, terms,
            )
            for engine in engines
        ]  # fmt: skip
        return self._submit(tasks, blobs, waiting)

    def anywhere(
        self, f: Callable[..., Any], args: Args, kwargs: Kwargs, name: str, *,
        wishes: Wishes, waiting: bool = False,
    ) -> Slot:  # fmt: skip
        """As `same`, once and for any engine; fast for arguments that are scalars."""
        packed = None if wishes.recovery else payload.dumps_scalars((args, kwargs))
        if packed is None or packed[1]:
            (slot,) = self.same(
                f, args, kwargs, name, engines=(ANYWHERE,), wishes=wishes, waiting=waiting
            )
            return slot
        hash, blobs = self._function(f, name)
        link = self.link
        task = Task(
            link.next_id(), hash, packed[0], (), name, ANYWHERE,
            wishes.targets, wishes.retries, time(), wishes.label, wishes.terms,
        )  # fmt: skip
        slot = link.submit_one(task, blobs, waiting)
        self.slots.know(slot)
        self.history.append(slot.id)
        return slot

    def each(
        self,
        f: Callable[..., Any],
        placed: Iterable[tuple[int, Args]],
        kwargs: Kwargs,
        name: str,
        wishes: Wishes,
    ) -> list[Slot]:
        """Submit a call for each (engine, arguments), in batches as they are read."""
        hash, blobs = self._function(f, name)
        recovering = self._recovering(wishes, blobs) if wishes.recovery else None

        def tasks() -> Iterator[Task]:
            next_id, now, terms = self.link.next_id, time(), wishes.terms
            inputs = Inputs(self.link)
            for engine, args in placed:
                arguments, buffers = self._arguments(f, args, kwargs, inputs)
                if recovering is not None:
                    terms = recovering(arguments, buffers)
                asked = terms
                if inputs.ids:
                    asked = inputs.terms(terms)
                    inputs = inputs.next()
                yield Task(
                    next_id(), hash, arguments, buffers, name, engine,
                    wishes.targets, wishes.retries, now, wishes.label, asked,
                )  # fmt: skip

        return self._submit_each(tasks(), blobs)

    def items(
        self, f: Callable[..., Any], sequences: Sequence[Iterable[Any]], name: str, wishes: Wishes
    ) -> list[Slot]:
        """Submit a call for each item of the sequences, many in one task where that can be."""
        hash, blobs = self._function(f, name)

        def tasks() -> Iterator[Task]:
            next_id, now = self.link.next_id, time()
            inputs = Inputs(self.link)
            for cut in cuts(sequences):
                if isinstance(cut, Cut):
                    yield Task(
                        next_id(), hash, cut.arguments, (), name, ANYWHERE, wishes.targets,
                        wishes.retries, now, wishes.label, None, cut.chunk,
                    )  # fmt: skip
                    continue
                arguments, buffers = self._arguments(f, cut, {}, inputs)
                terms = None
                if inputs.ids:
                    terms, inputs = inputs.terms(None), inputs.next()
                yield Task(
                    next_id(), hash, arguments, buffers, name, ANYWHERE, wishes.targets,
                    wishes.retries, now, wishes.label, terms,
                )  # fmt: skip

        return self._submit_each(tasks(), blobs)

    def _submit_each(self, tasks: Iterable[Task], blobs: dict[bytes, Code]) -> list[Slot]:
        """Submit tasks in batches as they come; when making one raises, the others are aborted."""
        slots: list[Slot] = []
        batch: list[Task] = []
        size = FIRST_BATCH
        try:
            for task in tasks:
                batch.append(task)
                if len(batch) >= size or task.chunk is not None:
                    slots += self._submit(batch, blobs)
                    batch, size = [], min(2 * size, LAST_BATCH)
            slots += self._submit(batch, blobs)
        except BaseException as error:  # told to the caller, who has nothing to wait with
            with suppress(NotSupportedError):
                self.abort(slots)
            if isinstance(error, UnsendableError) and slots:
                raise _after_others(error, sum(map(items_of, slots))) from None
            raise
        return slots

    def chain(
        self, calls: Sequence[tuple[Callable[..., Any], Args, Kwargs, str, Wishes]]
    ) -> list[Slot]:
        """Submit the first of these calls as one task, whose recovery the others are, in turn.

        Each is a function, its arguments, its name, and its own wishes; none of these is for an
        engine.
        """
        now = time()
        functions: dict[bytes, Code] = {}
        tasks: list[Task] = []
        inputs = Inputs(self.link)  # of all: the first waits for what any of them takes
        for f, args, kwargs, name, wishes in calls:
            hash, blobs = self._function(f, name)
            functions |= blobs
            arguments, buffers = self._arguments(f, args, kwargs, inputs)
            tasks.append(
                Task(
                    "", hash, arguments, buffers, name, ANYWHERE, wishes.targets, wishes.retries,
                    now, wishes.label, wishes.terms,
                )
            )  # fmt: skip
        if not tasks:
            return []
        first, *recoveries = tasks
        first.id = self.link.next_id()
        if recoveries:
            first.terms = replace(first.terms or Terms(), recoveries=tuple(recoveries))
        first.terms = inputs.terms(first.terms)
        return self._submit([first], functions)

    def abort(self, slots: Iterable[Slot], running: bool = False) -> None:
        """Stop what is not done of these tasks; what runs is left alone unless `running`."""
        ids = [slot.id for slot in slots if slot.outcome is None]
        if ids:
            self.link.ask(Abort(ids, running))

    def outstanding(self) -> list[Slot]:
        """The tasks that are not done."""
        return [slot for slot in self.slots.values() if slot.outcome is None]

    def remember(self, slots: Iterable[Slot]) -> None:
        """Know these tasks by their ids from now on."""
        self.slots.add(slots)

    def _submit(
        self, tasks: list[Task], blobs: dict[bytes, Code], waiting: bool = False
    ) -> list[Slot]:
        if not tasks:
            return []
        slots = self.link.submit(tasks, blobs, waiting)
        self.remember(slots)
        self.history.extend([slot.id for slot in slots])
        return slots

    def _recovering(
        self, wishes: Wishes, blobs: dict[bytes, Code]
    ) -> Callable[[bytes, tuple[Buffer, ...]], Terms]:
        """What gives the terms of one task with its chain of recoveries; `blobs` gets those."""
        chain: list[tuple[bytes, str]] = []
        for f in wishes.recovery:
            name = f"recovery({name_of(f)})"
            hash, more = self._function(f, name)
            blobs.update(more)
            chain.append((hash, name))

        own = _of_each_run(wishes.terms)

        def terms(arguments: bytes, buffers: tuple[Buffer, ...]) -> Terms:
            recoveries = tuple(
                Task(
                    "", hash, arguments, buffers, name, ANYWHERE, wishes.targets, 0,
                    label=wishes.label, terms=own,
                )
                for hash, name in chain
            )  # fmt: skip
            return replace(wishes.terms or Terms(), recoveries=recoveries)

        return terms

    def _function(self, f: Callable[..., Any], name: str) -> tuple[bytes, dict[bytes, Code]]:
        try:
            hash, code = self._cache.serialize(f)
        except UnsendableError as error:
            raise explain_unsendable(name, (), {}, error, f) from None
        if self.modules:
            code = self.modules.with_function(code)
            hash = content_hash(code)
        return hash, {hash: code}

    def _lender(self) -> Lend | None:
        """What large data in a function are put into; where farms are, each task has all of it."""
        return None if self.link.farms else self.link.memory.lend

    def _arguments(
        self, f: Callable[..., Any], args: Args, kwargs: Kwargs, inputs: Inputs
    ) -> tuple[bytes, tuple[Buffer, ...]]:
        packed = payload.dumps_scalars((args, kwargs))
        if packed is not None:
            return packed
        with taken_by(inputs):
            try:
                arguments, buffers = payload.dumps((args, kwargs))
            except UnsendableError as error:
                names = _parameters(f, len(args))
                call = f"{name_of(f)}({', '.join([*names, *kwargs])})"
                raise explain_unsendable(call, args, kwargs, error, names=names) from None
        if inputs.used:
            inputs.look_at(f, args, kwargs)
        return arguments, self.link.memory.lend(buffers) if buffers else buffers


def _of_each_run(terms: Terms | None) -> Terms | None:
    """Those terms that hold for a recovery, too: not when and where it first runs."""
    return terms and replace(terms, after=None, follow=None, timeout=0.0)


def name_of(f: Any) -> str:
    """What people call a function: "fit", "<lambda>"."""
    if type(f) is FunctionType:
        name = f.__name__
        return name if name.isascii() else sayable(name)  # a call costs as much as all of this
    if isinstance(f, functools.partial):
        return name_of(f.func)
    if isinstance(f, MapChunk):
        return name_of(f.function)
    return sayable(str(getattr(f, "__name__", None) or type(f).__name__))


def _parameters(f: Any, n: int) -> list[str]:
    """What the first `n` arguments are called by the function, as far as it says."""
    try:
        parameters = inspect.signature(f).parameters.values()
        names = [p.name for p in parameters if p.kind <= p.POSITIONAL_OR_KEYWORD][:n]
    except (TypeError, ValueError):
        names = []
    return names + ["…"] * (n - len(names))


def _after_others(error: UnsendableError, submitted: int) -> UnsendableError:
    """The same, of a call whose earlier parts had left already."""
    told = f"The {submitted:,} calls before it were submitted; they are aborted."
    return UnsendableError(str(error).replace("Nothing was submitted.", told))
