"""The items of one share of a map, as the main thread runs them.

They run in a loop that does next to nothing besides, since an item may take less than a
microsecond. Yet each is a call of its own: what it raises is its own failure, what it prints is
counted as its own output, an interrupt hits it alone, and its number is noted in the page before it
begins, so that after a SIGKILL it is known which had begun.

The control thread may *cut* the share at any moment: no item behind the one that runs begins, and
the values so far are told at once. Nothing is locked for that between items. The main thread notes
the number of an item *before* it looks whether that may begin (`limit`); who cuts sets the limit
*before* it looks at the number. So either the main thread sees the limit, or who cuts sees the
number, and sets the limit again, behind it. The item that is noted is always left to the main
thread to tell of.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Any

from ..core import messages as m
from ..error import UnmetDependency, UnsendableError
from ..wire import payload
from ..wire.dependent import Unfit
from ..wire.failure import Failure
from ..wire.items import PLAIN, Sealed, calls_of, seal
from .call import Lend, own, ready, reason_of, to_send
from .page import ITEM

if TYPE_CHECKING:
    from ..wire.functions import Function
    from .life import Life
    from .page import Page

SLICE = 0.005
"""Seconds after which no further item begins: it was thought to be over long ago, and what is left
is shared anew.
"""

ENOUGH = 1 << 20
"""Bytes of values (other than scalars) after which no further item begins."""


class Share:
    """See the module's theory."""

    def __init__(self, attempt: m.Attempt, life: Life, page: Page, lend: Lend | None) -> None:
        assert attempt.chunk is not None
        self.attempt = attempt
        self.chunk = attempt.chunk
        self.limit = self.chunk.stop  # the first item that is not to begin
        self._life, self._page, self._lend = life, page, lend
        self._key = attempt.id, attempt.attempt
        self._name = attempt.id.partition(".")[0]
        self._function: Function | None = None
        self._lock = threading.Lock()  # of what follows, but for appending a value
        self._told: list[m.Result] = []  # of items that have ended, not taken yet
        self._first = self.chunk.start  # the first item of which there is no result
        self._values: list[Any] = []  # of the items from there on
        self._since = 0.0  # when that began
        self._size = 0  # bytes of sealed values
        self._over = False
        self._failed = False  # the last item

    def run(self) -> tuple[m.Result, ...]:
        """Run the items; the results of those that were not told by `cut`, at least one."""
        life, chunk = self._life, self.chunk
        life.streams.begin_items(self._speaks)
        self._since = time.time()
        error = life.interrupts.run(self._key, self._prepare)
        if error is not None:
            with self._lock:
                self._over = True  # there is nothing to be cut
            self._fails(chunk.start, self._since, error, chunk.stop - chunk.start)
        else:
            self._run_grains(time.time() + SLICE)
        if os.getpid() != life.machine.pid:  # a process that user code has forked, and let go on
            os._exit(int(self._failed))
        life.streams.end()
        with self._lock:
            self._over = True
            self._close(self._lend)
            if not self._told:
                self._told.append(self._result("ok", (b"", ()), self._since, 0))
            return _following(self._told, self._first)

    def _prepare(self) -> None:
        life = self._life
        self._function = ready(life.functions, life.namespace, self.attempt.function)

    def _run_grains(self, until: float) -> None:
        chunk, arguments = self.chunk, memoryview(self.attempt.arguments)
        assert self._function is not None
        item, begin = chunk.start, 0
        for end in chunk.ends:
            if item >= self.limit:
                return
            function, calls = calls_of(
                self._function.call, arguments[begin:end], item % chunk.grain
            )
            item = self._run_calls(function, calls, item, until)
            begin = end

    def _run_calls(self, function: Any, calls: Any, item: int, until: float) -> int:
        """Run the calls of a grain, as far as they may; the item after the last that ran."""
        interrupts, streams, key = self._life.interrupts, self._life.streams, self._key
        cells, clock, append = self._page.cells, time.time, self._values.append
        for args in calls:
            if item >= self.limit:  # so it stays in a process that user code has forked
                break
            cells[ITEM] = item
            began = clock()
            if began >= until:
                self.limit = min(self.limit, item)
            if item >= self.limit:
                break
            interrupts.running = key
            try:
                if interrupts.requested is not None:
                    interrupts.heed(key)
                value = function(*args)
                if type(value) not in PLAIN:
                    value = self._seal(value)
                interrupts.running = None
            except BaseException as error:  # told to the client, as the failure of this item
                interrupts.running = None
                self._fails(item, began, error)
            else:
                append(value)
                if streams.naming is None:
                    self._spoke(item, began)
            item += 1
        return item

    def _seal(self, value: Any) -> Sealed:
        sealed = seal(value, own)
        self._size += len(sealed.data) + sum(memoryview(each).nbytes for each in sealed.buffers)
        if self._size > ENOUGH:
            self.limit = 0
        return sealed

    def _speaks(self) -> tuple[str, int]:
        """The item that runs puts something out: whose output that is."""
        return f"{self._name}.{self._page.item}", self.attempt.attempt

    # --- what has ended -------------------------------------------------------------------------

    def _fails(self, item: int, began: float, error: BaseException, items: int = 1) -> None:
        """An item has raised, or nothing could be called at all."""
        self._failed = True
        if os.getpid() != self._life.machine.pid:
            return
        outputs = self._quiet_again(item)
        kind: Any = "load" if self._function is None else "call"
        if isinstance(error, UnsendableError):
            kind = "result"
        withheld = {} if self._function is None else self._function.withheld
        failure = Failure.capture(error, kind=kind, withheld=withheld)
        packed = payload.dumps(failure, lend=False)
        status: m.Ended = "error"
        if isinstance(error, UnmetDependency):
            status = "unfit" if isinstance(error, Unfit) else "refused"
        with self._lock:
            self._close(self._lend)
            result = self._result(status, packed, began, items)
            result.outputs = outputs
            if status != "error":
                result.reason = reason_of(error)
                result.changes = error.changes if isinstance(error, Unfit) else 0
            self._told.append(result)
            self._first += items

    def _spoke(self, item: int, began: float) -> None:
        """An item has put something out: that is told as its own."""
        outputs = self._quiet_again(item)
        with self._lock:
            value = self._values.pop()
            self._close(self._lend)
            self._values.append(value)
            self._since = began
            self._close(self._lend)
            self._told[-1].outputs = outputs

    def _quiet_again(self, item: int) -> int:
        """How much this item has put out, whose output ends here.

        What a thread of the user's put out when an earlier one ran is nobody's.
        """
        streams = self._life.streams
        mine = streams.running == (f"{self._name}.{item}", self.attempt.attempt)
        outputs = streams.end()
        streams.begin_items(self._speaks)
        return outputs if mine else 0

    def _close(self, lend: Lend | None) -> None:
        """Make a result of the values so far."""
        if self._values:
            self._take(len(self._values), lend)

    def _take(self, items: int, lend: Lend | None) -> None:
        values = self._values[:items]
        del self._values[:items]
        packed = to_send(payload.dumps(values, lend=False), lend)
        self._told.append(self._result("ok", packed, self._since, items))
        self._first += items
        self._since = time.time()

    def _result(
        self, status: m.Ended, packed: tuple[bytes, tuple[m.Buffer, ...]], began: float, items: int
    ) -> m.Result:
        id = f"{self._name}.{self._first}"
        return m.Result(id, self.attempt.attempt, status, *packed, began, time.time(), items=items)

    # --- the control thread ---------------------------------------------------------------------

    def cut(self) -> tuple[m.Result, ...]:
        """Let no further item begin; what has ended is told by this, and what runs by `run`."""
        with self._lock:
            if self._over:
                return ()
            before, item = self.limit, self._page.item
            self.limit = min(before, item + 1)
            while self._page.item > item and self.limit > item:
                item = self._page.item
                self.limit = item + 1
            ended = item - self._first
            if ended > 0:
                self._take(min(ended, len(self._values)), None)
            told, self._told = self._told, []
            if told and self._first > item:  # the one that is noted is left to `run`
                self._told = [told.pop()]
            if not told:
                if before <= item + 1:
                    return ()
                start = self._told[0].id if self._told else f"{self._name}.{self._first}"
                nothing = self._result("ok", (b"", ()), self._since, 0)
                nothing.id = start
                told.append(nothing)
            return _following(told, item + 1)

    def halt(self, items: int = 0) -> None:
        """Let no further item begin, or none behind the first ones."""
        self.limit = min(self.limit, self.chunk.start + items)


def _following(results: list[m.Result], end: int) -> tuple[m.Result, ...]:
    """These results, of an attempt that goes on until that item."""
    for result in results:
        start = int(result.id.rpartition(".")[2])
        result.running = end - start - result.items
    return tuple(results)
