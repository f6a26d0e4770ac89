"""The promises, checked against what really happened.

The ledger sees what no machine sees: every submission, every start of user code on any engine, and
every outcome that a user was told. It also follows the moves of each task in the controller, and
compares them with what has happened before. A broken promise raises `Broken` at once, and its
first word says which kind it is: lost, duplicated or unexpected.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from enginery.core import messages as m
from enginery.core.ahead import AUTO, WORTH
from enginery.core.bundles import Bundle
from enginery.core.controller import Limits
from enginery.core.events import Answered
from enginery.core.recovery import RESTARTED
from enginery.core.tasks import Record
from enginery.core.work import HAD, IN_DOUBT

from . import rules
from .broken import Broken
from .cluster import Observer
from .items import Items
from .peers import ClientNode, EngineNode, level_of, value_of
from .strangers import Liar

if TYPE_CHECKING:
    from .world import World


UNKNOWN = "the controller had given this client up", "the controller was restarted"
"""What a client tells its user that comes back after too long a time, or was not on the disk."""


NO_ROOM = "the controller cannot write its journal"
"""What becomes of tasks that cannot be kept."""


@dataclass
class Entry:
    """What is known of a task."""

    client: ClientNode
    task: m.Task
    order: int  # among all tasks
    again: Entry | None = None  # the older task that this is, resubmitted
    attempts: list[int] = field(default_factory=list)  # in the order in which they started
    began: dict[int, float] = field(default_factory=dict)  # when attempts started
    bodies: Counter[int] = field(default_factory=Counter)  # starts of user code, by stage
    ends: dict[int, tuple[str, bytes]] = field(default_factory=dict)  # how they really ended
    levels: dict[int, int] = field(default_factory=dict)  # stages of attempts
    overtime: set[int] = field(default_factory=set)  # attempts that ran for too long
    # What the controller has decided so far.
    accepted: float = 0.0
    unknown: bool = False  # it depends on what was no task when it arrived
    level: int = 0  # its stage: 0 itself, 1 its recovery, 2 the recovery of that, ...
    spent: int = 0  # retries of this stage
    crashes: int = 0  # those of them that were due to the loss of an engine
    barred: set[int] = field(default_factory=set)  # engines that have refused this stage
    unfit: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    # What users know.
    outcome: m.Outcome | None = None  # as somebody was told
    told: Counter[str] = field(default_factory=Counter)  # how often, by client
    fetched: Counter[str] = field(default_factory=Counter)  # how often it was asked for
    promised: set[str] = field(default_factory=set)  # clients to which it will be told
    expired: set[str] = field(default_factory=set)  # those that were told that it is forgotten
    reached: bool = False  # it ended, and may have begun on an engine that does not tell
    nameless: bool = False  # it ended while only engines had told of it
    doubted: bool = False  # a direct request that was lost since it may have been started
    dropped: bool = False  # it was lost, and its engine would not have started it any more
    aborted: bool = False
    given_up: bool = False  # its client was told that the controller had forgotten it

    @property
    def in_vain(self) -> bool:
        """Whether it had depended on what was no task then."""
        return self.again is not None and (self.again.unknown or self.again.in_vain)

    @property
    def owing(self) -> bool:
        """Whether its submitter lives and has not been told."""
        return self.client.alive and not (self.told[self.client.name] or self.given_up)

    def stage(self, level: int) -> m.Task:
        """What runs for it at a stage."""
        stages = (self.task, *(self.task.terms.recoveries if self.task.terms is not None else ()))
        if level >= len(stages):
            raise Broken(f"unexpected: {self.task.id} has no recovery number {level}")
        return stages[level]

    @property
    def timeout(self) -> float:
        """Seconds that it may wait; 0: any."""
        return 0.0 if self.task.terms is None or self.direct else self.task.terms.timeout

    @property
    def direct(self) -> bool:
        """Whether one particular engine must run it."""
        return self.task.engine >= 0

    @property
    def takes(self) -> tuple[str, ...]:
        """The tasks whose values it takes."""
        return () if self.task.terms is None else self.task.terms.inputs


class Ledger(Observer):
    """See the module's docstring."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: dict[str, Entry] = {}
        self.items = Items(world)
        self.direct: defaultdict[tuple[str, int], int] = defaultdict(int)
        self.outputs: dict[tuple[str, str, int], int] = {}
        self.requests: dict[tuple[str, int], m.Message] = {}
        self.shares_aborted: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.ends: dict[str, rules.End] = {}  # as the controller has decided
        self.forgotten: dict[str, rules.End] = {}  # as it had decided and does not know any more
        self.restarts = 0
        self.doubts = 0  # those after which the journal lacked something
        self.gone: list[tuple[Entry, tuple[int, ...]]] = []  # given up as their engines are gone
        self.assigned = 0
        self.recovered = 0
        self.count = 0  # of all that was submitted
        self.open = 0  # tasks of which nobody has been told the outcome

    # --- what users do --------------------------------------------------------------------------

    def submitted(self, client: ClientNode, task: m.Task) -> None:
        """A user has submitted this."""
        self.count += 1
        self.tasks[task.id] = Entry(client, task, self.count)
        if task.chunk is not None:
            self.items.submitted(task)
        self.open += 1

    def asking(self, client: ClientNode, request: m.Resubmit | m.Purge) -> None:
        """A user wants tasks to run again, or to be forgotten."""
        self.requests[client.name, request.number] = request
        if isinstance(request, m.Resubmit):
            renamed = dict(zip(request.ids, request.new, strict=True))
            for old, new in renamed.items():
                self.submitted(client, renewed(self.tasks[old].task, new, renamed))
                self.tasks[new].again = self.tasks[old]
                # Of one that is forgotten meanwhile, nobody knows whether it was resubmitted.
                self.tasks[new].given_up = self.world.forgets

    def aborting(self, ids: list[str]) -> None:
        """A user has asked to abort these."""
        for id in ids:
            if "." in id:
                self.shares_aborted.add(id)
            else:
                self.tasks[id].aborted = True

    def aborted_share(self, chunk: str, item: int) -> bool:
        """Whether a user has asked to abort the share that began, at some time, with this item."""
        return f"{chunk}.{item}" in self.shares_aborted

    def knows(self, client: ClientNode, id: str) -> bool:
        """Whether this user was told how the task has ended."""
        return id in self.tasks and self.tasks[id].told[client.name] > 0

    def fetching(self, client: ClientNode, query: m.Query) -> None:
        """A user has asked for these results."""
        self.requests[client.name, query.number] = query
        for id in query.ids:
            self.tasks[id].fetched[client.name] += 1

    def answered(self, client: ClientNode, answer: Answered) -> None:
        """What is known will come; what is refused has not happened."""
        match self.requests.pop((client.name, answer.number), None):
            case m.Query(ids=ids):
                for id in ids:
                    if id not in answer.value["unknown"]:
                        self.tasks[id].promised.add(client.name)
            case m.Resubmit(ids=ids, new=new):
                if not answer.error:
                    self._have_ended(ids)
                elif self.restarts:  # they may have run, and be forgotten
                    for id in new:
                        self.tasks[id].given_up = True
                elif not self.world.forgets:
                    for id in new:
                        del self.tasks[id]
                        self.open -= 1
            case m.Purge(ids=ids) if not answer.error:
                self._have_ended(ids)
                if kept := set(ids) & set(self.world.controller.core.work.tasks):
                    raise Broken(f"unexpected: {kept} are not forgotten")

    def _have_ended(self, ids: list[str]) -> None:
        for id in ids:
            if id not in self.ends:
                raise Broken(f"unexpected: what has not ended was taken as such: {id}")

    # --- what the controller decides --------------------------------------------------------------

    def moving(self, record: Record, move: str, engine: int, cause: str) -> None:
        """Each decision follows from what has happened before."""
        if record.spec.id not in self.tasks:  # a share
            return
        entry = self.tasks[record.spec.id]
        if record.state == "new":
            self._arrives(entry)
        if self.doubts and record.stage > entry.level and move != "recover":
            entry.level, entry.spent = record.stage, record.spent - (move == "retry")
            entry.barred.clear()
        match move:
            case "wait" if record.state == "divided":
                pass  # some of it has come back
            case "hold" | "wait":
                self._depends(entry, "open" if move == "hold" else "met")
            case "assign" if record.direct:
                self._depends(entry, "met")
            case "assign":
                self.assigned += 1
                if not self.assigned % 16 and "priority" in self.world.settings.terms:
                    self._nobody_is_passed_over(record, engine)
            case "send":
                self._sends(entry, record, engine)
            case "retry":
                if cause == IN_DOUBT and not self._may_have_begun(record):
                    raise Broken(f"unexpected: nothing of {record!r} can have begun")
                entry.spent += 1
                entry.crashes += cause == "engine lost"
            case "refuse":
                self._refuses(entry, record, engine)
            case "recover":
                self._recovers(entry, record, cause)
            case "end":
                self._ends(entry, record, engine, cause)

    def _arrives(self, entry: Entry) -> None:
        entry.accepted = self.world.clock.now
        if self.doubts:  # perhaps it arrives again
            if entry.task.id in self.ends:
                self.forgotten[entry.task.id] = self.ends.pop(entry.task.id)
            entry.level = entry.spent = entry.crashes = 0
            entry.barred.clear()
        known = self.world.controller.core.work.tasks
        task = entry.task
        if task.terms is not None:
            ids = rules.named(task.terms, entry.direct)
            entry.unknown = any(id not in known or id == task.id for id in ids)
            entry.unknown |= any(self._hidden(entry.client, id) for id in entry.takes)
            chunks = self.world.controller.core.work.chunks
            entry.unknown |= any(id in known and chunks.gone(known[id]) for id in entry.takes)
            late = not entry.in_vain and any(id not in known and id not in self.ends for id in ids)
            if entry.again and late and not self.doubts:
                raise Broken(f"unexpected: {task.id} arrives before what it depends on, {ids}")

    def _hidden(self, client: ClientNode, id: str) -> bool:
        """Whether a client may not have the value of this task."""
        known = self.tasks.get(id)
        return known is not None and client.role == "task" and known.client is not client

    def _depends(self, entry: Entry, wanted: str) -> None:
        """A task is held while its dependencies are open, and waits for an engine once met."""
        terms = entry.task.terms
        found = {"met"}
        if terms is not None:
            found = {rules.verdict(terms, ends, entry.direct) for ends in self._all_ends}
        # That it came in vain, a controller that lacks something does not know any more.
        if (entry.unknown and not self.doubts) or wanted not in found:
            raise Broken(f"unexpected: {entry.task} is taken as {wanted}, but is {found}")

    def _went(self, entry: Entry, outcome: m.Outcome) -> bool:
        """Whether a value may have gone with its engine: a large one that nobody else kept."""
        return entry.direct and outcome.status == "lost" and self.restarts > 0

    @property
    def forgets_records(self) -> bool:
        """Whether there is room for few records, so that it happens."""
        limits, default = self.world.settings.limits, Limits()
        few = limits.record_limit < default.record_limit
        return few or limits.record_bytes < default.record_bytes

    @property
    def _all_ends(self) -> list[rules.Ends]:
        """How tasks have ended: as is known, and with what was forgotten after it had counted.

        Some may have ended otherwise since.
        """
        if not self.forgotten:
            return [self.ends]
        return [self.ends, {**self.forgotten, **self.ends}, {**self.ends, **self.forgotten}]

    def _nobody_is_passed_over(self, record: Record, engine: int) -> None:
        """Of those that may go to this engine, none of a higher priority still waits.

        One that is not brief may not go there as long as that has something else (`core.ahead`),
        and neither may who stands behind it in its line, so only the first ones are looked at.
        """
        priority, work = record.spec.priority, self.world.controller.core.work
        ahead = work.placement.hwm == AUTO and work.places[engine].load > 0
        for line in work.placement.lines.values():
            other = line.head()
            if isinstance(other, Bundle):
                other = other.look()[0]
            if other is None or not other.spec.priority > priority:
                continue
            if ahead and work.placement.expected(other) >= WORTH:
                continue
            may = not other.allowed or engine in other.allowed
            if may and engine not in (*other.refused, *other.unfit, *other.avoid):
                raise Broken(f"unexpected: {record.spec.id} goes before {other.spec.id}")

    def _sends(self, entry: Entry, record: Record, engine: int) -> None:
        """Not to an engine that has refused it for good, and only where it is to follow."""
        if engine in entry.barred:
            raise Broken(f"unexpected: {record!r} goes to engine {engine}, which has refused it")
        terms = entry.task.terms
        if entry.level or terms is None or entry.task.engine >= 0:
            return
        if terms.follow is not None and terms.follow.ids:
            if not self.forgotten.keys().isdisjoint(terms.follow.ids):
                return  # they have run again, and it had been decided before
            if any(self._may_have_run(id) for id in terms.follow.ids):
                return
            engines = rules.engines_of(terms.follow, self.ends)
            if engine not in engines:
                raise Broken(f"unexpected: {record!r} goes to engine {engine}, not to {engines}")

    def _may_have_begun(self, record: Record) -> bool:
        """Whether its last engine has got it, or one has gone of which nobody knows what it had."""
        core = self.world.controller.core
        engine = next((at for _, why, at in reversed(record.story) if why == "send"), -1)
        there = (node.core.seen for node in self.world.engines if node.core.id == engine)
        return core.recovery.untold is not None or any(seen >= record.n for seen in there)

    def _may_have_run(self, id: str) -> bool:
        """Whether nobody knows if a direct request was started on its engine."""
        known = self.tasks.get(id), self.world.controller.core.work.tasks.get(id)
        if known[0] is not None and known[0].doubted:
            return True
        outcomes = [each.outcome for each in known if each is not None]
        return any(o is not None and o.facts.get("reason") == IN_DOUBT for o in outcomes)

    def _refuses(self, entry: Entry, record: Record, engine: int) -> None:
        said = entry.ends.get(record.attempt, ("",))[0]
        lied = self._lies(entry.task.id, record.attempt)
        if said not in {"refused", "unfit"} and not lied:
            raise Broken(f"unexpected: nobody has refused {record!r}")
        if engine in record.refused:
            if said != "refused" and not lied:
                raise Broken(f"unexpected: {record!r} is barred for good from engine {engine}")
            entry.barred.add(engine)
        elif said == "refused":
            raise Broken(f"unexpected: {record!r} is not barred from engine {engine}")
        else:
            self._does_not_insist(entry, record, engine)

    def _does_not_insist(self, entry: Entry, record: Record, engine: int) -> None:
        """What is unfit is tried again when the properties or the connection have changed."""
        nodes = [
            e for e in self.world.engines if e.core.id == engine and e.alive and not e.byzantine
        ]
        for node in nodes:
            key = engine, node.core.incarnation.hex(), node.changes
            entry.unfit[key] += 1
            if entry.unfit[key] > 3 + node.welcomes:
                raise Broken(f"unexpected: {record!r} is tried on engine {engine} all the time")

    def _recovers(self, entry: Entry, record: Record, cause: str) -> None:
        """Only when every retry is spent, or it has killed too many engines; never when aborted."""
        stage = entry.stage(entry.level)
        crashes = entry.crashes + cause.startswith("engine lost")
        killed = crashes >= self.world.settings.limits.crash_limit
        if record.aborting or not (entry.spent >= stage.retries or killed or self.doubts):
            raise Broken(f"unexpected: {record!r} recovers after {entry.spent} retries of {stage}")
        entry.stage(entry.level + 1)
        entry.level += 1
        entry.spent = entry.crashes = 0
        entry.barred.clear()
        entry.unfit.clear()

    def _ends(self, entry: Entry, record: Record, engine: int, status: str) -> None:
        """Exactly once; and why, if that is for the controller to know."""
        id = entry.task.id
        if id in self.ends and not self.doubts:
            raise Broken(f"duplicated: {id} ends again, {status} after {self.ends[id]}")
        if entry.task.chunk is not None:
            pass  # its shares are looked at
        elif status == "impossible":
            self._is_impossible(entry, record)
        elif status == "timeout":
            late = 0 < entry.timeout <= self.world.clock.now - entry.accepted + 1e-9
            if not late or record.state not in {"held", "waiting"} or entry.bodies or entry.level:
                raise Broken(f"unexpected: {record!r} times out: {entry}")
        entry.dropped = status == "lost" and self._was_dropped(record, engine)
        entry.reached = self._may_have_begun(record)
        queued = record.direct and record.state == "queued"
        entry.doubted = bool(self.doubts) and queued and status == "lost"
        entry.nameless = id in self.world.controller.core.work.had
        divided = entry.task.chunk is not None and record.state != "new"
        ran = divided or self._ran(record, status, engine)
        self.ends[id] = rules.End(status, engine if ran else -1)

    def _was_dropped(self, record: Record, engine: int) -> bool:
        """Whether an abort had reached its last engine in time, which may not have been heard of.

        The page does not tell what was dropped from what was started.
        """
        nodes = [e for e in self.world.engines if e.core.id == engine]
        return any(record.n == n for node in nodes for _, n in node.doomed)

    def _ran(self, record: Record, status: str, engine: int) -> bool:
        """Whether that task may have run on its last engine."""
        place = self.world.controller.core.work.places.get(engine)
        if record.state == "queued" and not record.spec.function and place is not None:
            return not place.here  # this much the journal says of a direct request; nobody tells
        if record.state != "sent":
            return False
        death = None if place is None else place.death
        return status != "lost" or death is None or record.n <= death.started

    def _is_impossible(self, entry: Entry, record: Record) -> None:
        terms, ends = entry.task.terms, self.ends
        work = self.world.controller.core.work
        follow = None
        if terms is not None and not (entry.level or entry.direct):
            follow = terms.follow
        if terms is not None and record.state in {"new", "held"}:
            if entry.unknown or rules.verdict(terms, ends, entry.direct) == "impossible":
                return
            if follow is not None and rules.verdict(terms, ends) == "met" and follow.ids:
                targets = entry.task.targets
                ran = [end.engine for end in rules.counting(follow, ends)]
                wrong = [e for e in ran if e < 0 or (targets and e not in targets)]
                if len(wrong) == len(ran) or (wrong and not follow.all):
                    return  # of any, one was enough to decide
        spent = entry.spent or (self.doubts and record.spent)  # attempts not known count as retries
        patient = entry.timeout > 0 and not (entry.level or spent)
        if not patient:
            ids = record.allowed or work.places
            there = {id for id in ids if work.places[id].there}
            if there and there <= entry.barred:
                return
            if follow is not None and follow.ids and record.allowed:
                self.gone.append((entry, record.allowed))
                return
        raise Broken(f"unexpected: {record!r} is not impossible: {entry}")

    def restarts_now(self, complete: bool) -> None:
        """The controller is about to go on from its journal.

        If that is `complete`, it has decided nothing that it does not know any more, but about
        direct requests. Else what it did last is undone.
        """
        self.restarts += 1
        self.doubts += not complete

    def restarted(self, complete: bool) -> None:
        """It has taken up what the journal tells."""
        for record in self.world.controller.core.work.tasks.values():
            if "." in record.spec.id:
                continue  # of what becomes of shares, `items` keeps the book
            entry, id = self.tasks[record.spec.id], record.spec.id
            kept = entry.direct or record.direct  # by its engine; or so was what that alone knew
            if record.outcome is None and id in self.ends and not kept and complete:
                raise Broken(f"lost: {record!r} had ended as {self.ends[id]}")
            if record.outcome is None and id in self.ends:
                self.forgotten[id] = self.ends.pop(id)
            spent = entry.level, entry.spent, entry.barred
            level = 0 if record.spec is record.origin else level_of(record.spec)
            entry.level, entry.spent, entry.barred = level, record.spent, set(record.refused)
            entry.crashes = len(record.crashed)
            if (
                complete
                and not self.doubts
                and record.outcome is None
                and spent != (entry.level, entry.spent, entry.barred)
            ):
                raise Broken(f"lost: {record!r} is restored otherwise than it was, {spent}")

    def turned(self) -> None:
        """The controller has come to the end of a turn."""
        gone, self.gone = self.gone, []
        places = self.world.controller.core.work.places
        for entry, engines in gone:
            if any(places[id].there for id in engines):
                raise Broken(f"unexpected: {engines} are not gone: {entry}")

    def check_waiting(self) -> None:
        """Nothing is held that could go on, or could be given up, or waits for too long."""
        if self.world.controller.core.work.placement.paused:
            return
        for record in self.world.controller.core.work.tasks.look():
            if record.state not in {"held", "waiting"} or record.spec.terms is None:
                continue
            entry = self.tasks[record.spec.id]
            if record.state == "held":
                self._depends(entry, "open")
            now = self.world.clock.now
            late = 0 < entry.timeout <= now - entry.accepted - 1e-9
            late = late and record.steps[-3] < now  # what came back in this turn, the next looks at
            doubtful = self.doubts and record.spent  # an attempt that is not known may have run
            if late and not (entry.spent or entry.level or doubtful):
                raise Broken(f"unexpected: {record!r} waits beyond its timeout: {entry}")

    def _lies(self, id: str, attempt: int) -> bool:
        liars = [engine for engine in self.world.engines if isinstance(engine, Liar)]
        return any((id, attempt) in liar.entrusted for liar in liars)

    # --- what engines do ------------------------------------------------------------------------

    def started(self, engine: EngineNode, attempt: m.Attempt, refusal: str = "") -> None:
        """At most once, or 1 + retries times, refusals apart; direct requests in order."""
        entry = self.tasks[attempt.id]
        level = level_of(attempt)
        task = entry.stage(level)
        # Of what was not on disk, nobody knows how often it was tried, nor that its recovery ran.
        unknown = self.doubts * (1 + task.retries) if task.retries or level else 0
        no_body = refusal or not entry.bodies[level]  # nor how often it was refused
        if attempt.attempt in entry.attempts and not (unknown or (self.doubts and no_body)):
            raise Broken(f"duplicated: {attempt.id}, attempt {attempt.attempt} starts again")
        entry.attempts.append(attempt.attempt)
        entry.began[attempt.attempt] = self.world.clock.now
        entry.levels[attempt.attempt] = level
        if attempt.function != task.function or (level > entry.level and not self.doubts):
            raise Broken(f"unexpected: {attempt.id} runs as recovery {level}, too early")
        if not refusal:
            entry.bodies[level] += 1
        allowed = unknown + (1 if task.engine >= 0 else 1 + task.retries)
        if entry.bodies[level] > allowed:
            raise Broken(f"duplicated: {attempt.id} starts {entry.bodies[level]} times")
        self._starts_where_it_may(entry, task, engine, attempt)
        if task is entry.task and attempt.buffers != task.buffers:
            raise Broken(f"unexpected: {attempt.id} starts with {attempt.buffers}")
        for id, value in zip(entry.takes, attempt.inputs, strict=True):
            if not self._has_given(self.tasks[id], value):
                raise Broken(f"unexpected: {attempt.id} takes {value.value!r} from {id}")

    def _has_given(self, entry: Entry, given: m.Value) -> bool:
        """Whether this is the value of a task."""
        value = given.value
        if entry.task.chunk is not None:
            parts = b"".join(part.value for part in given.parts)
            return parts == self.items.value(entry.task.id) or b"a lie" in parts
        known = entry.outcome is not None and entry.outcome.status != "expired"
        if known and not self.doubts:  # else it may run although its client has been told
            return (entry.outcome.status, entry.outcome.value) == ("ok", value)
        real = ("ok", value) in entry.ends.values()
        liars = (e for e in self.world.engines if isinstance(e, Liar))
        return real or any(entry.task.id == id for liar in liars for id, _ in liar.entrusted)

    def _starts_where_it_may(
        self, entry: Entry, task: m.Task, engine: EngineNode, attempt: m.Attempt
    ) -> None:
        if entry.task.terms is not None:
            self._depends(entry, "met")
        if task.engine >= 0 and engine.core.id != task.engine:
            raise Broken(f"unexpected: {attempt.id} starts on engine {engine.core.id}")
        if task.engine >= 0 and not (entry.again or entry.takes):
            line = entry.client.name, task.engine
            if entry.order < self.direct[line] and not self.doubts:
                raise Broken(f"unexpected: {attempt.id} starts after a later request")
            self.direct[line] = entry.order
        if task.targets and engine.core.id not in task.targets:
            raise Broken(f"unexpected: {attempt.id} starts on engine {engine.core.id}")

    def item_started(self, engine: EngineNode, attempt: m.Attempt, item: int, no: str) -> None:
        """At most once, or 1 + retries times."""
        self.items.started(engine, attempt, item, no)

    def item_finished(self, engine: EngineNode, attempt: m.Attempt, item: int, status: str) -> None:
        """An item has really ended."""
        self.items.finished(engine, attempt, item, status)

    def finished(self, engine: EngineNode, attempt: m.Attempt, status: str) -> None:
        """An attempt has really ended."""
        entry = self.tasks[attempt.id]
        entry.ends[attempt.attempt] = status, value_of(attempt.id, status, level_of(attempt))
        limit = attempt.time_limit
        began, now = entry.began[attempt.attempt], self.world.clock.now
        ran = status not in {"refused", "unfit"}  # who declines has no time of his own
        if ran and limit > 0 and now > began + limit + 1e-9 and engine.frozen < began + limit:
            entry.overtime.add(attempt.attempt)
            if now > began + limit + 0.002 and not engine.job(attempt).deaf:
                raise Broken(f"unexpected: {attempt.id} runs beyond its time limit: {entry}")

    # --- what users are told ----------------------------------------------------------------------

    def delivered(
        self, client: ClientNode, outcomes: list[m.Outcome], outputs: list[m.Output]
    ) -> None:
        """Once to who submitted it, and once for each time it was fetched."""
        for output in outputs:
            key = client.name, output.id, output.attempt
            twice = output.number <= self.outputs.get(key, -1) and not self.doubts
            if twice and output.text not in {"a lie", ""}:  # the latter stands for what is left out
                raise Broken(f"duplicated: output {output.number} of {output.id}")
            self.outputs[key] = output.number
        for outcome in outcomes:
            if any(buffer.nbytes < 0 for buffer in outcome.buffers):
                raise Broken(f"unexpected: {outcome} cannot be read")
            if outcome.stop:
                whole = self.tasks[outcome.id.partition(".")[0]]
                right = whole.fetched[client.name] + (whole.client is client)
                self.items.delivered(client, outcome, right)
                continue
            entry = self.tasks[outcome.id]
            forgets = self.world.forgets or self.doubts
            if outcome.facts.get("reason") in UNKNOWN and forgets:
                if entry.client is client:
                    entry.given_up = True
                else:
                    entry.expired.add(client.name)
                continue  # what really becomes of it may still come
            asked = entry.client is not client or entry.told[client.name] > 0
            if outcome.status == "expired" and self.restarts and asked:
                entry.expired.add(client.name)
                continue  # it was forgotten before the controller knew who wanted it (again)
            entry.told[client.name] += 1
            right = entry.fetched[client.name] + (entry.client is client)
            if entry.told[client.name] > right:
                raise Broken(f"duplicated: {client.name} is told of {outcome.id} again")
            if entry.task.chunk is not None:
                self.items.complete(client.name, outcome.id, outcome)
            if entry.outcome is None:
                self.open -= 1
                self.ended[outcome.status] += 1
                self.recovered += outcome.status == "ok" and outcome.attempt > 1
                entry.outcome = outcome
                self.judge(entry, outcome)
            elif entry.outcome != outcome and not (self.doubts or self._went(entry, outcome)):
                raise Broken(f"unexpected: another outcome: {outcome} after {entry.outcome}")

    def judge(self, entry: Entry, outcome: m.Outcome) -> None:
        """Whether it can be true."""
        task, world = entry.task, self.world
        true = task.chunk is not None and outcome.status != "aborted"
        match outcome.status:
            case _ if task.chunk is not None:
                true = true or entry.aborted or bool(self.shares_aborted)
                true = true or self.items.lied_of_any(task.id)
            case "ok" | "error":
                real, value = entry.ends.get(outcome.attempt, ("", b""))
                alone = task.engine >= 0 or self.doubts  # then only the engine knew it, at times
                if alone and real in {"refused", "unfit"}:
                    real = "error"
                true = real == outcome.status and outcome.value == value
                true = true and (real == "ok" or outcome.attempt not in entry.overtime)
                true = true or world.lied(outcome)
            case "overtime":
                true = self._ran_too_long(entry, outcome) or world.lied(outcome)
            case "impossible" | "timeout":
                # The reasons were looked at when it was decided.
                true = not outcome.started and self._is_cause(entry, outcome.cause)
            case "aborted":
                true = entry.aborted or world.lied(outcome)
            case "lost":
                true = self._may_be_lost(entry, outcome)
            case "kills":
                true = (
                    len(outcome.facts["engines"]) >= world.settings.limits.crash_limit
                    and task.engine < 0
                )
        decided = self._decided(task.id)
        known = outcome.status in decided or self.doubts
        if not true or not known:
            raise Broken(f"unexpected: {outcome} of {entry}, decided as {decided}")

    def _decided(self, id: str) -> list[str]:
        """How a task has ended; a controller that has lost power may know nothing of it."""
        return [ends[id].status for ends in (self.ends, self.forgotten) if id in ends]

    def _is_cause(self, entry: Entry, cause: m.Outcome | None) -> bool:
        """Whether a task has failed whose value one takes, or the cause of that."""
        if cause is None:
            return True
        if cause.status not in self._decided(cause.id) or cause.status == "ok" or cause.cause:
            return False
        looked, more = set(), list(entry.takes)
        while more:
            id = more.pop()
            if id == cause.id:
                return True
            if id not in looked and "impossible" in self._decided(id):
                looked.add(id)
                more += self.tasks[id].takes
        return False

    def _ran_too_long(self, entry: Entry, outcome: m.Outcome) -> bool:
        terms = entry.stage(entry.level).terms
        began = entry.began.get(outcome.attempt)
        if terms is None or not terms.time_limit or began is None:
            return False
        return self.world.clock.now - began >= terms.time_limit

    def _may_be_lost(self, entry: Entry, outcome: m.Outcome) -> bool:
        """Only when an engine was lost, and it had started there, with no retry left."""
        task, facts, stage = entry.task, outcome.facts, entry.stage(entry.level)
        if facts["reason"] == RESTARTED:
            unheard = not entry.attempts or bool(self.doubts)
            # Of a task whose client came back late, the outcome may have been forgotten.
            forgets = self.doubts and self.forgets_records and facts["started"]
            return bool(self.restarts and unheard and (task.engine >= 0 or forgets))
        if facts["reason"].startswith(NO_ROOM):
            return task.engine < 0 and bool(facts["started"] or not entry.bodies)
        if facts["reason"] == IN_DOUBT:  # and each attempt that is not known counts as a retry
            spent = max(entry.spent, outcome.attempt)
            known = task.engine >= 0 or (entry.reached and spent >= stage.retries)
            return self.doubts > 0 and known
        if facts["reason"] == HAD or entry.nameless:  # whether it had retries is not known
            return self.doubts > 0
        if not facts["started"]:
            nowhere = 99 in task.targets or self.doubts  # there is no such engine
            return (task.engine >= 0 or nowhere) and not outcome.started
        if not self.world.controller.losses:
            return False
        reported = facts["reason"].startswith(("signal", "exit"))
        unheard = task.engine >= 0 and not outcome.attempt and self.restarts > 0
        told = outcome.attempt in entry.attempts or unheard or entry.dropped
        if reported and not told and not self.world.lied(outcome):
            return False  # the supervisor's page said that it had not
        recovers = task.terms is not None and entry.level < len(task.terms.recoveries)
        if recovers and task.engine < 0 and not entry.aborted:
            return False  # its recovery would have run
        unknown = self.doubts > 0 and outcome.attempt > stage.retries  # some may have been refused
        return task.engine >= 0 or entry.spent >= stage.retries or unknown

    # --- in the end ------------------------------------------------------------------------------

    def missing(self) -> list[Entry]:
        """Tasks whose submitter lives and has not been told."""
        return [entry for entry in self.tasks.values() if entry.owing]

    def check(self) -> None:
        """Everything has come to rest: each task has ended, and who has a right to it knows."""
        alive = {client.name for client in self.world.clients if client.alive}
        for entry in self.tasks.values():
            if not self.world.forgets and (
                promised := (entry.promised & alive) - set(entry.told) - entry.expired
            ):
                raise Broken(f"lost: {entry.task.id} was fetched by {promised}")
            if entry.owing:
                raise Broken(f"lost: {entry.task.id} has no outcome")
            again = self.doubts or (entry.direct and self.restarts)
            attempts = [] if again else entry.attempts
            if entry.outcome is not None and attempts and entry.outcome.attempt < max(attempts):
                raise Broken(f"unexpected: a past attempt counts: {entry}")


def renewed(task: m.Task, id: str, renamed: dict[str, str]) -> m.Task:
    """What a task is when it is run again: it depends on those alone that are run again, too.

    And it takes the values of others, as it did.
    """
    terms = task.terms
    if terms is not None:
        after, follow = (_renamed(each, renamed) for each in (terms.after, terms.follow))
        inputs = tuple(renamed.get(id, id) for id in terms.inputs)
        terms = replace(terms, after=after, follow=follow, inputs=inputs)
    return replace(task, id=id, terms=terms)


def _renamed(dependency: m.Dependency | None, renamed: dict[str, str]) -> m.Dependency | None:
    if dependency is None or not (ids := [id for id in dependency.ids if id in renamed]):
        return None
    return replace(dependency, ids=tuple(renamed[id] for id in ids))
