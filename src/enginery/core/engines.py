"""The engines as the controller knows them: stable places, and the lives that come and go.

A *place* has an id that never changes and that nobody else gets. One life of an engine at a time
(an *incarnation*) occupies it. Everything an engine is to do, balanced or direct, goes through
the one queue of its place, in the order in which it got there; a bounded part of it is *sent*
ahead. What was sent is numbered (`n`), so that after a death the page the engine shared with its
supervisor tells what had started.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf
from typing import Any

from msgspec import Struct, field

from . import messages as m
from .ahead import MOST, WORTH
from .bundles import Bundle, Unit, untie
from .events import Conn
from .names import life_name
from .tasks import Record

AHEAD = 256
"""Requests sent ahead to one engine at most: its receive pipe has no bound of its own."""

AHEAD_BYTES = 64 << 20
"""The same in bytes; one request always goes."""

EARLY = 1000
"""Messages with results of one engine at most that wait for an earlier one."""

HELD = 1000
"""The same that an engine keeps since a client does not fetch a large value before them."""

HELD_BYTES = 16 << 20
"""The same in bytes."""

HELD_FOR = 10.0
"""Seconds that a client has for that, even so."""

AWAY = 1.0
"""Seconds that an engine may be without a connection before it is given up."""

LONG_AWAY = 10.0
"""The same for one that has asked for more, at most."""


RANK = 60
"""Characters at most that an engine may say of its rank."""


def patience(hello: m.Hello) -> float:
    """Seconds that this engine or supervisor may be without a connection."""
    return min(max(AWAY, hello.patience), LONG_AWAY)


class Death(Struct):
    """What a supervisor told of a life that is over."""

    started: int
    finished: int
    reason: str
    replaced: bool
    facts: dict[str, Any]
    item: int = 0


class Settling(Struct):
    """Results that are there, and what has to happen until their engine may forget them."""

    seq: int
    since: float
    record: int = 0  # of the journal, that has to be on disk
    values: set[str] = field(default_factory=set)  # tasks whose clients have to get them


class Place:
    """An engine's stable place and the life that occupies it now."""

    def __init__(self, id: int, identity: bytes) -> None:
        self.id = id
        self.identity = identity
        self.incarnation = b""
        self.name = ""  # short public name of this life
        self.host = ""
        self.pid = 0
        self.python = ""
        self.since = 0.0
        self.rank = ""  # in a job of MPI, in words
        self.patience = 0.0  # seconds that it may be without a connection
        self.here = False  # registered, and not given up
        self.recorded = False  # that this life is here stands in the journal, on disk
        self.silent = False  # the controller was started again, and it has not said what it holds
        self.awaited = False  # gone, but its supervisor has promised a new life
        self.failed = ""  # why it stays empty though nobody wanted that: its lives were too short
        self.supervisor = 0  # process id of that
        self.lanes: dict[str, Conn] = {}
        self._queue: deque[Unit] = deque()
        self._sent: dict[int, Unit] = {}  # by the (last) Attempt.n, ascending
        self._besides = 0  # tasks in bundles among these, besides one of each
        self.sent_bytes = 0
        self.n = 0
        self.results = 0  # the last Results.seq
        self.early: dict[int, m.Results] = {}  # those that came before an earlier one
        self.early_bytes = 0
        self.settling = Settling(0, 0.0)  # what is being read
        self.stale: list[tuple[str, int]] = []  # attempts that it has and that nobody wants
        self.ended: deque[Settling] = deque()
        self.durable = 0  # the last one whose results are on disk
        self.acked = 0  # the last one of which the engine was told
        self.unacked_bytes = 0
        self.clears = 0  # how often this life was told to clear its namespace
        self.changes = 0  # how often the properties of this life have changed
        self.known: set[bytes] = set()  # functions this life has been sent
        self.used = 0
        self.load = 0
        self.spare = 0  # items that wait in its shares of chunks, besides the first of each
        self.first = 0  # the last number of former lives
        self.backlog = 0  # microseconds that this is thought to take, see `ahead`
        self.heard = 0.0  # when it last told a result, or got something after it had nothing
        self.watched = False  # a supervisor will tell, should it die, what it had started
        self.death: Death | None = None
        self.give_up_at: float | None = None
        self.detached_at = -inf  # when it lost its connection for tasks, and had something to run
        self.late = 0
        self.cuts = 0  # how often in turn it was cut off because of what it sends

    def begin(self, hello: m.Hello, now: float) -> None:
        """A new life registers."""
        self.incarnation = hello.incarnation
        self.name = life_name(hello.incarnation)
        self.host, self.pid, self.python = hello.host, hello.pid, hello.python
        self.since = now
        self.patience, self.rank = patience(hello), hello.rank[:RANK]
        self.here = True
        self.recorded = self.silent = False
        self.awaited = False
        self.failed = ""
        self.lanes = {}
        # Numbers of a former life are not given again: some of it may still be under way.
        self.n = self.first = max(self.n, hello.seen)
        self.results = self.durable = self.acked = 0
        self.early.clear()
        self.stale.clear()
        self.ended.clear()
        self.unacked_bytes = self.clears = self.changes = 0
        self.known = set()
        self.death = None
        self.give_up_at = None
        self.detached_at = -inf
        self.cuts = 0

    # --- what is here -----------------------------------------------------------------------------

    @property
    def queue(self) -> deque[Record]:
        """What is to be sent, and perhaps some that has ended; bundles are untied for who looks."""
        untie(self._queue)
        return self._queue  # type: ignore[return-value]

    @property
    def sent(self) -> dict[int, Record]:
        """What was sent, by `Attempt.n`, ascending; bundles are untied for who looks."""
        untie(self._sent.values())
        return self._sent  # type: ignore[return-value]

    def look(self) -> tuple[list[Record], dict[int, Record]]:
        """The same two as records, without a change."""
        queue = [r for u in self._queue for r in (u.look() if type(u) is Bundle else [u])]
        sent = [r for u in self._sent.values() for r in (u.look() if type(u) is Bundle else [u])]
        return queue, {record.n: record for record in sent}

    def replace(self, bundle: Bundle, records: list[Record]) -> None:
        """The tasks of a bundle have records, which take its place here."""
        if bundle.state == "sent":
            self._besides -= len(bundle) - 1
            sent: dict[int, Unit] = {}
            for n, unit in self._sent.items():
                sent.update({r.n: r for r in records} if unit is bundle else {n: unit})
            self._sent = sent
        else:
            at = self._queue.index(bundle)
            del self._queue[at]
            for record in reversed(records):
                self._queue.insert(at, record)

    def has(self, unit: Unit) -> bool:
        """Whether this engine was sent a task, as it is known now; or, a bundle, waits to be."""
        if type(unit) is Bundle:
            return self._sent.get(unit.last) is unit if unit.n else unit in self._queue
        return self._sent.get(unit.n) is unit

    @property
    def company(self) -> str:
        """With whom it may have gone, when nobody has told why."""
        return f" ({self.rank}: one dead ends all)" if self.rank else ""

    @property
    def open(self) -> bool:
        """Whether work can be sent to it right now."""
        return self.here and self.recorded and not self.silent and "tasks" in self.lanes

    @property
    def occupied(self) -> bool:
        """Whether it shows that it lives, and may be too busy to connect for tasks again."""
        return "control" in self.lanes and self.busy

    @property
    def there(self) -> bool:
        """Whether it is here, or will be again."""
        return self.here or self.awaited

    def end(self) -> None:
        """This life is over; whoever asked has taken what was queued and sent."""
        self.here = self.silent = False
        self.lanes = {}
        self.early.clear()
        self.ended.clear()
        self._queue.clear()
        self._sent.clear()
        self.sent_bytes = self._besides = 0
        self.load = self.spare = self.backlog = 0
        self.known = set()
        self.give_up_at = None

    def settle(self, durable: float) -> bool:
        """Up to this record the journal is on disk; whether more results can be acknowledged."""
        before = self.durable
        while self.ended and self.ended[0].record <= durable and not self.ended[0].values:
            self.durable = self.ended.popleft().seq
        return self.durable > before

    def held_up(self, now: float) -> set[str]:
        """Large values that a client does not fetch, behind which too much waits to be settled."""
        first = self.ended[0]
        much = len(self.ended) > HELD or self.unacked_bytes > HELD_BYTES
        return first.values if much and now - first.since > HELD_FOR else set()

    def put(self, unit: Unit) -> None:
        """Queue tasks here."""
        self._queue.append(unit)
        if type(unit) is Bundle:
            unit.at = self
            self.load += len(unit)
            self.backlog += len(unit) * unit.expected
            return
        unit.place = self.id
        self.load += 1
        self.backlog += unit.expected
        if unit.pool is not None:
            self.spare += unit.items - 1

    @property
    def busy(self) -> bool:
        """Whether it was sent anything that has not ended."""
        return bool(self._sent)

    @property
    def ahead(self) -> int:
        """How many tasks it was sent that have not ended."""
        return len(self._sent) + self._besides

    @property
    def brief(self) -> bool:
        """Whether what it runs, as far as is known, is thought to be done in no time."""
        return not self._sent or next(iter(self._sent.values())).expected < WORTH

    def take(self) -> Iterator[Unit]:
        """The tasks that may be sent now, each from then on counted as sent."""
        queue, sent = self._queue, self._sent
        while queue and (room := AHEAD - self.ahead) > 0:
            unit = queue[0]
            if type(unit) is Bundle:
                size = unit.size
                if len(unit) > room or self.sent_bytes + size > AHEAD_BYTES:
                    unit.untie()  # then some of them may go
                    continue
                unit.n = self.n + 1
                self.n += len(unit)
                self._besides += len(unit) - 1
            elif unit.state == "queued":
                size = unit.size + unit.input_bytes
                if sent and self.sent_bytes + size > AHEAD_BYTES:
                    return
                self.n += 1
                unit.n = self.n
            else:
                queue.popleft()
                continue
            queue.popleft()
            sent[self.n] = unit
            self.sent_bytes += size
            yield unit

    def hold(self, record: Record, n: int) -> None:
        """The engine has this task, as its attempt `n`; those of smaller numbers come before."""
        record.place, record.n, record.state = self.id, n, "sent"
        self._sent[n] = record
        self.sent_bytes += record.size + record.input_bytes
        self.load += 1
        self.backlog += record.expected
        self.spare += record.items - 1

    def renumber(self, record: Record, n: int) -> None:
        """The engine has this attempt under another number than is known."""
        del self._sent[record.n]
        record.n = n
        self._sent[n] = record

    def sort(self) -> None:
        """Bring what was sent into the order of its numbers."""
        self._sent = dict(sorted(self._sent.items()))

    def abort_stale(self) -> m.Abort:
        """What it is told about attempts that nobody wants."""
        ids, numbers = [id for id, _ in self.stale], [n for _, n in self.stale]
        return m.Abort(ids, running=True, numbers=numbers)

    def leave(self, record: Record) -> None:
        """A task that was queued or sent here is no longer."""
        if self.has(record):
            del self._sent[record.n]
            self.sent_bytes -= record.size + record.input_bytes
        self.load -= 1
        self.backlog -= record.expected
        if record.pool is not None:
            self.spare -= record.items - 1

    def leave_together(self, bundle: Bundle) -> None:
        """Tasks that were sent here together have ended; others behind them may go on."""
        all = self._sent.pop(bundle.last, None) is not None
        self._besides -= len(bundle) - all
        self.load -= len(bundle)
        self.backlog -= len(bundle) * bundle.expected
        self.sent_bytes -= bundle.size

    def pass_on(self, old: Record, new: Record) -> None:
        """An attempt at a share goes on as one at the rest of its items, which is a share now."""
        self._sent[new.n] = new
        self.sent_bytes += new.size - old.size
        self.spare += new.items - old.items

    def call_back(self) -> tuple[list[Record], list[Record]]:
        """Balanced tasks that have not started, as far as is known, and shall run elsewhere; of a
        share that runs, what has not.

        Those that were not sent leave the queue; those that were sent stay until the engine has
        said that it will not start them. What runs is not brief, so that nothing more comes
        behind it.
        """
        if self.sent:
            running = next(iter(self.sent.values()))
            self.backlog += MOST - running.expected
            running.expected = MOST
        queued = [r for r in self.queue if r.state == "queued" and not r.direct]
        if queued:
            self._queue = deque(r for r in self.queue if r.state == "queued" and r.direct)
        sent = list(self.sent.values())
        if sent and sent[0].items == 1:
            del sent[0]
        sent = [r for r in sent if not (r.direct or r.unwanted)]
        for record in sent:
            record.recalled = record.attempt
        return queued, sent

    def info(self) -> m.EngineInfo:
        """What clients are told."""
        return m.EngineInfo(self.id, self.name, self.host, self.pid, self.since, self.python)

    def __repr__(self) -> str:
        state = "here" if self.here else "gone"
        return (
            f"<Place {self.id} {state} {self.name} queue {len(self._queue)} sent {len(self._sent)}>"
        )
