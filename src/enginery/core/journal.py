"""What the controller writes down, so that one that starts again goes on where it was.

Everything noted in a turn becomes one record, which is appended before anything of that turn is
said to anybody. So when the process is killed, the journal holds all that others can have heard.
That it is on disk, too, is told later (`Synced`); only what sets somebody free to forget waits for
that: a client's submissions are accepted, an engine's results are acknowledged, and a life of an
engine gets its first work, once the records that tell of them are *durable*. Dispatch never waits.

When the journal has grown enough, and less than half of it can still matter, or its log alone is
long, all that does is written anew, a little in each turn, so that the older part can go (`trim`).

What the disk does not keep up with is in memory: results of more than `room` bytes that are not
durable make it `full`, and engines get nothing more to do until there is room again.

When it cannot be written (a full disk), nothing becomes durable and new submissions are refused;
what is at work goes on. A new beginning, which writes everything anew, is tried from time to time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from math import inf

from . import entries as e
from . import messages as m
from .account import Account
from .events import Append, Effect, Log, Synced, Trim
from .pools import Pool
from .tasks import Record

PART = 1000
"""Entries of an account of everything that are written in one turn at most."""

PART_BYTES = 1 << 20
"""The same in bytes, about; one entry always goes."""

PAUSE = 0.001
"""Seconds between two parts, when nothing else happens."""

GROWTH = 64 << 20
"""Bytes that are appended at least before everything is written anew."""

LONG = 4 * GROWTH
"""The same of the log alone, without large buffers: it is read again, and held, at a restart."""

RETRY = 5.0
"""Seconds after which a journal that could not be written begins anew."""


class Journal:
    """See the module's theory. Without a `name` there is none; everything is durable at once."""

    def __init__(self, name: str = "") -> None:
        self.name = name  # of this journal, whichever controller writes it
        self.turn = 0  # the last record
        self.durable: float = 0 if name else inf  # the last record that is on disk
        self.broken = ""  # why it cannot be written
        self.account: Account | None = None  # what there is to write
        self._entries: list[e.AnyEntry] = []
        self._changed: dict[str, Record] = {}
        self._divided: dict[str, Pool] = {}
        self._functions: set[bytes] = set()  # those that stand in what is kept of it
        self._urgent = False
        self._anew = False  # everything is to be written anew
        self._writing: Iterator[tuple[e.AnyEntry, int]] | None = None  # what is left of that
        self._part_at = 0.0  # when the next part of it is due
        self._begun = 0  # the record in which it began; 0: it is on disk
        self._complete = 0  # the record in which it ended
        self._base = self._base_log = 0  # bytes that it took; without large buffers
        self.doubt = False  # it is not known yet what has happened before
        self._whole = True  # that was known when everything was written anew
        self._hole = False  # something was never written; all before `_complete` says too little
        self._retry_at: float | None = None
        self.room: float = inf  # bytes of results that may be under way to the disk
        self._size = 0  # those noted in this turn
        self._under_way: deque[tuple[int, int]] = deque()  # records, and how much is in them
        self._bytes = 0  # in all of these

    # --- what is noted --------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        """Whether there is one."""
        return bool(self.name)

    @property
    def accounting(self) -> bool:
        """Whether everything is being written anew, what is forgotten meanwhile excepted."""
        return self._writing is not None

    @property
    def mark(self) -> int:
        """The record that has to be durable for all that was noted so far."""
        noted = self._entries or self._changed or self._divided
        return self.turn + 1 if noted else self.turn

    def note(self, entry: e.AnyEntry, urgent: bool = False, size: int = 0) -> None:
        """Something has happened; somebody waits for it to be durable, if that is `urgent`.

        `size` is what is held in memory until then.
        """
        if self.name:
            self._entries.append(entry)
            self._urgent |= urgent
            self._size += size

    @property
    def full(self) -> bool:
        """Whether so much is under way to the disk that there should be no more."""
        return self._bytes > self.room

    def function(self, hash: bytes, blob: m.Code) -> None:
        """A task that is noted needs this function."""
        if self.name and hash not in self._functions:
            self._functions.add(hash)
            self._entries.append(e.Function(hash, *m.fields_of(blob)))

    def changed(self, record: Record) -> None:
        """What has become of this task is written as a whole, as it is at the end of the turn."""
        if self.name and not record.direct:
            self._changed[record.spec.id] = record

    def divided(self, pool: Pool) -> None:
        """How far this chunk is divided is written, as it is at the end of the turn."""
        if self.name:
            self._divided[pool.id] = pool

    def resume(self, turn: int) -> None:
        """Go on behind this record, which is on disk."""
        self.turn = turn
        self.durable = turn

    def begin_anew(self) -> None:
        """Write everything anew, from the end of this turn on."""
        self._anew = self.on

    # --- what is written ------------------------------------------------------------------------

    def settle(self, now: float, out: list[Effect]) -> None:
        """Write what was noted in this turn, and a part of the account, if one is being given."""
        if self.broken:
            self._entries.clear()
            self._changed.clear()
            self._divided.clear()
            self._size = 0
            if self._retry_at is None or now < self._retry_at:
                return
            self.broken, self._retry_at, self._anew = "", None, True
        if self._changed:
            account = self.account
            assert account is not None
            # A share may have come to be and ended in this turn; then nothing else tells of it.
            told = [r for r in self._changed.values() if r.outcome is None or r.pool is not None]
            self._entries += [account.state(record) for record in told]
            self._changed = {}
        if self._divided:
            assert self.account is not None
            whole = self._hole  # what was told before may not be there
            pools = self._divided.values()
            self._entries += [self.account.divided(pool, whole) for pool in pools]
            self._divided = {}
        anew, self._anew = self._anew, False
        if anew:
            self._begin_anew()
        elif self._writing is not None:
            self._go_on(self._writing)
        self._part_at = now + PAUSE
        if self._entries:
            self.turn += 1
            out.append(Append(self.turn, e.Turn(now, self._entries), anew, self._urgent))
            self._entries, self._urgent = [], False
            if self._size:
                self._under_way.append((self.turn, self._size))
                self._bytes += self._size
                self._size = 0

    def deadline(self) -> float | None:
        """When `settle` is due, if nothing happens before."""
        if self._retry_at is not None:
            return self._retry_at
        return self._part_at if self._writing is not None else None

    def _begin_anew(self) -> None:
        assert self.account is not None
        self._functions.clear()
        self._whole = not self.doubt
        self._begun, self._complete = self.turn + 1, 0
        self._writing = self.account.everything()
        self._go_on(self._writing)

    def _go_on(self, writing: Iterator[tuple[e.AnyEntry, int]]) -> None:
        """The next part of the account, and the end of it."""
        size = 0
        for number, (entry, nbytes) in enumerate(writing, 1):
            if isinstance(entry, e.Function):
                self._functions.add(entry.hash)
            self._entries.append(entry)
            size += nbytes
            if number >= PART or size >= PART_BYTES:
                return
        self._writing = None
        self._complete = self.turn + 1
        self._entries.append(e.Complete())

    # --- what becomes of it ---------------------------------------------------------------------

    def synced(self, told: Synced, out: list[Effect]) -> bool:
        """All up to this record is on disk; if that is news."""
        if self.broken or told.turn <= self.durable:
            return False
        complete = bool(self._complete) and told.turn >= self._complete
        if self._hole and not complete:
            return False
        self._hole = False
        self.durable = told.turn
        while self._under_way and self._under_way[0][0] <= told.turn:
            self._bytes -= self._under_way.popleft()[1]
        if complete:
            out.append(Trim(self._begun, self._whole))
            self._begun = self._complete = 0
            self._base, self._base_log = told.size, told.log
        elif not self._begun:
            self._anew = self._has_grown(told)
        return True

    def _has_grown(self, told: Synced) -> bool:
        """Whether it is worth it to write everything anew."""
        held = self.account.held if self.account is not None else 0
        if told.log > max(LONG, 2 * self._base_log):
            return True
        return told.size > max(GROWTH, 3 * self._base, 2 * held)

    def failed(self, reason: str, now: float, out: list[Effect]) -> None:
        """It cannot be written; nothing is durable any more until it was written anew."""
        if not self.broken:
            out.append(Log("error", "journal.failed", {"reason": reason}))
        self.broken = reason
        self.turn += 1  # one that is missing shows that something is
        self._hole = True
        self._writing, self._begun, self._complete = None, 0, 0
        self._retry_at = now + RETRY
        self._under_way.clear()
        self._bytes = 0

    def __repr__(self) -> str:
        state = f"broken: {self.broken}" if self.broken else f"durable {self.durable}/{self.turn}"
        return f"<Journal {self.name or 'none'} {state}>"
