"""The life of tasks: accepted, placed, sent, ended. The controller's only writer of task state.

It knows engines and tasks and nothing of clients: what has ended is left in `ended`, for the
controller to tell. Methods change state; `settle` then gives out what can run and says what to
send, once for all that has happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from operator import sub
from sys import intern
from typing import Any, NamedTuple

from msgspec.structs import replace

from ..schemes import Scheme
from . import entries
from . import messages as m
from .account import LARGE, request_of
from .ahead import LEAST
from .alike import ran_well
from .bundles import LARGEST, Bundle, Unit
from .chunks import Chunks
from .conditions import Conditions
from .dispatch import Dispatch
from .engine import STUCK_REASON
from .engines import Place, Settling
from .events import Effect, Log
from .functions import Functions
from .history import History
from .inputs import Inputs
from .journal import Journal
from .placement import Placement
from .pools import is_chunk
from .quota import Quota
from .table import Tasks
from .tasks import Record, Refusal

FAILED = frozenset({"error", "overtime"})
"""How an attempt ends that is retried if it may be."""


TOLD = frozenset({"ok", "error"})
"""What an engine tells with a value."""

HAD = "engines may have run some of it"
"""Why a task is lost of which an engine had told, and that ended before its client came back."""

IN_DOUBT = "it may have been started on an engine that has not come back to the controller"
"""What became of tasks of which neither journal nor engine says."""

NO_INPUTS = {"reason": "the values that it takes are not known any more", "started": False}
"""Of a task that an engine had before the controller was started again, and gave back."""


class Unfetched(NamedTuple):
    """The large value of a direct request, which its engine keeps until its client has it."""

    place: Place
    settling: Settling
    record: Record


class Work:
    """Every task and every engine of the cluster."""

    def __init__(
        self,
        scheme: Scheme,
        *,
        hwm: int,
        crash_limit: int,
        record_limit: int,
        record_bytes: int,
        function_bytes: int,
        journal: Journal,
        quota: Quota,
    ) -> None:
        self.journal = journal
        self.history = History(record_limit, record_bytes)
        self.tasks = Tasks(self.history.archive)
        self.places: dict[int, Place] = {}
        self.here: dict[int, Place] = {}  # those of engines that are here
        self.placement = Placement(scheme, hwm)
        self.inputs = Inputs()
        self.conditions = Conditions(
            self.tasks, self.places, self.placement, self.inputs,
            give_up=self._give_up, address=self._address,
        )  # fmt: skip
        self.dispatch = Dispatch(self, self._come_back)
        self.chunks = Chunks(
            self, leave=self.dispatch.leave, drop=self._drop, put_back=self._put_back
        )
        self.numbers: dict[str, int] = {}  # of the tasks that have one
        self.numbered: dict[int, str] = {}
        self.numbers_given = 0  # ever
        self.functions = Functions(function_bytes)
        self.crash_limit = crash_limit
        self.quota = quota
        self.late = 0
        self.retried = 0  # how often a task was run once more
        self.ended: list[Unit] = []
        # They may have been started; True: a client has submitted them again, perhaps of long ago.
        self.doubtful: dict[str, bool] | None = None
        # What came of attempts (engine, task, number) that may turn out to be those that count.
        self.disputed: dict[tuple[int, str, int], m.Result | None] = {}
        self.untold = False  # lives have gone that have not told what they had since a restart
        self.forgotten: set[str] = set()  # tasks that have ended since then
        self.had: set[str] = set()  # tasks that engines had and no client has submitted, so far
        self.unfetched: dict[str, Unfetched] = {}  # large values, not in the journal
        self.unsettled: dict[int, Place] = {}  # engines whose results are not all on disk
        self._accepted = 0  # tasks, ever

    @property
    def unfinished(self) -> int:
        """How many tasks are not done."""
        return self.quota.tasks

    # --- from clients ---------------------------------------------------------------------------

    def note(
        self, owner: bytes, seq: int, tasks: Collection[m.Task], alike: list[m.Alike] | None = None
    ) -> None:
        """Write down tasks that are about to be accepted; of direct requests not what they do."""
        if not self.journal.on or not (tasks or alike):
            return
        balanced = [task for task in tasks if task.engine < 0]
        direct = [entries.Direct.of(task) for task in tasks if task.engine >= 0]
        submit = m.Submit(seq, balanced, alike or [])
        for hash in submit.functions():
            self.journal.function(hash, self.functions[hash])
        self.journal.note(entries.Taken(owner, seq, balanced, direct, submit.alike))

    def accept(
        self, spec: m.Task, owner: bytes, now: float, hidden: Collection[str] = ()
    ) -> Record | None:
        """A task arrives, after its function; None when it is here already.

        It may not take the values of tasks that are `hidden` from its client.
        """
        if spec.id in self.tasks:
            return None
        if spec.targets:
            spec.targets = tuple(sorted(set(spec.targets)))
        record = Record(spec, owner)
        self.know(record)
        self.quota.take(owner, record.size, buffers=record.given)
        spec.name = intern(spec.name)  # a million tasks have a few names
        if spec.terms is None:
            spec.function = self.functions.need(spec.function)
        else:
            for function in spec.functions():
                self.functions.need(function)
            self.quota.bytes += self.inputs.need(spec.terms.inputs, self.tasks)
            self._note_inputs(spec.terms.inputs)
        if spec.id in self.had:
            return self._was_had(record, now)
        if spec.engine >= 0:
            self._accept_direct(record, now, hidden)
            return record
        if spec.targets:
            for engine in spec.targets:
                if engine not in self.places:
                    self._no_engine(record, engine, now)
                    return record
        if spec.terms is not None:
            self.conditions.accept(record, spec.terms, now, hidden)
            if self.journal.accounting:  # it may not tell any more of what this waits for
                self.journal.changed(record)
            return record
        if spec.chunk is not None:
            self.chunks.accept(record, spec.chunk)
            if self.chunks.was_had(spec.id):
                return self._was_had(record, now)
        record.move("wait", now, "accepted")
        self.placement.add(record)
        return record

    def _was_had(self, record: Record, now: float) -> Record:
        """Engines had (some of) a task that comes only now; what they told is forgotten by now."""
        self.had.discard(record.spec.id)
        self.end(record, "lost", now, facts={"reason": HAD, "started": True})
        return record

    def accept_plain(self, specs: list[m.Task], first: int, owner: bytes, now: float) -> int:
        """As `accept`, of tasks that ask for nothing but to be run, from the `first` on.

        Gives the position of the first that does, or is here already; most do not, so this is
        written for speed.
        """
        had, known, at = self.had, self.tasks, first
        for spec in islice(specs, first, None):
            id = spec.id
            if spec.terms is not None or spec.engine >= 0 or spec.targets or id in known:
                break
            if spec.chunk is not None or spec.buffers or "." in id or id in had:
                break
            record = Record(spec, owner)
            self.know(record)
            self.quota.take(owner, record.size)
            spec.name = intern(spec.name)  # a million tasks have a few names
            spec.function = self.functions.need(spec.function)
            record.move("wait", now, "accepted")
            self.placement.add(record)
            at += 1
        return at

    def accept_alike(self, alike: m.Alike, owner: bytes, now: float) -> bool:
        """The same of calls that are alike, as bundles; False if one by one is the only way."""
        ids, tasks = alike.ids, self.tasks
        if self.placement.ranks or len(ids) < 2 or "." in "".join(ids):
            return False
        if len(set(ids)) < len(ids) or not self.had.isdisjoint(ids) or tasks.knows_any(ids):
            return False
        function, name = self.functions.need(alike.function, len(ids)), intern(alike.name)
        for start in range(0, len(ids), LARGEST):
            part = replace(alike.cut(start, start + LARGEST), function=function, name=name)
            bundle = Bundle(part, owner, self._accepted + 1, tasks)
            self.quota.take(owner, bundle.size, len(bundle))
            self._accepted += len(bundle)
            bundle.move("wait", now, "accepted")
            self.placement.add_bundle(bundle)
        return True

    def adopt(
        self, place: Place, n: int, id: str, attempt: int, *, name: str, stage: int, owner: bytes
    ) -> None:
        """A life of an engine has an attempt that is not known to have been sent there.

        Of a task that is not known at all, this is all that there is to know, unless its client
        submits it again: it is like a direct request.
        """
        record = self.tasks.get(id)
        if record is None:
            spec = m.Task(id, self.functions.need(b""), b"", name=name, engine=place.id)
            record = Record(spec, owner)
            record.stage = stage
            self.know(record)
            self.quota.take(owner, record.size)
            self.had.add(id)
            self.journal.note(entries.Taken(owner, 0, [], [entries.Direct.of(spec)]))
            self._note_request(record)
        else:
            if record.state == "waiting":
                self.placement.take_out(record)
            elif record.place >= 0:
                if record.state == "queued":  # or it would still be sent from that queue
                    self.places[record.place].queue.remove(record)
                self.dispatch.leave(record)
            self._reach(record, stage)
            record.spent = max(record.spent, record.spent_before(attempt))
            if not record.spec.function:
                record.spec, record.stage = replace(record.spec, engine=place.id), stage
            record.place = place.id
            self._as_it_was(record)
            self.journal.changed(record)
        record.wait = None
        record.attempt = attempt
        record.expected = LEAST
        if n <= 0:  # it has ended, before anything that was said since
            record.aborting = record.interrupting = False
        place.hold(record, n)

    def give_away(
        self, record: Record, reason: str, started: bool, now: float, *, forget: bool
    ) -> None:
        """An engine will not run a task of which it had told: that ends it, or is as if it had not
        told of it, so that its client may submit it again.
        """
        place = self.places[record.place]
        self.dispatch.leave(record)
        if not forget:
            facts = {"reason": reason, "started": started, "host": place.host, "pid": place.pid}
            status: m.Status = "aborted" if record.aborting else "lost"
            self.end(record, status, now, facts=facts, engine=place.id)
            self.had.discard(record.spec.id)
            return
        self.had.discard(record.spec.id)
        self.quota.give_back(record.owner, record.size, record.given)
        self.functions.release(record.spec.function)
        self._drop(record.spec.id)
        self.forgotten.discard(record.spec.id)  # it may still come

    def own(self, record: Record, owner: bytes) -> None:
        """A task of which an engine had told is this client's, if it is nobody's so far."""
        if record.owner not in {b"", owner}:
            return
        had = record.spec.id in self.had
        self.had.discard(record.spec.id)
        if not record.owner and record.outcome is None:
            self.quota.give_back(record.owner, record.size, record.given)
            self.quota.take(owner, record.size, buffers=record.given)
        record.owner = owner
        if had:
            self._note_request(record)

    def _note_request(self, record: Record) -> None:
        """Write down what is known of a direct request, unless it has ended."""
        if self.journal.on and record.outcome is None:
            self.journal.note(request_of(record, record.spec.id in self.had))

    def complete(self, spec: m.Task) -> None:
        """All of a task of which an engine had told not much more than its name."""
        record = self.tasks[spec.id]
        if record.spec.function or record.outcome is not None or spec.engine >= 0:
            return
        self.functions.release(record.spec.function)
        for function in spec.functions():
            self.functions.need(function)
        spec.targets = tuple(sorted(set(spec.targets)))
        more = spec.size() - record.size
        record.spec, record.submission = spec, None
        record.size += more
        self.quota.grow(record.owner, more, record.given)
        record.allowed = spec.targets
        record.stage, stage = 0, record.stage  # which an engine has told
        self._reach(record, stage)
        record.spent = record.spent_before(record.attempt)
        if spec.terms is not None:
            self.quota.bytes += self.inputs.need(spec.terms.inputs, self.tasks)
            self._note_inputs(spec.terms.inputs)
            self.placement.rank(record)
            self._as_it_was(record)
        if record.state == "sent":
            self.places[record.place].sent_bytes += more + record.input_bytes
        self.journal.changed(record)

    def _as_it_was(self, record: Record) -> None:
        """What is known of a task that an engine had, whatever its dependencies say by now."""
        if record.follows and not record.allowed:
            record.allowed = (record.place,)  # one of those that it is to follow
        if not self._take_inputs(record):
            record.spent = record.spec.retries  # there is nothing to run it with once more

    def _accept_direct(self, record: Record, now: float, hidden: Collection[str]) -> None:
        place, terms = self.places.get(record.spec.engine), record.spec.terms
        if terms is not None and terms.inputs and place is not None and place.there:
            self.conditions.accept(record, terms, now, hidden)
        else:
            self._address(record, now, "accepted")

    def _address(self, record: Record, now: float, cause: str) -> None:
        """A direct request goes to its engine."""
        place = self.places.get(record.spec.engine)
        if place is not None and place.there:
            record.move("assign", now, cause, place.id)
            self.dispatch.put(place, record)
        else:
            self._no_engine(record, record.spec.engine, now)

    def _no_engine(self, record: Record, id: int, now: float) -> None:
        here = sorted(p.id for p in self.places.values() if p.here)
        facts = {"reason": f"no engine {id} is registered", "engines": here, "started": False}
        self.end(record, "lost", now, facts=facts, engine=id)

    def refuse(self, record: Record, reason: str, now: float, again: bool) -> None:
        """A task that has just been accepted cannot be kept; another controller may have got it
        before, if it comes `again`.
        """
        if record.outcome is None:
            started = again and (self.untold or self.doubtful is not None)
            self.end(record, "lost", now, facts={"reason": reason, "started": started})

    def abort(self, record: Record, running: bool, now: float, gently: bool = False) -> bool:
        """The task shall not start; True when it may have, so that its engine has to be told.

        Of a chunk, no more shares shall be made.
        """
        match record.state:
            case "waiting" | "divided" if is_chunk(record):
                self.chunks.abort(record, now)
                return False
            case "done":
                return False
            case "sent":
                self._doom(record, running and not gently)
                return True
            case "queued" if not record.spec.function:  # its engine will say whether it has it
                self._doom(record, running and not gently)
                return False
            case "queued":
                self.dispatch.leave(record)
        self.end(record, "aborted", now)
        return False

    def _doom(self, record: Record, interrupting: bool) -> None:
        """What an engine has, or may have, shall not start any more, nor go on."""
        record.aborting = True
        record.interrupting |= interrupting
        if record.direct:
            self._note_request(record)
        else:
            self.journal.changed(record)

    def dropped(self, place: Place, id: str, n: int, now: float) -> None:
        """An engine has not started an attempt that was aborted or called back, and will not."""
        record = self.tasks.open(id)
        if record is None or record.n != n or not place.has(record):
            return
        if record.aborting:
            self.dispatch.leave(record)
            self.end(record, "aborted", now, engine=place.id)
        elif record.recalled == record.attempt:
            self._uncount(record)
            self._come_back(record, place, now)

    @staticmethod
    def _uncount(record: Record) -> None:
        """Nothing of the latest attempt has run, nor will: the next one has its number."""
        record.attempt -= 1
        record.recalled = 0

    # --- from the journal -----------------------------------------------------------------------

    def know(self, record: Record) -> None:
        """A task is known from now on, and stands behind all others."""
        self._accepted += 1
        record.number = self._accepted
        self.tasks.live[record.spec.id] = record

    def restore(
        self, record: Record, every: Mapping[str, Record], kept: Mapping[str, m.Value]
    ) -> None:
        """A task that has not ended; `every` one is known that it may depend on."""
        self.quota.take(record.owner, record.size, buffers=record.given)
        self.placement.rank(record)
        for function in record.spec.functions():
            self.functions.need(function)
        self.quota.bytes += self.inputs.restore(record.takes, every, kept)

    def restore_sent(self, record: Record) -> None:
        """Its engine has it, as it stands."""
        place = self.places[record.place]
        if not self._take_inputs(record):
            record.spent = record.spec.retries  # there is nothing to run it with once more
        record.expected = LEAST  # what waited there was brief, or one that was short
        place.hold(record, record.n)
        place.n = record.n

    def restore_waiting(
        self, record: Record, every: Mapping[str, Record], waits: Sequence[entries.Condition],
        now: float,
    ) -> None:  # fmt: skip
        """It waits for an engine, or for other tasks: those that it did (`waits`) or, if it was not
        looked at yet, those that it names.
        """
        terms = record.spec.terms
        if record.state != "waiting" and terms is not None:
            self.conditions.restore(record, terms, every, waits, now)
            return
        if not self._take_inputs(record):
            record.state = "held"
            self.end(record, "lost", now, facts=dict(NO_INPUTS))
            return
        record.state = "waiting"
        self.conditions.limit(record, now)
        self.placement.add(record)

    def _take_inputs(self, record: Record) -> bool:
        """Give a task the values that it takes; False when they are not all known any more."""
        if record.takes and not record.inputs:
            if any(id not in self.inputs.values for id in record.takes):
                return False
            record.inputs = self.inputs.of(record.takes)
            record.input_bytes = sum(value.size() for value in record.inputs)
        return True

    def restore_direct(self, record: Record, now: float) -> None:
        """Its engine has it, or nobody has; that will be seen."""
        place = self.places.get(record.spec.engine)
        if place is None or not place.silent:
            self._no_engine(record, record.spec.engine, now)
            return
        record.state = "queued"
        place.put(record)

    def never_sent(self, place: Place) -> list[Record]:
        """What is left of direct requests of which its engine, which has come back, has none."""
        return [r for r in place.queue if r.state == "queued" and not r.spec.function]

    def restore_done(self, record: Record) -> None:
        """A task that has ended."""
        self._keep(record)

    def restore_numbers(self, numbers: Mapping[str, int], given: int) -> None:
        """The numbers of tasks, and how many were given at least."""
        self.numbers_given = max(given, 1 + max(numbers.values(), default=-1))
        self.numbers = {id: number for id, number in numbers.items() if id in self.tasks}
        self.numbered = {number: id for id, number in self.numbers.items()}

    def never_had(self, place: Place, record: Record, now: float) -> None:
        """An engine does not have what it was sent, and has not begun it."""
        if record.aborting:
            self.dispatch.leave(record)
            self.end(record, "aborted", now, engine=place.id)
        else:
            self._uncount(record)
            self._come_back(record, place, now)

    def doubt(self, record: Record, now: float) -> None:
        """A task that waits may have been started all the same: that costs a retry, or ends it."""
        place = self.places.get(record.place)
        if place is not None and record.direct and record.state == "queued":
            self.dispatch.leave(record)
            facts = {"reason": IN_DOUBT, "started": True, "host": place.host, "pid": place.pid}
            self.end(record, "lost", now, facts=facts, engine=place.id)
        elif is_chunk(record) or record.state == "new":  # a share that is the chunk's again
            self.chunks.doubt(record, IN_DOUBT, now)
        elif record.state not in {"waiting", "held"}:
            pass
        elif record.spent < record.spec.retries:
            self.retried += 1
            record.spent += 1
            record.attempt += 1  # the one that may have been started
            record.move("retry", now, IN_DOUBT)
            self.journal.changed(record)
        else:
            self.end(record, "lost", now, facts={"reason": IN_DOUBT, "started": True})

    # --- from engines ---------------------------------------------------------------------------

    def results(self, place: Place, message: m.Results, now: float) -> None:
        """Attempts have ended, in this order."""
        for result in message.results:
            bundle, ended = self.tasks.bundled.get(result.id), 0
            if bundle is not None and (alone := ran_well([result])) is not None:
                ended = self._ended_alike(bundle, place, alone, 0, now)
            if not ended:
                self.result(place, result, now)
        ran, at = message.ran, 0
        while ran is not None and at < len(ran):
            bundle = self.tasks.bundled.get(ran.ids[at])
            ended = 0 if bundle is None else self._ended_alike(bundle, place, ran, at, now)
            if not ended:
                (result,) = ran.cut(at, at + 1).results()
                self.result(place, result, now)
            at += ended or 1

    def _ended_alike(self, bundle: Bundle, place: Place, ran: m.Ran, at: int, now: float) -> int:
        """How many tasks of a bundle have ended, by these results from position `at` on.

        0 if the first one is of another task. Nobody waits for any of them: who does has looked at
        it, and the bundle is untied.
        """
        if bundle.state != "sent" or bundle.at is not place:
            return 0
        ids = ran.ids[at : at + len(bundle)]
        count = len(ids)
        if bundle.ids[:count] != ids:
            pairs = enumerate(zip(bundle.ids, ids, strict=False))
            count = next(i for i, (one, other) in pairs if one != other)
        if not count:
            return 0
        done = bundle if count == len(bundle) else bundle.split(count)
        self._end_well(done, place, ran.cut(at, at + count), now)
        return count

    def _end_well(self, bundle: Bundle, place: Place, ran: m.Ran, now: float) -> None:
        """All tasks of a bundle are done, as it is told here."""
        took = list(map(sub, ran.completed, ran.started))
        self.placement.heard_all(bundle, took)
        place.heard = now
        place.leave_together(bundle)
        self.dispatch.touched[place.id] = place
        bundle.at = None
        bundle.move("end", now, "ok", place.id)
        alike = bundle.alike
        done = m.Done(place.id, place.name, alike.name, alike.submitted, ran)
        bundle.done, bundle.finished = done, now
        size = done.size()
        self.journal.note(entries.EndedWell(bundle.owner, done), size=size)
        self.quota.give_back(bundle.owner, bundle.size, tasks=len(bundle))
        self.functions.release(bundle.function, len(bundle))
        bundle.size += size
        self.ended.append(bundle)
        self._keep(bundle)

    def just_ended(self) -> set[str]:
        """The tasks that have ended in this turn."""
        return {id for u in self.ended for id in (u.ids if type(u) is Bundle else [u.spec.id])}

    def result(self, place: Place, result: m.Result, now: float) -> None:
        """An attempt has ended; anything but the latest attempt on this life is late."""
        record = self.tasks.open(result.id)
        if (
            record is None
            or record.attempt != result.attempt
            or record.state != "sent"
            or not place.has(record)
        ):
            if (place.id, result.id, result.attempt) in self.disputed:
                self.disputed[place.id, result.id, result.attempt] = result
            self.late += 1
            place.late += 1
            return
        place.heard = now
        if record.pool is None:
            place.leave(record)
            record.place = -1
            self.dispatch.touched[place.id] = place
        elif not self.chunks.told(record, place, result, now):
            return
        if result.status == "ok":
            spec, value = record.spec, result.value
            if self.placement.heard(record, result.completed - result.started):
                self.dispatch.surprised = True
            record.move("end", now, "ok", place.id)
            record.outcome = m.Outcome(
                spec.id, "ok", value, result.buffers, place.id, place.name, record.attempt,
                spec.submitted, result.started, result.completed, result.outputs, spec.name,
            )  # fmt: skip
            self._ended(record, now)
            return
        status: m.Status
        match result.status:
            case "refused" | "unfit" if not (record.direct or record.aborting):
                self._refused(record, place, result, now)
                return
            case "refused" | "unfit":
                status = "aborted" if record.aborting else "error"
            case ended:
                status = ended
        if status in FAILED and not record.final:
            self._retry(record, "failed", place, now)
        elif status in FAILED and record.recovery is not None:
            self._recover(record, record.recovery, "failed", now, place)
        else:
            self.end(record, status, now, result=result, engine=place.id)

    def _retry(self, record: Record, cause: str, place: Place, now: float) -> None:
        """An attempt has failed or was lost, and another one is allowed."""
        self.retried += 1
        record.spent += 1
        record.avoid = (*record.avoid[-7:], place.id)
        record.move("retry", now, cause, place.id)
        self._put_back(record, now)

    def _refused(self, record: Record, place: Place, result: m.Result, now: float) -> None:
        """An engine will not run it: another shall, or this one later."""
        refusal = Refusal(result.reason, place.name, result.changes)
        record.refuse(place.id, refusal, for_good=result.status == "refused")
        record.move("refuse", now, f"refused: {result.reason}", place.id)
        self._put_back(record, now)
        self.conditions.check_later(record)

    def _recover(
        self, record: Record, recovery: m.Task, cause: str, now: float, place: Place
    ) -> None:
        """A task has failed for good: its recovery runs under its id, and gives its result.

        It waits for nothing but an engine, however long that takes.
        """
        self._turn_to(record, recovery)
        for engine in record.allowed:
            if engine not in self.places:
                self._no_engine(record, engine, now)
                return
        record.move("recover", now, f"{cause}: its recovery runs", place.id)
        self.placement.rank(record)
        self._put_back(record, now)

    def _reach(self, record: Record, stage: int) -> None:
        """An engine has told that this recovery of a task runs: what it is for has failed."""
        while record.stage < stage and record.recovery is not None:
            self._turn_to(record, record.recovery)

    def _turn_to(self, record: Record, recovery: m.Task) -> None:
        """What runs from now on under a task's id is its recovery."""
        spec = record.spec
        record.submission = record.origin
        assert spec.terms is not None
        self.functions.release(spec.function)
        terms = recovery.terms or NO_TERMS
        rest = spec.terms.recoveries[1:]
        terms = replace(terms, after=None, follow=None, timeout=0.0, recoveries=rest)
        record.spec = replace(
            recovery, id=spec.id, engine=-1, submitted=spec.submitted, label=spec.label, terms=terms
        )
        record.stage += 1
        record.spent = 0
        record.crashed = record.avoid = record.refused = record.unfit = ()
        record.refusals = None
        record.allowed = tuple(sorted(set(recovery.targets)))

    def properties_changed(self, place: Place, count: int) -> None:
        """What was refused because of this engine's properties may run there now."""
        if count > place.changes:
            place.changes = count
            self.placement.fit_again(place.id)
            self.dispatch.touch(place)

    def again(
        self, old: Record, id: str, renamed: dict[str, str], owner: bytes, now: float
    ) -> Record | None:
        """Run a finished task once more as a new one; of what it depends on, only the `renamed`.

        It takes their new values, and the old ones of others. None when there is a task of this id
        already.
        """
        terms = old.origin.terms
        if terms is not None:
            after, follow = (_renamed(each, renamed) for each in (terms.after, terms.follow))
            inputs = tuple(renamed.get(id, id) for id in terms.inputs)
            terms = replace(terms, after=after, follow=follow, inputs=inputs)
        task = replace(old.origin, id=id, submitted=now, terms=terms)
        self.note(owner, 0, [task])
        return self.accept(task, owner, now)

    def lose(self, place: Place, reason: str, now: float) -> list[Effect]:
        """A life of an engine is over: what it had goes on elsewhere, or ends."""
        death = place.death
        facts: dict[str, Any] = {
            "uptime": now - place.since,
            **(death.facts if death else {}),  # anything may stand in these
            "reason": death.reason if death else reason,
            "pid": place.pid,
            "host": place.host,
            "replaced": death.replaced if death else False,
        }
        sent, queued = list(place.sent.values()), list(place.queue)
        for id in [id for id, value in self.unfetched.items() if value.place is place]:
            self.write_down(id)  # nobody else keeps it any more
        place.end()
        self.here.pop(place.id, None)
        place.awaited = bool(death and death.replaced)
        self.placement.changed(place)
        running: Record | None = None
        # From the last to the first, so that those put back stand in their old order.
        for record in reversed(queued):
            if record.state == "queued" and not record.spec.function:  # it may have had it
                status: m.Status = "aborted" if record.aborting else "lost"
                self.end(record, status, now, facts=facts | {"started": True}, engine=place.id)
            elif record.state == "queued":
                self._orphan(record, place, started=False, running=False, facts=facts, now=now)
        first = sent[0].n if sent else 0
        for record in reversed(sent):
            started = death is None or record.n <= death.started
            on_duty = (
                record.n == first if death is None else death.finished < record.n <= death.started
            )
            parts = [(record, on_duty)]
            if record.pool is not None and started:
                parts = self.chunks.torn(record, death, on_duty, now)
            for part, on_duty in parts:
                if on_duty:
                    running = part
                self._orphan(part, place, started=started, running=on_duty, facts=facts, now=now)
        fields = {"engine": place.id, "host": place.host, "pid": place.pid}
        fields |= {"reason": facts["reason"], "up": round(now - place.since, 1)}
        if running is not None:
            fields |= {"task": running.spec.id, "function": running.spec.name}
        fields |= {"replaced": facts["replaced"], **({"oom": True} if facts.get("oom") else {})}
        self.conditions.moved[place.id] = place
        expected = facts["reason"] == "stopped"
        return [Log("info" if expected else "warning", "engine.lost", fields)]

    def _orphan(
        self,
        record: Record,
        place: Place,
        *,
        started: bool,
        running: bool,
        facts: dict[str, Any],
        now: float,
    ) -> None:
        """Decide about a task whose engine is lost."""
        record.place = -1
        if running:
            record.crashed = (*record.crashed, place.id)
        kills = len(record.crashed) >= self.crash_limit
        spent = started and (record.spent >= record.spec.retries or kills)
        if record.aborting:
            self.end(record, "aborted", now, engine=place.id)
        elif spent and record.recovery is not None and not record.direct:
            self._recover(record, record.recovery, "engine lost", now, place)
        elif record.direct or spent:
            more: dict[str, Any] = {
                "direct": record.direct,
                "started": started,
                "attempts": record.spent + 1,  # those that started
                "retries": record.spec.retries,
            }
            status: m.Status = "kills" if kills and not record.direct else "lost"
            terms = record.spec.terms
            if (
                running
                and terms is not None
                and terms.time_limit
                and facts["reason"] == STUCK_REASON
            ):
                status = "overtime"
            if status == "kills":
                more["engines"] = list(record.crashed)
            self.end(record, status, now, facts=facts | more, engine=place.id)
        elif started:
            self._retry(record, "engine lost", place, now)
        elif record.pool is None or not self.chunks.merged(record, now, "engine lost"):
            record.move("free", now, "engine lost", place.id)
            if self.doubtful is not None and record.attempt:  # another engine may have had it
                self._uncount(record)
            self._put_back(record, now)

    def _put_back(self, record: Record, now: float) -> None:
        """A task that had been given to an engine waits again."""
        if self.doubtful is not None:  # it may have been given to another one since
            self.doubtful.setdefault(record.spec.id, False)
        if len(record.inputs) < len(record.takes):
            self.placement.put_back(record)
            self.end(record, "lost", now, facts=dict(NO_INPUTS))
            return
        self.journal.changed(record)
        self.conditions.put_back(record, now)
        if self.untold and record.n < 0:
            record.n = 0  # that attempt had ended before the restart: another one may have begun
            self.doubt(record, now)

    def fail_awaiting(self, place: Place, reason: str, now: float) -> None:
        """No new life will come to this place: what waited for it ends."""
        place.awaited = False
        for record in list(place.queue):
            if record.state == "queued":
                facts = {"reason": reason, "started": False, "host": place.host, "pid": place.pid}
                self.end(record, "lost", now, facts=facts, engine=place.id)
        place.queue.clear()
        place.load = place.spare = place.backlog = 0
        self.conditions.moved[place.id] = place

    def forget(self, record: Record) -> bool:
        """Forget a finished task now; False for one that is not done, which is kept."""
        if record.state != "done":
            return False
        if (value := self.inputs.values.get(record.spec.id)) is not None and is_chunk(record):
            # Its shares are forgotten, too, of whose values this one consists.
            self.journal.note(entries.Kept(record.spec.id, value))
        if record.spec.id in self.unfetched:
            self.write_down(record.spec.id)  # its client has a right to it all the same
        self.history.remove(record)
        self._drop(record.spec.id)
        return True

    def _drop(self, id: str) -> None:
        self.tasks.live.pop(id, None)  # else it was packed
        if self.doubtful is not None:
            self.forgotten.add(id)
        if self.numbered:
            self.numbered.pop(self.numbers.pop(id, -1), None)

    def number(self, record: Record) -> int:
        """A small number for a task, the same whoever asks; one it gets now, if it has none."""
        id = record.spec.id
        if id not in self.numbers:
            self.numbers[id] = self.numbers_given
            self.numbered[self.numbers_given] = id
            self.journal.note(entries.Numbered(id, self.numbers_given))
            self.numbers_given += 1
        return self.numbers[id]

    def _give_up(
        self, record: Record, status: m.Status, reason: str, now: float, cause: m.Outcome | None
    ) -> None:
        """A task has not run, and will not."""
        self.end(record, status, now, facts={"reason": reason, "started": False}, cause=cause)

    # --- the end of a task ----------------------------------------------------------------------

    def end(
        self,
        record: Record,
        status: m.Status,
        now: float,
        *,
        result: m.Result | None = None,
        facts: dict[str, Any] | None = None,
        engine: int = -1,
        cause: m.Outcome | None = None,
    ) -> None:
        """The task is done: this is its one outcome."""
        spec = record.spec
        if record.state == "waiting":
            self.placement.remove(record)
        record.wait = None
        record.move("end", now, status, engine)
        at = self.places.get(engine)
        incarnation = at.name if at is not None else ""
        if result is None:
            record.outcome = m.Outcome(
                spec.id, status, engine=engine, incarnation=incarnation, attempt=record.attempt,
                submitted=spec.submitted, completed=now, name=spec.name, facts=facts or {},
                cause=cause,
            )  # fmt: skip
        else:
            record.outcome = m.Outcome(
                spec.id, status, result.value, result.buffers, engine, incarnation,
                record.attempt, spec.submitted, result.started, result.completed, result.outputs,
                spec.name,
            )  # fmt: skip
        self._ended(record, now)

    def _ended(self, record: Record, now: float) -> None:
        """A task has its outcome: what it needed is not needed any more."""
        spec = record.spec
        if self.journal.on and record.outcome is not None:
            self._note_end(record, record.outcome)
        record.finished = now
        self.quota.give_back(record.owner, record.size, record.given)
        self.functions.release(spec.function)
        if self.inputs.needed:
            self.quota.bytes += self.inputs.ended(record)
        if spec.terms is not None:
            for function in spec.functions()[1:]:
                self.functions.release(function)
            self.quota.bytes -= self.inputs.release(record.takes)
            record.inputs = ()
        self.ended.append(record)
        self._keep(record)
        if record.pool is not None:
            self.chunks.ended(record, now)

    def _keep(self, unit: Unit) -> None:
        """Remember what has ended, and forget others for it."""
        named = (
            bool(self.numbered) or self.doubtful is not None
        )  # else a packed one is known nowhere
        for old in self.history.add(unit, named):
            self._drop(old)

    def pack(self) -> None:
        """Put into little room what has ended a while ago, and was told."""
        for unit in self.history.pack():
            if type(unit) is Bundle:
                for id in unit.ids:
                    del self.tasks.bundled[id]
            else:
                del self.tasks.live[unit.spec.id]

    def _note_end(self, record: Record, outcome: m.Outcome) -> None:
        """Write down how a task has ended.

        Large values of direct requests are not: their engines keep them until their clients have
        them.
        """
        id, place = record.spec.id, self.places.get(outcome.engine)
        large = record.direct and outcome.size() > LARGE and outcome.status in TOLD
        if large and place is not None and id not in self.inputs.needed:
            place.settling.values.add(id)
            self.unfetched[id] = Unfetched(place, place.settling, record)
        else:
            self.journal.note(entries.Ended(record.owner, outcome), size=outcome.size())

    def _note_inputs(self, ids: Iterable[str]) -> None:
        """Write down those values that tasks take and that are not in the journal."""
        for id in ids:
            record = self.tasks.get(id)
            value = self.inputs.values.get(id)
            if record is None or value is None:
                continue
            first = self.inputs.needed[id] == 1
            if (record.direct and value.size() > LARGE) or (first and self.chunks.worn(record)):
                self.journal.note(entries.Kept(id, value))

    def fetched(self, owner: bytes, outcomes: Iterable[m.Outcome]) -> None:
        """A client has these, or nobody is left who would want them.

        What is of another one is no news: that one may lack it still.
        """
        for outcome in outcomes:
            value = self.unfetched.get(outcome.id)
            if value is not None and value.record.owner == owner:
                slim = replace(outcome, value=b"", buffers=())
                self._settle_value(outcome.id, entries.Passed(owner, slim))

    def write_down(self, id: str) -> None:
        """A large value is written after all, and its engine may forget it."""
        record = self.unfetched[id].record
        assert record.outcome is not None
        self._settle_value(id, entries.Ended(record.owner, record.outcome))

    def _settle_value(self, id: str, entry: entries.AnyEntry) -> None:
        """Its engine may forget a large value once this is on disk."""
        place, settling, _ = self.unfetched.pop(id)
        settling.values.discard(id)
        self.journal.note(entry)
        settling.record = self.journal.mark
        self.unsettled[place.id] = place

    # --- giving out -----------------------------------------------------------------------------

    def joined(self, place: Place) -> None:
        """An engine can be sent work (again), and perhaps has another life's properties."""
        self.placement.fit_again(place.id)
        self.placement.changed(place)
        self.dispatch.touch(place)
        self.conditions.moved[place.id] = place

    def settle(self, now: float, out: list[Effect]) -> None:
        """Give out what can run, and say what to send to the engines."""
        self.conditions.settle(self.ended, now)
        self.dispatch.settle(now, out)

    def deadline(self) -> float | None:
        """When `settle` is due, if nothing happens before."""
        one, other = self.dispatch.deadline(), self.conditions.deadline()
        return one if other is None else other if one is None else min(one, other)

    def _come_back(self, record: Record, place: Place, now: float) -> None:
        """What was called back from an engine waits again, before others."""
        self.dispatch.leave(record)
        if record.pool is not None and self.chunks.merged(record, now, "called back"):
            return
        record.move("free", now, "called back", place.id)
        self._put_back(record, now)


NO_TERMS = m.Terms()


def _renamed(dependency: m.Dependency | None, names: dict[str, str]) -> m.Dependency | None:
    """The same dependency on those of its tasks that have a new name."""
    if dependency is None:
        return None
    ids = tuple(names[id] for id in dependency.ids if id in names)
    return replace(dependency, ids=ids) if ids else None
