"""The client's connection to the controller, as the rest of the client uses it.

Callers submit, ask and wait; news comes in batches, and `changed` is notified once for each: a task
costs a slot and no lock of its own. Nothing here knows the client, so that a forgotten client can
close itself.
"""

from __future__ import annotations

import contextlib
import os
import platform
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from sys import intern
from typing import TYPE_CHECKING, Any
from weakref import ref

from .. import error as errors
from ..core import messages as m
from ..core.client import Client
from ..core.events import (
    Answered,
    Asked,
    Closed,
    Delivered,
    EnginesChanged,
    GivenUp,
    Joined,
    Stop,
    Submitted,
)
from ..core.pools import chunk_id
from ..core.roles import MOST
from ..error import ControllerLost, EngineryError, NoControllerError, UnsendableError
from ..net import monitors, sockets
from ..net.keys import ConnectionFile
from ..version import __version__
from ..wire import codec
from ..wire.memory.peer import Memory
from .admission import Admission
from .driver import Driver, News
from .interrupted import Presses
from .slots import ChunkSlot, Slot

if TYPE_CHECKING:
    from ..net.tunnels import Tunnel

__all__ = ["Link", "Slot"]

PROBE = 0.1
"""Seconds between two looks whether a controller that was to end still listens."""

PATIENCE = 10.0
"""Seconds without a connection after which a wait gives up."""

LATE_OUTPUT = 10_000
"""Finished tasks at most whose last output is still expected."""


