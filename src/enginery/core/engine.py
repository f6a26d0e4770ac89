"""The engine's machine: what it was given, what it has done, and who has been told.

It starts one attempt at a time, in the order in which they came. It never forgets a result until
the controller has it, and never starts what an abort has named, even when the abort (which comes
on the other lane) overtakes the work. What runs for longer than it may, or is to stop, is
interrupted; if it goes on all the same, the engine ends, and its place gets a new life.

The items of a share of a chunk (`chunks`) run one after the other without coming by here. When its
controller asks for those that have not begun, or they take long, the share is *divided*: it ends
behind the item that runs, and what has ended by then is told at once, on the other lane.

What is typed at a console of this engine waits for the attempts that came before it, and those
that come later wait for it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from signal import SIGINT
from typing import Any

from ..version import PROTOCOL
from . import alike
from . import messages as m
from .events import (
    Changed,
    ClearNamespace,
    Closed,
    Divide,
    Divided,
    Effect,
    Event,
    Finished,
    Forget,
    Interrupt,
    JoinFarm,
    Kill,
    Load,
    Log,
    Look,
    Opened,
    Received,
    RunTyped,
    Send,
    Start,
    Stop,
    Tick,
    Typed,
    TypedEnded,
)
from .functions import oldest
from .names import life_name
from .pools import chunk_id, share_id

FUNCTION_BYTES = 256 << 20
"""Functions kept in memory; what work at hand needs stays beyond that."""

BRIEF = 0.001
"""Seconds: results are collected while what runs next took less than this the last time."""

HOLD = 0.0002
"""Seconds for which results are collected at most, as far as that expectation holds.

