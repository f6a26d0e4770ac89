"""Who reads and writes the client's sockets: its I/O thread, or whoever waits for a result.

The sockets and the core belong to the thread that holds the *helm* (a lock). That is the I/O
thread, until somebody waits: a thread that has to wait anyway takes the helm, so that an answer
reaches it without a hop between threads, which would double the time of a short call. The I/O
thread then rests, and comes back a moment after the last wait is over. Whoever has something to
send while nobody is at the helm sends it itself; otherwise it wakes who is.

While the main thread is at the helm, Ctrl-C is noted, and raised when it lets go: the core is never
left in the middle of a step. One that comes between Python's last look for signals and the system
call that waits does not end that call, so no call waits for long.
"""

from __future__ import annotations

import signal
import threading
import time
from _signal import signal as set_handler  # type: ignore[import-not-found]
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from math import ceil
from types import FrameType
from typing import Any

import zmq

from ..core import messages as m
from ..core.client import Client
from ..core.events import Closed, Drop, Effect, Event, JoinFarm, Opened, Received, Send, Submitted
from ..error import ProtocolError
from ..net import monitors, sockets
from ..net.keys import ConnectionFile
from ..net.wakeup import Wakeup
from ..wire import codec
from ..wire.memory.peer import Memory

REST = 0.02
"""Seconds for which the I/O thread rests after it was not needed."""

LOOK = 0.2
"""Seconds after which a thread that waits looks for a signal that came just before it did."""

MANY = 100
"""Tasks under way with which more may wait for a moment, so that they leave together."""

MOMENT = 0.001
"""Seconds of that."""

NO_FUNCTIONS: Mapping[bytes, m.Code] = {}

News = Sequence[Effect | monitors.Failed]