class Link:
    """See the module's text.

    Raises NoControllerError when there is no answer in `timeout` seconds.
    """

    def __init__(
        self, file: ConnectionFile, timeout: float = 10.0, tunnel: Tunnel | None = None
    ) -> None:
        self.file = file
        self._tunnel = tunnel  # through which `file` leads; it is closed with this link
        self.engines: dict[int, m.EngineInfo] = {}
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        self.welcome: m.Welcome | None = None
        self._restricted = True  # by the role of the key
        self.ended = ""  # why the controller will not talk to us any more
        self.lost_since: float | None = None
        self._half_back = False  # one of two lanes has been back since
        self.slots: dict[str, Slot] = {}
        self._fetching: dict[Slot, int] = {}  # those only fetched, and how many fetches are at it
        self.remember: Callable[[Sequence[Slot]], None] = _forgetful  # gets shares, as they end
        self.presses = Presses(self)
        self._pid = os.getpid()
        self._failed: monitors.Failed | None = None
        self.telling: dict[str, Slot] = {}  # tasks that have said how far they are
        self._expecting: OrderedDict[str, Slot] = OrderedDict()
        self._answers: dict[int, Answered | None] = {}  # None: it is waited for
        self._numbers = count(1)
        self._requests = count(1)
        self._posted = 0  # bytes of all submissions that were handed over
        self._posted_tasks = 0
        self._joined: set[str] = set()
        self._core = Client(
            os.urandom(16),
            host=sockets.hostname(),
            pid=os.getpid(),
            version=__version__,
            python=platform.python_version(),
        )
        self.memory = Memory()
        self._core.memory = self.memory.probe.name
        self.admission = Admission(self)
        self._driver = Driver(file, self._core, self._tell, self.memory)
        try:
            self._connect(timeout)
        except BaseException:
            self.close()
            raise

    def _connect(self, timeout: float) -> None:
        def arrived() -> bool:
            return len(self._joined) == 2 or bool(self.ended) or self._failed is not None

        self._await(arrived, time.monotonic() + timeout, hopeful=True)
        if len(self._joined) == 2 and not self.ended:
            return
        failure = NoControllerError(
            self.ended or f"{self.file.url} did not answer in {timeout:g} s"
        )
        failure.kind = "refused" if self.ended else self._failed.kind if self._failed else "silent"
        raise failure

    @property
    def id(self) -> str:
        """This client's short public id, with which the ids of its tasks begin."""
        return self._core.id

    @property
    def scheme(self) -> str:
        """The name of the load-balancing scheme in use."""
        return self.welcome.scheme if self.welcome else ""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._driver.closed

    # --- for callers, from any thread -------------------------------------------------------------

    def next_id(self) -> str:
        """The id of the next task."""
        return f"{self._core.id}-{next(self._numbers)}"

    def submit(
        self, tasks: list[m.Task], functions: dict[bytes, m.Code], waiting: bool = False
    ) -> list[Slot]:
        """Hand tasks over; what happens when there is no room for them says `admission`.

        `waiting` promises that the caller waits for them at once: they leave then.
        """
        if self.presses.handler is not None:
            self.presses.put_back()
        self._check()
        if self._restricted:
            self._check_allowed(tasks)
        slots = [
            Slot(t.id, t.name, t.engine, t.submitted, t.label)
            if t.chunk is None
            else ChunkSlot(t.id, t.name, t.submitted, t.label, (t.chunk.start, t.chunk.stop))
            for t in tasks
        ]
        size = 0
        for slot, task in zip(slots, tasks, strict=True):
            size += task.size()
            if task.buffers:
                slot.sending = self._sending(task)
        if self._core.lacking or self.admission.queue_limit or not self.credited:
            self.admission.enter(len(tasks))
        with self._lock:  # that of `changed`, whose own `with` costs more
            for slot in slots:
                self.slots[slot.id] = slot
            self._posted += size
            self._posted_tasks += len(tasks)
        self._driver.post(Submitted(tasks, functions), size, wake=not waiting)
        return slots

    def submit_one(
        self, task: m.Task, functions: dict[bytes, m.Code], waiting: bool = False
    ) -> Slot:
        """As `submit`, for one task without buffers: there may be very many of these."""
        driver, core = self._driver, self._core
        if self.presses.handler is not None:
            self.presses.put_back()
        if driver.closed or self.ended or self._pid != os.getpid():
            self._check()
        if self._restricted:
            self._check_allowed([task])
        slot = Slot(task.id, task.name, task.engine, task.submitted, task.label)
        size = task.size()
        under_way = core.unaccepted_bytes + core.unsent_bytes + self._posted - driver.taken
        if (
            under_way > core.credit
            or core.lacking
            or core.credit_tasks
            or self.admission.queue_limit
        ):
            self.admission.enter(1)
        with self._lock:
            self.slots[slot.id] = slot
            self._posted += size
            self._posted_tasks += 1
        driver.post(task, size, not waiting, functions)
        return slot

    def fetch(self, ids: Sequence[str], timeout: float | None = 10.0) -> list[Slot]:
        """Slots for tasks of any client, which fill as their outcomes come; UnknownTask."""
        with self.changed:
            slots = [self._fetched(id) for id in ids]
        try:
            answer = self.ask(m.Query(0, "fetch", list(ids)), timeout)
            for slot in slots:
                if isinstance(slot, ChunkSlot) and slot.id in answer.get("items", ()):
                    slot.start, slot.stop = answer["items"][slot.id]
            if unknown := answer["unknown"]:
                raise errors.UnknownTask(
                    f"no task has the id {unknown[0]!r}, or its result is not kept any more"
                )
        except BaseException:
            with self.changed:
                self._not_fetched(slots)
            raise
        with self.changed:
            for slot in slots:
                self._fetching.pop(slot, None)
        return slots

    def _fetched(self, id: str) -> Slot:
        """The slot of a task that is about to be fetched."""
        slot = self.slots.get(id)
        if slot is None and isinstance(whole := self.slots.get(chunk_id(id)), ChunkSlot):
            return whole.ended_share(id) or whole.share(id)
        if slot is None:
            slot = self.slots[id] = ChunkSlot(id)  # perhaps
            slot.mute = True  # what it puts out went to who submitted it
            self._fetching[slot] = 0
        if slot in self._fetching:
            self._fetching[slot] += 1
        return slot

    def _not_fetched(self, slots: Sequence[Slot]) -> None:
        """Forget those that were made for a fetch which has failed, unless another one goes on."""
        for slot in slots:
            if slot in self._fetching:
                self._fetching[slot] -= 1
                if not self._fetching[slot]:
                    del self._fetching[slot]
                    self.slots.pop(slot.id, None)

    def _sending(self, task: m.Task) -> tuple[Callable[[], object], ...]:
        """What tells whether memory of the caller's is still to be sent.

        The core keeps the buffers until the controller has them. Nobody says so in a farm.
        """
        if task.engine < 0 and self.farms:
            return (lambda: True,)
        return tuple(ref(buffer) for buffer in task.buffers if buffer.part is None)

    def expect(self, slots: Sequence[Slot]) -> None:
        """Outcomes of these tasks will come without a submission."""
        with self.changed:
            for slot in slots:
                self.slots[slot.id] = slot

    def forget(self, slots: Sequence[Slot]) -> None:
        """They will not, after all."""
        with self.changed:
            for slot in slots:
                self.slots.pop(slot.id, None)

    def wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for news until `done()`; False when the time (seconds) is over first.

        ControllerLost when the controller has been away for too long to hope.
        """
        deadline = until(timeout)
        if self.presses.handler is None:
            return self._await(done, deadline)
        self.presses.put_back()
        ended = self._await(done, deadline)
        self.presses.put_back()  # if its time has come meanwhile
        return ended

    def look(self) -> None:
        """Take up the news that has come, if the I/O thread rests; never waits."""
        if self.presses.handler is not None:
            self.presses.put_back()
        if self._driver.resting:
            self._driver.lead(lambda: False, 0)

    def ask(self, message: Any, timeout: float | None = 10.0) -> Any:
        """Say something on the control lane and give the controller's answer.

        When that does not come in time (seconds; TimeoutError), it is not asked again later.
        """
        self._check()
        if isinstance(message, m.Abort):
            self._check_abort(message)
        number = next(self._requests)
        try:
            self._ask(message, number)
            if not self.wait(lambda: self._answers[number] is not None, timeout):
                raise _unanswered(timeout)
            return self._answer(number)
        finally:
            self._asked(number)

    def ask_last(self, message: Any, timeout: float = 10.0) -> None:
        """Say what ends the controller; its answer, its goodbye, or its absence will do.

        A message that comes just before the connection ends may be lost.
        """
        from .unreached import probe  # needed only here, and by who finds no controller

        self._check()
        number = next(self._requests)
        end = time.monotonic() + timeout

        def told() -> bool:
            return self._answers[number] is not None or bool(self.ended)

        try:
            self._ask(message, number)
            while not told():
                rest = end - time.monotonic()
                if rest <= 0:
                    raise _unanswered(timeout)
                if self.lost_since is None:
                    self.wait(lambda: told() or self.lost_since is not None, rest)
                elif probe(self.file.url) == "closed":
                    return
                else:
                    self.wait(told, min(rest, PROBE))
            self._answer(number)
        finally:
            self._asked(number)

    def _ask(self, message: Any, number: int) -> None:
        """Say something on the control lane; the answer will have this number."""
        message.number = number
        try:
            frames = codec.encode([message])  # at the helm it would fail for all that goes with it
        except (TypeError, ValueError, OverflowError) as error:
            raise UnsendableError(f"the controller cannot be asked that: {error}") from None
        role = self.welcome.role if self.welcome is not None else ""
        most = MOST.get(role)
        if most is not None and sum(map(len, frames)) > most:
            told = f"with a {role} key a question has {most >> 20} MB at most: ask in parts"
            raise UnsendableError(told)
        self._answers[number] = None
        self._driver.post(Asked(message), wake=False)

    def _answer(self, number: int) -> Any:
        answer = self._answers[number]
        if answer is None:
            return None
        if answer.error:
            raise getattr(errors, answer.error, EngineryError)(answer.reason)
        return answer.value

    def _asked(self, number: int) -> None:
        """Nobody waits for this answer any more, whether it has come or not."""
        with self._lock:
            unanswered = self._answers.pop(number, self) is None
        if unanswered and not self.closed:
            self._driver.post(GivenUp(number))

    def call(self, callback: Callable[[], None]) -> None:
        """Call this soon, in a thread of this link's where it may wait; it must not raise."""
        self._driver.call(callback)

    def end(self, why: str) -> None:
        """The controller is known to have ended, though its goodbye may not have come."""
        with self.changed:
            self.ended = self.ended or why
            self.changed.notify_all()
        self._driver.wake()

    def close(self, timeout: float = 5.0) -> None:
        """Say goodbye and end the thread, after what was submitted is accepted.

        With no connection to the controller, there is nothing to wait for.
        """
        if self.closed or self._pid != os.getpid():
            return
        with contextlib.suppress(EngineryError):
            self.wait(lambda: not (self._under_way and self._here), timeout)
        self._driver.close(timeout)
        if self._tunnel is not None:
            self._tunnel.close()
        if self.presses.handler is not None:
            self.presses.put_back()

    @property
    def _here(self) -> bool:
        """Whether the controller is there."""
        return bool(self._joined) and self.lost_since is None and not self.ended

    @property
    def refusal(self) -> str:
        """Why the controller takes no more tasks, as far as it has told."""
        return self._core.lacking

    @property
    def credited(self) -> bool:
        """Whether no more is under way than the controller gives credit for."""
        core = self._core
        few = not core.credit_tasks or self._under_way_tasks < core.credit_tasks
        return few and self._under_way <= core.credit

    @property
    def _under_way(self) -> int:
        """Bytes that were submitted and are not accepted."""
        return self._core.pending_bytes + self._posted - self._driver.taken

    @property
    def _under_way_tasks(self) -> int:
        """The same in tasks."""
        return self._core.pending_tasks + self._posted_tasks - self._driver.taken_tasks

    def _check(self) -> None:
        if self.closed:
            raise NoControllerError("this client is closed; make a new one: rc = Client()")
        if self._pid != os.getpid():  # threads do not follow into a fork
            raise NoControllerError("a client cannot be used after a fork; make a new one there")
        if self.ended:
            raise ControllerLost(f"the controller has ended: {self.ended}")

    def _check_allowed(self, tasks: list[m.Task]) -> None:
        """The controller refuses it anyway; here the call itself can say so."""
        role = self.welcome.role if self.welcome else ""
        if role == "monitor" or (role == "task" and any(task.engine >= 0 for task in tasks)):
            may = "watch the cluster" if role == "monitor" else "use load-balanced views"
            raise errors.NotAllowedError(
                f"a {role} key may not do this: it may only {may}\n"
                "  Connect with a client key: Client() or Client('.../ipcontroller-client.json')"
            )

    @property
    def farms(self) -> bool:
        """Whether the scheme is pure: balanced tasks pass the controller by."""
        return self.welcome is not None and self.welcome.farm_port > 0

    def _check_abort(self, abort: m.Abort) -> None:
        farmed = next((id for id in abort.ids if id in self._core.farming.tasks), None)
        if farmed is not None:
            raise errors.NotSupportedError(
                f"task {farmed} cannot be aborted: by the scheme 'pure' nobody knows where it is\n"
                "  A controller with another scheme can: ipcontroller --scheme=leastload"
            )

    # --- waiting --------------------------------------------------------------------------------

    def _await(
        self, done: Callable[[], bool], deadline: float | None, hopeful: bool = False
    ) -> bool:
        """Wait until `done()`, at the helm if it can be had, else for who is there."""
        while not done():
            now = time.monotonic()
            if not hopeful:
                self._give_up(now)
            if deadline is not None and now >= deadline:
                return False
            rest = self._rest(deadline, now)
            if not self._lead(done, rest):
                self._driver.wake()
                with self.changed:
                    if not done():
                        # Who leads may leave at any moment: look again soon whether it did.
                        self.changed.wait(0.05 if rest is None else min(rest, 0.05))
        return True

    def _lead(self, done: Callable[[], bool], rest: float | None) -> bool:
        """Drive until `done()`, or until something is amiss that was not before."""
        known = self._trouble()
        return self._driver.lead(lambda: done() or self._trouble() != known, rest)

    def _trouble(self) -> tuple[str, float | None]:
        """That because of which a wait may have to give up, now or later."""
        return self.ended, self.lost_since

    def _rest(self, deadline: float | None, now: float) -> float | None:
        """Seconds until a wait has to look again."""
        rest = [] if deadline is None else [deadline - now]
        if self.lost_since is not None:
            rest.append(max(self.lost_since + PATIENCE - now, 0.01))
        return min(rest, default=None)

    def _give_up(self, now: float) -> None:
        if self.ended:
            raise ControllerLost(f"the controller has ended: {self.ended}")
        if self.closed:
            raise ControllerLost("this client was closed while it waited")
        if self.lost_since is not None and now - self.lost_since >= PATIENCE:
            raise ControllerLost(
                f"no connection to the controller at {self.file.url} for {PATIENCE:g} s\n"
                "  What had been submitted may still run there; waiting again is possible."
                f"{self._tunnel_trouble()}"
            )

    def _tunnel_trouble(self) -> str:
        trouble = self._tunnel.in_words() if self._tunnel is not None else ""
        return f"\n  It is reached through ssh: {trouble}" if trouble else ""

    # --- news, from the thread at the helm ------------------------------------------------------

    def _tell(self, news: News) -> None:
        now = time.time()
        with self.changed:
            for item in news:
                self._note(item, now)
            self.changed.notify_all()

    def _note(self, item: Any, now: float) -> None:
        match item:
            case Delivered(outcomes=outcomes, outputs=outputs):
                for output in outputs:
                    self._output(output)
                for outcome in outcomes:
                    self._outcome(outcome, now)
            case EnginesChanged(engines=engines):
                self.engines = {engine.id: engine for engine in engines}
            case Answered(number=number):
                if number in self._answers:  # else nobody waits for it
                    self._answers[number] = item
            case Joined(welcome=welcome):
                self.welcome = welcome
                self._restricted = welcome.role != "client"
                self._joined = set(self._core.joined)
                if len(self._joined) == 2:
                    self.lost_since, self._half_back = None, False
                elif self.lost_since is not None and not self._half_back:
                    # It is there, and the other lane has its time, too; but that once.
                    self.lost_since, self._half_back = time.monotonic(), True
            case Closed(conn="farm"):
                pass  # the other lanes tell whether the controller is there
            case Closed(conn=lane):
                self._joined.discard(str(lane))
                if self.lost_since is None:
                    self.lost_since = time.monotonic()
            case monitors.Failed() if self.welcome is None:
                self._failed = item
            case Stop(why=why):
                self.ended = why or "it stopped"

    def _outcome(self, outcome: m.Outcome, now: float) -> None:
        slot = self.slots.pop(outcome.id, None)
        if slot is None:
            self._share(outcome, now)
            return
        # A hundred thousand results name themselves, and a few functions and engines.
        outcome.id = slot.id
        outcome.name, outcome.incarnation = intern(outcome.name), intern(outcome.incarnation)
        slot.end(outcome, now)
        self._ended(slot, outcome)

    def _share(self, outcome: m.Outcome, now: float) -> None:
        """Some items of a chunk have ended."""
        whole = self.slots.get(chunk_id(outcome.id)) if outcome.stop else None
        if isinstance(whole, ChunkSlot):
            outcome.name, outcome.incarnation = whole.name, intern(outcome.incarnation)
            share = whole.share_ended(outcome, now)
            if share is not None:
                self.remember((share,))
                self._ended(share, outcome)

    def _ended(self, slot: Slot, outcome: m.Outcome) -> None:
        self.telling.pop(outcome.id, None)
        if not slot.all_put_out:
            self._expecting[outcome.id] = slot
            if len(self._expecting) > LATE_OUTPUT:
                self._expecting.popitem(last=False)

    def _output(self, output: m.Output) -> None:
        slot = self.slots.get(output.id) or self._expecting.get(output.id)
        if slot is None and isinstance(whole := self.slots.get(chunk_id(output.id)), ChunkSlot):
            slot = whole.share(output.id)
        if slot is not None:
            slot.put_out(output)
            if output.stream == "progress" and slot.outcome is None:
                self.telling[output.id] = slot
            if slot.all_put_out:
                del self._expecting[output.id]


def until(timeout: float | None) -> float | None:
    """When a wait of so many seconds is over; None: never, as when they are negative."""
    try:
        return None if timeout is None or timeout < 0 else time.monotonic() + timeout
    except TypeError:
        told = f"timeout is a number of seconds, or None, not {timeout!r}"
        raise TypeError(told) from None


def rest(end: float | None, least: float = 0.0) -> float | None:
    """Seconds until then, and `least` at least; None: any number."""
    return None if end is None else max(end - time.monotonic(), least)


def _forgetful(slots: Sequence[Slot]) -> None:
    """Nobody has to know them."""


def _unanswered(timeout: float | None) -> errors.TimeoutError:
    return errors.TimeoutError(
        f"the controller has not answered in {timeout:g} s; it may be busy, or cut off\n"
        "  What was submitted goes on.  Look what it does:  enginery doctor"
    )
