"""The clients as the controller knows them: one session each, across all their connections.

What a client is to be told in any case (outcomes, and the output of its tasks) is *due* until it
goes out in a numbered `Deliver`, and kept until the client has `Got` that number; a client that
reconnects gets the rest again. At most `WINDOW` bytes are under way to one client, so a client that
does not read costs no more than what it has asked for.

The other direction is bounded by *credit*, see `quota`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from . import messages as m
from .events import Conn, Effect, Send
from .pools import chunk_id

WINDOW = 64 << 20
"""Bytes on their way to one client at most; one delivery always goes."""

EMPTY = 300
"""Bytes that a submission counts for in which there is nothing."""

HELD = 100_000
"""Tasks in aborts that came before the tasks; one abort always waits."""

ANSWERS = 1000
"""Answers kept for one client, to requests that must not be carried out twice."""

ANSWERS_BYTES = 4 << 20
"""The same in bytes; the last one is always kept."""

SLIM = 1000
"""Bytes of an outcome from which it is worth to give up its value."""

BATCH = 4096
"""Outcomes in one delivery, about: those in columns go together."""

OUTPUT_DUE = 16 << 20
"""Bytes of output due to one client at most; the rest is dropped, and that is said."""

OPEN, OF_ONE = 100, 20
"""Questions at most that engines, or the database, are asked at a time; and those of one client."""


class Session:
    """One client, for as long as anything is owed to it."""

    def __init__(self, number: int, identity: bytes, id: str, role: str) -> None:
        self.number = number  # among all sessions
        self.identity = identity
        self.id = id  # public
        self.role = role
        self.host = ""
        self.pid = 0
        self.silent = False  # the controller was started again, and it has not said what it lacks
        self.repeats = False  # it has said that, and says again what it had sent the one before
        self.claimed: set[str] = set()  # what it lacks, as far as it has said that
        self.sent = 0  # the last Submit.seq that the controller before may have got
        # What it may lack, of tasks that are forgotten: by task, itself or the shares of a chunk.
        self.unclaimed: dict[str, dict[str, m.Outcome]] = {}
        self.unclaimed_bytes = 0
        self.lanes: dict[str, Conn] = {}
        self.away_since: float | None = None  # without any connection since then
        self.submitted = 0  # the last Submit.seq that arrived
        self.waiting: deque[tuple[m.Submit, int]] = deque()  # with sizes; until the functions
        # of the first are there
        self.lacking: tuple[bytes, ...] = ()  # the functions of that one
        self.taken = 0  # the last Submit.seq whose tasks are known
        self.noted: deque[tuple[int, int]] = deque()  # (record of the journal, seq) of those taken
        self.admitted = 0  # the last Submit.seq for which there was room
        self.accepted = 0
        self.told = 0  # the last Accepted.seq that was sent
        self.unaccepted: deque[tuple[int, int, int]] = deque()  # (seq, bytes, tasks)
        self.unaccepted_bytes = self.unaccepted_tasks = 0
        self.held: list[m.Abort] = []  # control that came before the work it is about
        self.answers: OrderedDict[int, m.Message] = OrderedDict()  # to requests that did something
        self.answers_bytes = 0
        self.expired = 0  # outcomes that have lost their values
        self.answering: set[int] = set()  # requests whose answers wait for the disk
        self.due: deque[m.Outcome | m.Done | m.Output] = deque()
        self.output_due = 0  # bytes of it
        self.counted = 0  # how many of those in `due` have had to wait
        self.due_bytes = 0  # of outcomes among these
        self.fresh_bytes = 0  # that became due since all of it was given up that can be
        self.dropped: dict[str, m.Output] = {}  # by task: what in `due` stands for dropped outputs
        self.under_way: deque[tuple[m.Deliver, int]] = deque()
        self.under_way_bytes = 0
        self.delivered = 0  # the last Deliver.seq
        self.fetching: set[str] = set()  # tasks of others that it waits for
        self.cuts = 0  # how often in turn it was cut off because of what it sends, or does not read
        self.farming = False  # its tasks pass the controller by

    def arrived(self, submit: m.Submit) -> int:
        """Note a submission; gives its size."""
        size = submit.size() or EMPTY
        tasks = submit.count or 1
        self.submitted = submit.seq
        self.waiting.append((submit, size))
        self.unaccepted.append((submit.seq, size, tasks))
        self.unaccepted_bytes += size
        self.unaccepted_tasks += tasks
        return size

    def hold(self, abort: m.Abort) -> bool:
        """Keep an abort until the work it is about is there; False when there are too many."""
        self.held.append(abort)
        return len(self.held) == 1 or sum(1 + len(a.ids) for a in self.held) <= HELD

    def take(self, submit: m.Submit, record: int) -> None:
        """Its tasks are known, and noted in this record of the journal."""
        self.taken = submit.seq
        self.noted.append((record, submit.seq))

    def accept(self, durable: float) -> bool:
        """Accept what is on disk up to this record; False when there was nothing to accept."""
        before = self.accepted
        while self.noted and self.noted[0][0] <= durable and self.noted[0][1] <= self.admitted:
            self.accepted = self.noted.popleft()[1]
        if self.accepted == before:
            return False
        while self.unaccepted and self.unaccepted[0][0] <= self.accepted:
            _, size, tasks = self.unaccepted.popleft()
            self.unaccepted_bytes -= size
            self.unaccepted_tasks -= tasks
        return True

    def tell_accepted(self, out: list[Effect]) -> None:
        """Say how far submissions are accepted."""
        if (conn := self.lanes.get("tasks")) is not None:
            self.told = self.accepted
            out.append(Send(conn, m.Accepted(self.accepted)))

    def answered(self, answer: m.Reply | m.Refused) -> m.Message:
        """Keep the answer, in case the request comes again."""
        if answer.number in self.answers:
            self.answers_bytes -= _answer_size(self.answers[answer.number])
        self.answers[answer.number] = answer
        self.answers_bytes += _answer_size(answer)
        while len(self.answers) > ANSWERS or (
            self.answers_bytes > ANSWERS_BYTES and len(self.answers) > 1
        ):
            self.answers_bytes -= _answer_size(self.answers.popitem(last=False)[1])
        return answer

    def got(self, seq: int) -> list[m.Deliver]:
        """The client has every delivery up to `seq`; gives those that it had not confirmed before.

        What counts another session's says nothing.
        """
        delivers: list[m.Deliver] = []
        while self.under_way and self.under_way[0][0].seq <= seq <= self.delivered:
            deliver, size = self.under_way.popleft()
            self.under_way_bytes -= size
            delivers.append(deliver)
        return delivers

    def owe_output(self, output: m.Output) -> None:
        """An output becomes due, if there is room for it."""
        if self.output_due <= OUTPUT_DUE:
            self.dropped.pop(output.id, None)  # what is dropped from now on comes after this
            self.output_due += output.size()
            self.due.append(output)
            return
        if output.number < 0:
            return
        before = self.dropped.get(output.id)
        if before is not None and before.attempt == output.attempt:
            before.number = max(before.number, output.number)
        elif self.output_due <= 2 * OUTPUT_DUE:
            dropped = m.Output(
                output.id, output.attempt, output.number, "dropped", "", output.engine
            )
            self.dropped[output.id] = dropped
            self.output_due += dropped.size()
            self.due.append(dropped)

    def _leaves(self, output: m.Output) -> None:
        """An output is due no more."""
        self.output_due -= output.size()
        if self.dropped.get(output.id) is output:
            del self.dropped[output.id]

    def owed(self) -> list[m.Outcome]:
        """Outcomes of which it is not known whether the client has them."""
        outcomes = [outcome for item in self.due for outcome in _outcomes(item)]
        outcomes += (o for deliver, _ in self.under_way for o in deliver.one_by_one())
        return [*self.may_lack(), *outcomes]

    def may_lack(self) -> Iterator[m.Outcome]:
        """What it may lack, of tasks that are forgotten."""
        return chain.from_iterable(part.values() for part in self.unclaimed.values())

    def resume(self, out: list[Effect]) -> None:
        """The client is back on a new connection; what it has not got goes out again."""
        conn = self.lanes["tasks"]
        out.extend(Send(conn, deliver) for deliver, _ in self.under_way)

    def pump(self, out: list[Effect]) -> None:
        """Send what is due, as far as the window allows."""
        conn = self.lanes.get("tasks")
        while (
            conn is not None and self.due and (not self.under_way or self.under_way_bytes < WINDOW)
        ):
            deliver = m.Deliver(self.delivered + 1, [], [], [])
            size = count = 0
            room = WINDOW - self.under_way_bytes
            while self.due and count < BATCH and size < room:
                item = self.due.popleft()
                size += (nbytes := item.size())
                if self.counted:
                    self.counted -= 1
                    self.due_bytes -= 0 if type(item) is m.Output else nbytes
                if type(item) is m.Output:
                    self._leaves(item)
                    deliver.outputs.append(item)
                elif type(item) is m.Done:
                    deliver.done.append(item)
                    count += len(item)
                elif type(item) is m.Outcome:
                    deliver.outcomes.append(item)
                    count += 1
            if self.told < self.accepted:
                self.tell_accepted(out)
            self.delivered += 1
            self.under_way.append((deliver, size))
            self.under_way_bytes += size
            out.append(Send(conn, deliver))
        if len(self.due) > self.counted:
            before = self.due_bytes
            for item in islice(reversed(self.due), len(self.due) - self.counted):
                self.due_bytes += 0 if type(item) is m.Output else item.size()
            self.fresh_bytes += self.due_bytes - before
            self.counted = len(self.due)

    def keep(self, outcome: m.Outcome) -> int:
        """It may lack this, and will say so; gives the bytes by which more is due to it now."""
        part = self.unclaimed.setdefault(chunk_id(outcome.id), {})
        before = part.get(outcome.id)
        more = outcome.size() - (0 if before is None else before.size())
        part[outcome.id] = outcome
        self.unclaimed_bytes += more
        self.due_bytes += more
        self.fresh_bytes += more
        return more

    def has_claimed(self) -> int:
        """It has said all that it lacks; gives the bytes by which less is due to it now."""
        less, self.unclaimed_bytes = self.unclaimed_bytes, 0
        self.unclaimed, self.claimed = {}, set()
        self.due_bytes -= less
        return less

    def expire(self, size: int) -> int:
        """Give up about so many bytes of what is due, the oldest first; of how many outcomes."""
        freed = expired = 0
        before = self.counted

        def less(item: Any) -> Any:
            nonlocal freed, expired
            if freed >= size or type(item) is not m.Outcome or item.size() <= SLIM:
                return item
            slim = _expired(item)
            freed += item.size() - slim.size()
            expired += 1
            return slim

        for part in self.unclaimed.values():
            part.update({id: less(outcome) for id, outcome in part.items()})
        self.unclaimed_bytes -= freed
        due: deque[Any] = deque()
        for position, item in enumerate(self.due):
            each = _outcomes(item) if type(item) is m.Done and item.largest > SLIM else [item]
            self.counted += len(each) - 1 if position < before else 0
            due.extend(map(less, each))
        self.due = due
        self.due_bytes -= freed
        if freed < size:
            self.fresh_bytes = 0
        return expired

    def __repr__(self) -> str:
        return (
            f"<Session {self.id} {self.role} accepted {self.accepted}/{self.submitted} "
            f"due {len(self.due)} under way {len(self.under_way)}>"
        )


def _outcomes(item: m.Outcome | m.Done | m.Output) -> list[m.Outcome]:
    """The outcomes among what is due: none, one, or several."""
    if type(item) is m.Done:
        return item.outcomes()
    return [item] if type(item) is m.Outcome else []


def _expired(outcome: m.Outcome) -> m.Outcome:
    """What is left of an outcome that could not be kept."""
    facts = {"reason": "its client took no results, and too many waited for it"}
    return m.Outcome(
        outcome.id, "expired", b"", (), outcome.engine, outcome.incarnation, outcome.attempt,
        outcome.submitted, outcome.started, outcome.completed, 0, outcome.name, facts,
        start=outcome.start, stop=outcome.stop,
    )  # fmt: skip


def _answer_size(answer: m.Message) -> int:
    """Bytes that an answer which is kept takes, about: few name tasks that nobody knows."""
    unknown = (
        answer.value.get("unknown", ()) if isinstance(answer, m.Reply) and answer.value else ()
    )
    return 200 + sum(60 + len(id) for id in unknown)


def too_many(asking: Sequence[Session], session: Session, told: str) -> str:
    """Why this client cannot ask one thing more than these do already; "": it can.

    `told` says what is done with so many questions.
    """
    if asking.count(session) >= OF_ONE:
        return told.format(f"{OF_ONE} questions of this client") + "; wait for an answer"
    if len(asking) >= OPEN:
        return told.format(f"{OPEN} questions") + "; ask again later"
    return ""