class Driver:
    """The sockets, the core, and the thread that drives them when nobody else does.

    `tell` is called with what is new for the user, by the thread at the helm.
    """

    def __init__(
        self, file: ConnectionFile, core: Client, tell: Callable[[News], None], memory: Memory
    ) -> None:
        self.core = core
        self._memory = memory
        self.closed = False
        self._tell = tell
        self._file = file
        self._context = sockets.new_context()
        self._lanes: dict[str, sockets.Peer] = {}
        self._monitors: dict[str, monitors.Monitor] = {}
        for lane in ("tasks", "control"):
            self._lanes[lane], self._monitors[lane] = sockets.dealer(self._context, file)
        self._wakeup = Wakeup()
        self._poller = zmq.Poller()
        for socket in (*self._lanes.values(), *self._monitors.values()):
            self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._wakeup.fileno(), zmq.POLLIN)
        self._inbox: deque[tuple[Event | m.Task, int, Mapping[bytes, m.Code]]] = deque()
        self._calls: deque[Callable[[], None]] = deque()
        self.taken = 0  # bytes of all submissions that were taken from the inbox
        self.taken_tasks = 0
        self._woken = False
        self._looks = False  # who is at the helm looks into the inbox in a moment
        self._retrying = False  # a connection is perhaps to be made anew by hand
        self._helm = threading.Lock()
        self._steersman = 0  # the thread that holds it
        self._wanted = 0  # threads that wait for it
        self._led = float("-inf")  # when somebody who waited last held it
        self.resting = False
        self._roused = threading.Event()  # there is more to send than whoever posts it can
        self.thread = threading.Thread(target=self._serve, name="enginery-client", daemon=True)
        self.thread.start()

    # --- for callers ----------------------------------------------------------------------------

    def post(
        self,
        event: Event | m.Task,
        size: int = 0,
        wake: bool = True,
        functions: Mapping[bytes, m.Code] = NO_FUNCTIONS,
    ) -> None:
        """Let the core handle an event of `size` bytes, soon; may be called by any thread.

        A task is `Submitted` with its functions. Without `wake` all that is when somebody comes to
        the helm, as the caller is about to.
        """
        self._inbox.append((event, size, functions))
        if not wake or self._looks:
            return
        if self.resting and len(self.core.outstanding) > MANY and not self._helm.locked():
            self._roused.set()
        elif self.resting:
            with self._uninterrupted():
                if self._helm.acquire(blocking=False):
                    with self._at_helm():
                        self._send_posted()
                    return
        if not self._woken:
            self.wake()

    def lead(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Drive until `done()` or for `timeout` seconds; False when another waiter is at it."""
        with self._uninterrupted() as interrupted:
            if not self._take_helm():
                return False
            with self._at_helm():
                deadline = None if timeout is None else time.monotonic() + timeout
                while not done() and not interrupted and not self.closed:
                    rest = None if deadline is None else max(0.0, deadline - time.monotonic())
                    self._memory.look()
                    self._turn(LOOK if rest is None else min(rest, LOOK))
                    if rest == 0:
                        break
                self._led = time.monotonic()
        return True

    def call(self, callback: Callable[[], None]) -> None:
        """Call this in the I/O thread, away from the helm, so that it may wait; soon."""
        self._calls.append(callback)
        if self.closed:
            self._make_calls()  # that thread may have ended
        else:
            self.wake()

    def close(self, timeout: float) -> None:
        """End the thread, after a goodbye."""
        self.closed = True
        self.wake()
        if threading.get_ident() not in (self._steersman, self.thread.ident):
            self.thread.join(timeout)

    def wake(self) -> None:
        """Make the one at the helm look at what there is."""
        self._woken = True
        self._wakeup.set()

    # --- the helm -------------------------------------------------------------------------------

    def _take_helm(self) -> bool:
        """Whether this thread has the helm now: nobody had it, or the I/O thread gave it up."""
        me = threading.get_ident()
        if self.closed or self._steersman == me:
            return False
        if self._helm.acquire(blocking=False):
            return True
        if self._steersman != self.thread.ident:
            return False
        self._wanted += 1
        self.wake()
        try:
            return self._helm.acquire(timeout=1.0)
        finally:
            self._wanted -= 1

    @contextmanager
    def _at_helm(self) -> Iterator[None]:
        """Be at the helm, which was acquired, and leave it."""
        self._steersman = threading.get_ident()
        try:
            yield
            self._look_no_more()
        finally:
            self._looks = False
            self._steersman = 0
            self._helm.release()

    @contextmanager
    def _uninterrupted(self) -> Iterator[list[int]]:
        """In the main thread, note Ctrl-C and let it take effect at the end; gives those noted."""
        if threading.get_ident() != threading.main_thread().ident:
            yield []
            return
        interrupted: list[int] = []

        def note(signum: int, frame: FrameType | None) -> None:
            interrupted.append(signum)
            self._wakeup.set()

        # `signal.signal` is the same, but makes enums of what it gives and gets: 13 µs a wait.
        handler: Any = set_handler(signal.SIGINT, note)
        try:
            yield interrupted
        finally:
            if handler is not None:  # else it is not one of Python's
                set_handler(signal.SIGINT, handler)
            if interrupted and callable(handler):
                handler(interrupted[0], None)

    def _serve(self) -> None:
        try:
            while not self.closed:
                self._make_calls()
                if self._wanted or time.monotonic() - self._led < REST:
                    self.resting = True
                    if not self._roused.wait(REST):
                        continue
                    self._roused.clear()
                if not self._helm.acquire(timeout=REST):
                    continue
                self.resting = False
                with self._at_helm():
                    while not (self._wanted or self._calls or self.closed):
                        self._turn(self._memory.look())
        finally:
            self._end()

    def _end(self) -> None:
        self.closed = True
        with self._helm:
            if self.core.joined:
                self._send([Send("tasks", m.Goodbye("closed"))])
            self._context.destroy(linger=500)
            self._wakeup.close()
            self._memory.close()
        self._tell([])
        self._make_calls()

    def _make_calls(self) -> None:
        """Call what is to be called; meanwhile, whoever posts something sends it."""
        while self._calls:
            self.resting = True
            # Another thread has taken it, or it would end the thread that it thinks its own.
            with suppress(IndexError, SystemExit):
                self._calls.popleft()()

    # --- one turn, at the helm --------------------------------------------------------------------

    def _turn(self, timeout: float | None) -> None:
        """Send what was posted, wait at most `timeout` seconds for news, and see to them."""
        if not self._inbox:
            self._look_no_more()
        else:
            self._send_posted()
            if len(self.core.outstanding) > MANY:
                self._looks = True
                timeout = MOMENT if timeout is None else min(timeout, MOMENT)
        if self._retrying:
            timeout = self._retry(timeout)
        milliseconds = None if timeout is None else ceil(timeout * 1000)
        ready = dict(self._poller.poll(milliseconds))
        effects: list[Any] = []
        now = time.time()
        if self._wakeup.fileno() in ready:
            self._wakeup.clear()
            self._woken = False  # in this order, or a wake between the two would be lost for good
        for lane, monitor in tuple(self._monitors.items()):
            if monitor in ready:
                effects += self._watch(lane, monitor, now)
        for lane, socket in tuple(self._lanes.items()):
            if socket in ready:
                effects += self._read(lane, socket, now)
        self._carry_out(effects)

    def _look_no_more(self) -> None:
        """Whoever posts something from now on has to wake who is at the helm."""
        if self._looks:
            self._looks = False
            if self._inbox:
                self._send_posted()

    def _send_posted(self) -> None:
        """Let the core handle what callers have posted."""
        now = time.time()
        effects: list[Any] = []
        for event in self._take():
            effects += self.core.handle(event, now)
        self._carry_out(effects)

    def _carry_out(self, effects: Sequence[Any]) -> None:
        for effect in effects:
            if type(effect) is JoinFarm:
                self._join_farm(effect.port)
            elif type(effect) is Drop:
                self._drop(str(effect.conn))
        self._send(effects)
        news = [effect for effect in effects if type(effect) is not Send]
        if news:
            self._tell(news)

    def _take(self) -> list[Event]:
        """What the callers have handed over; calls that came one by one leave together."""
        events: list[Event] = []
        together: Submitted | None = None
        inbox = self._inbox
        while inbox:
            event, size, functions = inbox.popleft()
            self.taken += size
            if not isinstance(event, (m.Task, Submitted)):
                events.append(event)
                together = None
                continue
            if together is None:
                together = Submitted([], {})
                events.append(together)
            if isinstance(event, m.Task):
                self.taken_tasks += 1
                together.tasks.append(event)
                together.functions.update(functions)
            else:
                self.taken_tasks += len(event.tasks)
                together.tasks.extend(event.tasks)
                together.functions.update(event.functions)
        return events

    def _read(self, lane: str, socket: sockets.Peer, now: float) -> Iterable[Effect]:
        memory = self._memory if lane == "tasks" else None
        more = True
        while more:
            frames = sockets.recv_frames(socket)
            if frames is None:
                return
            try:
                messages = codec.decode(frames, borrow=memory.borrow if memory else None)
            except ProtocolError as error:
                messages = [m.Refused(f"it speaks another language: {error}", "ProtocolError")]
            for message in messages:
                if memory is not None:
                    memory.meet(message)
                yield from self.core.handle(Received(lane, "controller", message), now)
            more = sockets.readable(socket)

    def _watch(self, lane: str, monitor: monitors.Monitor, now: float) -> Iterable[Any]:
        while (event := monitor.take()) is not None:
            if isinstance(event, monitors.Up):
                yield from self.core.handle(Opened(lane), now)
            elif isinstance(event, monitors.Down):
                yield from self.core.handle(Closed(lane), now)
                yield Closed(lane)
            else:
                yield event
        self._retrying = True

    def _retry(self, timeout: float | None) -> float | None:
        """Connect anew, where that is to be done by hand; how long to wait for that at most."""
        watching = self._monitors.values()
        for monitor in watching:
            monitor.retry()
        self._retrying = any(monitor.retry_at is not None for monitor in watching)
        return monitors.rest(watching, timeout)

    def _send(self, effects: Iterable[Effect]) -> None:
        batches: dict[Any, list[m.Message]] = {}
        for effect in effects:
            if type(effect) is Send:
                batches.setdefault(effect.conn, []).append(effect.message)
        for lane, messages in batches.items():
            if (socket := self._lanes.get(lane)) is None:
                continue  # it was dropped
            if lane == "farm":
                for message in messages:  # each for another engine, perhaps
                    sockets.send(socket, codec.encode([message]))
                continue
            by_reference = lane == "tasks" and self._memory.controller > 0
            sockets.send(socket, codec.encode(messages, by_reference))

    def _join_farm(self, port: int) -> None:
        """Connect to the queue of the pure scheme, and leave that of a former controller."""
        self._drop("farm")
        if port:
            file = self._file.at_port(port)
            socket, monitor = sockets.dealer(self._context, file, heartbeats=False)
            self._lanes["farm"], self._monitors["farm"] = socket, monitor
            for source in (socket, monitor):
                self._poller.register(source, zmq.POLLIN)

    def _drop(self, lane: str) -> None:
        """Close this connection, if there is one, and make no other."""
        for sources in (self._lanes, self._monitors):
            if (old := sources.pop(lane, None)) is not None:
                self._poller.unregister(old)
                old.close()