What is held when the engine is killed is lost with it, and ten times as long saves no more.
"""

HELD_BYTES = 1 << 16
"""Bytes of results that are collected at most."""

OVERDUE = 0.02
"""Seconds after which it is looked whether results are held all the same, since what runs now takes
longer than it was thought to; they go out on the other lane then.
"""

FOR_ONE_LIFE = (m.Run, m.Acked, m.Abort, m.Clear)
"""What counts the attempts, results and clearings of one life."""

NOT_RUN = frozenset({"refused", "unfit"})
"""How an attempt ends that has found its condition not met here: nothing of it ran."""

MARKS = 10_000
"""Aborts remembered for work that has not arrived yet."""

STOP_TIME = 2.0
"""Seconds that user code has to end once it is interrupted for good reason."""


class Engine:
    """One life of an engine. See the module's theory."""

    def __init__(
        self, place: bytes, incarnation: bytes, *, host: str, pid: int, version: str, python: str
    ) -> None:
        self.place = place
        self.incarnation, self.name = incarnation, life_name(incarnation)
        self.host, self.pid, self.version, self.python = host, pid, version, python
        self.memory: m.Segment | None = None  # what the controller may open
        self.keeps = False  # what its supervisor keeps can be opened
        self.rank = ""  # in a job of MPI, in words
        self.patience = 0.0  # seconds that a new connection may take; 0: as many as usual
        self.id = -1
        self.controller = ""  # the name of the one that knows us
        self.since = 0.0  # when that began
        self.unheeded = ""  # one that seems to be a former one
        self.joined: set[str] = set()  # lanes on which the controller knows us
        self.greeting: set[str] = set()  # lanes on which a hello waits for its answer
        self.stale: set[str] = set()  # lanes that may still bring what is for a former life
        self.former: set[str] = set()  # lanes that may still bring what a former controller said
        self.queue: deque[m.Attempt] = deque()
        self.current: m.Attempt | None = None
        self.typed: deque[tuple[int, int]] = deque()  # inputs of consoles, and after which n
        self.typing = 0  # the input that runs now; 0: none does
        self.after = 0  # what is not numbered higher comes from a controller that is no more
        self.seen = 0  # the last Attempt.n that arrived
        self.unacked: deque[m.Results] = deque()
        self.results = self.acked = 0  # the last Results.seq, and the last that the controller has
        self.large = 0  # the last with much in it
        self.held: list[m.Result] = []  # done, and not told yet
        self.held_since = 0.0
        self.held_bytes = 0
        self.look_at: float | None = None  # when to see whether results are held for too long
        self.took: dict[bytes, float] = {}  # function -> seconds of its last run
        self.functions: OrderedDict[bytes, int] = OrderedDict()  # hash -> bytes, oldest use first
        self.function_bytes = 0
        self.begun = 0  # the Attempt.n that was started or dropped last
        self.begun_at = 0.0
        self.divided = 0  # the Attempt.n of the share that was divided last
        self.rest = 0, 0  # of which these items are left, if it runs
        self.aborted: OrderedDict[int, None] = OrderedDict()  # not to be started, by Attempt.n
        self.interrupted = ""  # the running task that an abort asked to stop
        self.overtime = False  # what runs has run for longer than it may
        self.limit_at: float | None = None  # when it will have
        self.end_at: float | None = None  # when it must have stopped, or the engine ends
        self.changes = 0  # how often the properties have changed
        self.orphan = False  # what runs belongs to a life that was given up
        self.asked: set[bytes] = set()  # functions that were asked for
        self.clearing = 0  # how often the namespace is to be cleared before the next start
        self.cleared = 0  # how often it was
        self.done = 0

    @property
    def laden(self) -> bool:
        """Whether there is something large that the controller may have by now."""
        return self.large > self.acked

    @property
    def _seen(self) -> int:
        """The last `Attempt.n` that arrived, or does not count any more."""
        return max(self.seen, self.after)

    def deadline(self) -> float | None:
        """When a `Tick` is due: what runs is to be interrupted, has not heeded that, or takes long
        while results are held.
        """
        times = (self.limit_at, self.end_at, self.look_at)
        return min((at for at in times if at is not None), default=None)

    def handle(self, event: Event, now: float) -> list[Effect]:
        """What follows from this event."""
        out: list[Effect] = []
        match event:
            case Received(conn=conn, message=message):
                self._received(str(conn), message, now, out)
            case Finished(result=result, before=before):
                if (following := self.pass_on(result, now)) is not None:
                    out.append(Start(following))
                else:
                    self._finished(result, before, now, out)
                    self._next(now, out)
            case Divided(n=n, results=results):
                self._divided(n, results, now, out)
            case Typed(number=number):
                self.typed.append((number, self.seen))
                self._next(now, out)
            case TypedEnded():
                self.typing = 0
                if not self.queue:
                    self._clear(out)
                self._next(now, out)
            case Tick():
                self._tick(now, out)
            case Changed(count=count):
                self.changes = count
                if "control" in self.joined:
                    out.append(Send("control", m.Changed(count)))
            case Opened(conn=conn):
                self._greet(str(conn), out)
            case Closed(conn=conn):
                self.joined.discard(str(conn))
                self.greeting.discard(str(conn))
        return out

    # --- what the controller says --------------------------------------------------------------

    def _is_former(self, welcome: m.Welcome) -> bool:
        """Whether a controller that is no more has said this, and it was read late.

        It will not say it again. One that does is there, and its clock was put back.
        """
        return welcome.since < self.since and welcome.controller != self.unheeded

    def _greet(self, lane: str, out: list[Effect]) -> None:
        self.greeting.add(lane)
        hello = m.Hello(
            PROTOCOL, self.version, "engine", "tasks" if lane == "tasks" else "control",
            self.place, self.incarnation, self.host, self.pid, self._seen, python=self.python,
            memory=self.memory if lane == "tasks" else None, patience=self.patience,
            rank=self.rank, keeps=self.keeps,
        )  # fmt: skip
        out.append(Send(lane, hello))

    def _received(self, lane: str, message: m.Message, now: float, out: list[Effect]) -> None:
        if lane in self.stale and isinstance(message, FOR_ONE_LIFE):
            return
        match message:
            case m.Run():
                for attempt in message.one_by_one():
                    if attempt.n > self._seen:  # not one more: those dropped are not sent again
                        self.seen = attempt.n
                        self.queue.append(attempt)
                self._next(now, out)
            case m.Acked(seq=seq, life=life) if life == self.name:
                self._forget(seq)
            case m.Define(hash=hash, blob=blob, buffers=buffers):
                self._define(hash, m.code_of(blob, buffers), out)
                self._next(now, out)
            case m.Abort():
                self._abort(lane, message, now, out)
                self._next(now, out)
            case m.Welcome(incarnation=life) if life != self.incarnation:
                pass  # a former one was welcome
            case m.Welcome():
                self._welcome(lane, message, now, out)
            case m.Again(given_up=given_up):
                if not given_up:
                    if lane not in self.greeting:  # it comes once for each thing we said
                        self._greet(lane, out)
                elif given_up == self.incarnation and lane not in self.former:
                    self._begin_again(now, out)  # both lanes are told, each of which life
            case m.Signal(signum=signum):
                if signum != SIGINT:
                    out.append(Kill(signum))
                elif self.current is not None:
                    out.append(Interrupt(self.current.id, self.current.attempt))
                elif self.typing:
                    out.append(Interrupt("", self.typing))
            case m.Clear(count=count, life=life) if life == self.name:
                self.clearing = max(self.clearing, count)
                if self.current is None and not self.typing:
                    self._clear(out)
            case m.Query(number=number):
                out.append(Send(lane, m.Reply(number, self.status())))
            case m.Shutdown(restart=restart):
                out.append(Stop(RESTART if restart else STOPPED, "asked to"))
            case m.Goodbye(reason=reason):
                out.append(Stop(STOPPED, reason or "the controller stops"))
            case m.Refused(reason=reason):
                out.append(Log("error", "engine.refused", {"reason": reason}))
                out.append(Stop(1, reason))
            case m.Acked() | m.Clear():
                pass  # it was for a former life, and is read late
            case _:
                out.append(Log("warning", "engine.unexpected", {"what": type(message).__name__}))

    def _welcome(self, lane: str, welcome: m.Welcome, now: float, out: list[Effect]) -> None:
        if self._is_former(welcome):
            self.unheeded = welcome.controller
            self._greet(lane, out)
            return
        self.joined.add(lane)
        self.stale.discard(lane)
        self.greeting.discard(lane)
        if self.controller and welcome.controller != self.controller:
            self.former = {"tasks", "control"}
            if not welcome.asks:
                self._drop_work(now, out)  # another controller, which knows of none
        self.former.discard(lane)
        self.controller, self.since = welcome.controller, welcome.since
        self.id = int(welcome.id)
        if welcome.memory is not None:
            out.append(Send(lane, m.Shares()))
        if welcome.farm_port and lane == "tasks":
            out.append(JoinFarm(welcome.farm_port))
        # What is still to be read of a former life, or controller, counts no more.
        self.after = welcome.after if welcome.asks else max(self.after, welcome.after)
        if welcome.asks:
            out.append(Send(lane, self._holds()))
        if lane == "control":
            if self.changes:
                out.append(Send("control", m.Changed(self.changes)))
            out.extend(Send("control", alike.in_columns(results)) for results in self.unacked)
        else:
            out.extend(Send("tasks", alike.in_columns(results)) for results in self.unacked)
            self.asked.clear()
            if self.queue and self.queue[0].function not in self.functions:
                self._need(self.queue[0], out)

    def _holds(self) -> m.Holds:
        """What a controller that was started again has to know; what is held is told with it."""
        if self.held:
            self._collect()
        seq = self.unacked[0].seq - 1 if self.unacked else self.results
        done = [r for results in self.unacked for r in results.results]
        open = [self.current] if self.current is not None and not self.orphan else []
        open += [attempt for attempt in self.queue if attempt.n not in self.aborted]
        told = [(0, r.id, r.attempt, "", r.stage) for r in done]
        items = [_range(r.id, r.items) for r in done if "." in r.id]
        for a in open:
            id = a.id
            if a.chunk is not None:
                start, stop = a.chunk.start, a.chunk.stop
                if a is self.current and self.divided == a.n:
                    start, stop = self.rest
                    id = share_id(chunk_id(id), start)
                items.append((start, stop))
            told.append((a.n, id, a.attempt, a.name, a.stage))
        return m.Holds(self.seen, seq, max(self.clearing, self.cleared), told, items)

    def _begin_again(self, now: float, out: list[Effect]) -> None:
        """This life was given up: what it holds has gone elsewhere; be the next one."""
        counter = int.from_bytes(self.incarnation[-4:], "big") + 1
        self.incarnation = self.incarnation[:-4] + (counter & 0xFFFFFFFF).to_bytes(4, "big")
        self.name = life_name(self.incarnation)
        self.joined.clear()
        self.stale = {"tasks", "control"}
        self._drop_work(now, out)
        out.append(Log("warning", "engine.given_up", {"running": self.orphan}))
        for lane in ("tasks", "control"):
            self._greet(lane, out)

    def _drop_work(self, now: float, out: list[Effect]) -> None:
        """Nobody waits for what was given to this engine so far."""
        self.queue.clear()
        self.unacked.clear()
        self.held.clear()
        self.aborted.clear()
        self.asked.clear()
        self.results = self.acked = self.large = self.clearing = self.cleared = 0
        self.orphan = self.current is not None
        if self.current is not None:  # new work will wait for it
            self._divide(self.current, out)
            self._interrupt(self.current, now, out)

    def _forget(self, seq: int) -> None:
        """The controller has the results up to these."""
        self.acked = max(self.acked, seq)
        while self.unacked and self.unacked[0].seq <= seq:
            self.unacked.popleft()

    def _define(self, hash: bytes, blob: m.Code, out: list[Effect]) -> None:
        self.asked.discard(hash)
        if hash in self.functions:
            self.functions.move_to_end(hash)
            return
        _, buffers = m.fields_of(blob)
        if not (all(each.there for each in buffers) or self._wanted(hash)):
            return  # who wanted it has ended before it was read; who will gets it again
        self.functions[hash] = len(blob)
        self.function_bytes += len(blob)
        out.append(Load(hash, blob))
        if self.function_bytes > FUNCTION_BYTES:
            self._evict(hash, out)

    def _wanted(self, hash: bytes) -> bool:
        return any(attempt.function == hash for attempt in self.queue)

    def _evict(self, newest: bytes, out: list[Effect]) -> None:
        needed = {attempt.function for attempt in self.queue} | {newest}
        if self.current is not None:
            needed.add(self.current.function)
        sizes = ((h, size) for h, size in self.functions.items() if h not in needed)
        for hash in oldest(sizes, self.function_bytes - FUNCTION_BYTES):
            self.function_bytes -= self.functions.pop(hash)
            self.took.pop(hash, None)
            out.append(Forget(hash))

    def _abort(self, lane: str, message: m.Abort, now: float, out: list[Effect]) -> None:
        """What has not started will not, and that is said at once, also while user code runs."""
        dropped = m.Dropped([], [])
        for id, n in zip(message.ids, message.numbers, strict=False):
            if self.current is not None and self.current.n == n:
                self._divide(self.current, out)
                if message.running:
                    self.interrupted = self.current.id
                    self._interrupt(self.current, now, out, message.gently)
                continue
            if n > self.begun:
                self.aborted[n] = None
            if n in self.aborted:  # else it has run, and its result is on the way
                dropped.ids.append(id)
                dropped.numbers.append(n)
        while len(self.aborted) > MARKS:
            self.aborted.popitem(last=False)
        if dropped.ids:
            out.append(Send(lane, dropped))

    def _divide(self, current: m.Attempt, out: list[Effect]) -> None:
        """What of a share has not begun shall not, and what has ended is to be told."""
        if current.chunk is not None and self.divided != current.n:
            out.append(Divide(current.n))

    def _divided(
        self, n: int, results: tuple[m.Result, ...], now: float, out: list[Effect]
    ) -> None:
        """A share was divided while it runs."""
        if self.current is None or self.current.n != n:
            raise AssertionError(f"share {n} was divided but does not run")
        self.divided = n
        chunk = self.current.chunk
        assert chunk is not None
        self.rest = chunk.start, chunk.stop
        if results:
            last = results[-1]
            start = _range(last.id, last.items)[1]
            self.rest = start, start + last.running
        if results and not self.orphan:
            for result in results:
                self._hold(result, now)
            self._tell(out, "control")

    def _interrupt(
        self, current: m.Attempt, now: float, out: list[Effect], gently: bool = False
    ) -> None:
        """Stop what runs; asked for again, that gives it no more time."""
        out.append(Interrupt(current.id, current.attempt))
        if self.end_at is None and not gently:
            self.end_at = now + STOP_TIME

    def _tick(self, now: float, out: list[Effect]) -> None:
        current = self.current
        if self.look_at is not None and now >= self.look_at:
            overdue = bool(self.held) and now >= self.held_since + HOLD
            if overdue and current is not None:
                self._tell(out, "control")
            waits = bool(self.queue) and not overdue
            if current is not None and self._divisible(current):
                waits = now < self.begun_at + OVERDUE
                if not waits:
                    self._divide(current, out)
            self.look_at = now + OVERDUE if waits else None
        if current is not None and self.limit_at is not None and now >= self.limit_at:
            self.limit_at = None
            self.overtime = True
            self._interrupt(current, now, out)
        if current is not None and self.end_at is not None and now >= self.end_at:
            self.end_at = None
            why = (
                "its time limit"
                if self.overtime
                else "being given up"
                if self.orphan
                else "an abort"
            )
            out.append(Log("warning", "engine.stuck", {"task": current.id, "why": why}))
            out.append(Stop(STUCK, f"{current.id} did not stop at {why}"))

    def _clear(self, out: list[Effect]) -> None:
        if self.clearing > self.cleared:
            self.cleared = self.clearing
            out.append(ClearNamespace())

    # --- work ----------------------------------------------------------------------------------

    def pass_on(self, result: m.Result, now: float) -> m.Attempt | None:
        """What `Finished` does where nothing follows but the start of the next attempt: gives that.

        None, and nothing has happened, where more has to be seen to. Brief tasks come by here.
        """
        current, queue = self.current, self.queue
        if (
            current is None or not queue or not self.held or self.look_at is None
            or result.status != "ok" or result.id != current.id or self._disturbed
        ):  # fmt: skip
            return None
        following = queue[0]
        function = following.function
        if (
            following.time_limit > 0
            or following.clears > self.clearing
            or current.clear_after
            or following.n in self.aborted
            or function not in self.functions
            or current.chunk is not None
            or following.chunk is not None
        ):
            return None
        self.took[current.function] = result.completed - result.started
        if not self._may_hold(following, now):
            return None
        self.held.append(result)
        self.held_bytes += result.size()
        self.done += 1
        self.current = queue.popleft()
        self.begun = following.n
        if function != current.function:
            self.functions.move_to_end(function)
        return following

    @property
    def _disturbed(self) -> bool:
        """Whether something is going on besides one task after the other."""
        return bool(
            self.interrupted or self.overtime or self.orphan or self.typed
            or self.limit_at is not None or self.end_at is not None
            or self.clearing > self.cleared
        )  # fmt: skip

    def _next(self, now: float, out: list[Effect]) -> None:
        """Start the first attempt that may run."""
        while self.current is None and not self.typing and (self.queue or self.typed):
            if self._types_next():
                if self.held:
                    self._tell(out)
                self.typing = self.typed.popleft()[0]
                out.append(RunTyped(self.typing))
                break
            attempt = self.queue[0]
            if attempt.n in self.aborted:
                self.queue.popleft()
                self.begun = attempt.n
                self.asked.discard(attempt.function)  # for the next one
                continue
            if attempt.function not in self.functions:
                self._need(attempt, out)
                break
            if self.held and not self._may_hold(attempt, now):
                self._tell(out)  # a result never waits for a task that may take long
            self.queue.popleft()
            self.functions.move_to_end(attempt.function)
            self.current = attempt
            self.begun, self.begun_at = attempt.n, now
            self.limit_at = now + attempt.time_limit if attempt.time_limit > 0 else None
            if self.look_at is None and (self.held or self._divisible(attempt)):
                self.look_at = now + OVERDUE
                out.append(Look())
            elif self.limit_at is not None:
                out.append(Look())
            self.clearing = max(self.clearing, attempt.clears)
            self._clear(out)
            out.append(Start(attempt))
        if self.held and self.current is None:
            self._tell(out)

    def _types_next(self) -> bool:
        """Whether it is the turn of what was typed at a console."""
        return bool(self.typed) and (not self.queue or self.queue[0].n > self.typed[0][1])

    def _need(self, attempt: m.Attempt, out: list[Effect]) -> None:
        hash = attempt.function
        if "tasks" in self.joined and hash not in self.asked:
            self.asked.add(hash)
            out.append(Send("tasks", m.Need((hash,), attempt.n)))

    def _divisible(self, attempt: m.Attempt) -> bool:
        """Whether it is a share of several items that was not divided yet."""
        chunk = attempt.chunk
        return chunk is not None and chunk.stop - chunk.start > 1 and self.divided != attempt.n

    def _finished(
        self, result: m.Result, before: tuple[m.Result, ...], now: float, out: list[Effect]
    ) -> None:
        current = self.current
        if current is None or (result.id != current.id and current.chunk is None):
            raise AssertionError(f"{result.id} has ended but was not running")
        if self.interrupted == current.id and result.status == "error":
            result.status = "aborted"
        elif self.overtime and result.status == "error":
            result.status = "overtime"
        self.interrupted = ""
        self.overtime = False
        self.limit_at = self.end_at = None
        self.current = None
        self.done += 1
        took = result.completed - (before[0] if before else result).started
        self.took[current.function] = took
        if current.clear_after and result.status not in NOT_RUN:
            out.append(ClearNamespace())
        if self.orphan:
            self.orphan = False
        else:
            for each in (*before, result):
                self._hold(each, now)
        if not self.queue:
            self._clear(out)

    def _hold(self, result: m.Result, now: float) -> None:
        if not self.held:
            self.held_since = now
            self.held_bytes = 0
        self.held.append(result)
        self.held_bytes += result.size()

    def _may_hold(self, following: m.Attempt, now: float) -> bool:
        """Whether the results at hand may wait until `following` has run."""
        brief = self.took.get(following.function, BRIEF) < BRIEF
        return brief and now - self.held_since < HOLD and self.held_bytes < HELD_BYTES

    def _tell(self, out: list[Effect], lane: m.Lane = "tasks") -> None:
        message = self._collect()
        if lane in self.joined:
            out.append(Send(lane, alike.in_columns(message)))

    def _collect(self) -> m.Results:
        self.results += 1
        message = m.Results(self.results, self.held)
        if self.held_bytes > HELD_BYTES:
            self.large = self.results
        self.held = []
        self.unacked.append(message)
        return message

    def status(self) -> dict[str, Any]:
        """What this engine is doing, in plain values."""
        return {
            "id": self.id,
            "running": self.current.id if self.current else "",
            "waiting": len(self.queue),
            "done": self.done,
        }

    def __repr__(self) -> str:
        running = f" runs {self.current.id}.{self.current.attempt}" if self.current else ""
        return (
            f"<Engine {self.id}{running}, {len(self.queue)} waiting, {len(self.unacked)} unacked>"
        )


def _range(id: str, items: int) -> tuple[int, int]:
    """Which items a result tells of, by its id."""
    start = int(id.rpartition(".")[2])
    return start, start + items


STOPPED = 74
"""Exit code of an engine that was asked to stop; user code that ends the process says 0."""

RESTART = 75
"""Exit code of an engine that wants to be replaced by a new life."""

STUCK = 77
"""Exit code of an engine whose user code did not end when it was to."""

STUCK_REASON = "its user code did not stop when it was interrupted"
"""The same in words."""
