"""Which waiting task goes to which engine.

Waiting tasks stand in one line for each set of engines they may go to; most stand in the line that
any engine serves. Within a line the higher rank goes first (a task's priority, unless the scheme
says otherwise), and who came first among equals. A task goes out when an engine that may run it has
room: fewer than `hwm` unfinished requests (0: no limit). Nothing here looks at a whole line, but
to sweep out what has ended once that is most of it: what happens costs the same with a million
tasks waiting as with ten.

An engine on which the task has failed is the last choice, never a forbidden one, so a task that
has failed everywhere still runs. One that has refused the task is forbidden.

With `hwm=AUTO` an engine that has nothing goes before any that has something, and one gets more
than one task only while these are brief, or one more that is short (`ahead`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from heapq import heappop, heappush
from math import inf, isnan

from ..schemes import Load, Scheme
from .ahead import AUTO, PARTS, ROW, SHORT, SPREAD, WORTH, Durations
from .bundles import Bundle, Unit
from .engines import Place
from .graph import SPARE
from .paces import Paces
from .pools import is_chunk
from .tasks import Record


class Key:
    """The engines that the tasks of one line may go to, by id, in ascending order.

    Each line has one, which is told from others by its identity alone: every task comes by here
    several times, and to compare what is in it would cost more than all the rest.
    """

    __slots__ = ("allowed", "refused", "unfit")

    def __init__(
        self,
        allowed: tuple[int, ...] = (),
        refused: tuple[int, ...] = (),
        unfit: tuple[int, ...] = (),
    ) -> None:
        self.allowed = allowed  # only these; empty: all
        self.refused = refused  # but not these
        self.unfit = unfit  # nor these, until their properties change

    def admits(self, engine: int) -> bool:
        """Whether this engine may run them."""
        if self.allowed and engine not in self.allowed:
            return False
        return engine not in self.refused and engine not in self.unfit


Engines = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""What is in a key."""

EVERY = Key()
"""No condition: any engine."""


class Line:
    """Tasks that wait for the same engines."""

    __slots__ = ("_ranks", "_tops")

    def __init__(self) -> None:
        self._ranks: dict[float, deque[Unit]] = {}
        self._tops: list[float] = []  # a heap of the ranks, negative

    def rank(self, rank: float) -> deque[Unit]:
        """Those of this rank."""
        tasks = self._ranks.get(rank)
        if tasks is None:
            tasks = self._ranks[rank] = deque()
            heappush(self._tops, -rank)
        return tasks

    def head(self) -> Unit | None:
        """The first that still waits."""
        while self._tops:
            tasks = self._ranks[-self._tops[0]]
            while tasks:
                first = tasks[0]
                if type(first) is Bundle and first.records is not None:
                    tasks.popleft()
                    tasks.extendleft(reversed(first.records))
                elif first.state == "waiting":
                    return first
                else:
                    tasks.popleft()
            del self._ranks[-heappop(self._tops)]
        return None

    def pop(self, count: int = 1) -> Unit:
        """Take the head away; of a bundle, so many tasks. One alone has a record."""
        tasks = self._ranks[-self._tops[0]]
        head = tasks[0]
        if type(head) is not Bundle or count == len(head) > 1:
            return tasks.popleft()
        if len(head) == 1:
            tasks.popleft()
            return head.untie()[0]
        return head.split(count) if count > 1 else head.peel()

    def remove(self, record: Record) -> None:
        """Take away one that waits, wherever it stands."""
        tasks = self._ranks[record.rank]
        if record not in tasks:  # but in a bundle that is untied
            waiting = list(_waiting(tasks))
            tasks.clear()
            tasks.extend(waiting)
        tasks.remove(record)

    def __bool__(self) -> bool:
        """Whether it holds anything, also what waits no more."""
        return any(self._ranks.values())

    def clear(self) -> None:
        """Forget all."""
        self._ranks.clear()
        self._tops.clear()

    def sweep(self) -> bool:
        """Forget those that wait no more; whether any is left."""
        swept = {rank: deque(_waiting(tasks)) for rank, tasks in self._ranks.items()}
        self._ranks = {rank: tasks for rank, tasks in swept.items() if tasks}
        self._tops = sorted(-rank for rank in self._ranks)
        return bool(self._ranks)

    def __iter__(self) -> Iterator[Unit]:
        """Those that still wait, in their order."""
        for top in sorted(self._tops):
            yield from _waiting(self._ranks[-top])


def _waiting(units: Iterable[Unit]) -> Iterator[Unit]:
    """Those of these that still wait; what has been untied is records."""
    for unit in units:
        if type(unit) is Bundle and unit.records is not None:
            yield from (record for record in unit.records if record.state == "waiting")
        elif unit.state == "waiting":
            yield unit


class Placement:
    """The waiting tasks and the engines with room."""

    def __init__(self, scheme: Scheme, hwm: int) -> None:
        self.hwm = hwm
        self.durations = Durations()
        self.paces = Paces()
        self.idle: dict[int, Place] = {}  # with AUTO: engines that have nothing
        self.crowded: dict[int, Place] = {}  # with AUTO: those where something may wait
        self.humblest = inf  # the lowest rank of what waits behind something that is not brief
        self.urgent = False  # something of a higher one has come
        self.paused = False  # nothing is given out
        self.choked = False  # nor while the disk does not keep up with what comes back
        self.waiting = 0
        self._removed = 0  # tasks, since the lines were swept: so many may stand there in vain
        self.lines: dict[Key, Line] = {}
        self._keys: dict[Engines, Key] = {}  # of the lines that there are, but for EVERY
        self.serves: dict[int, dict[Key, None]] = {}  # engine -> the lines that name it
        self.unnamed: dict[Key, None] = {}  # lines for all engines but some
        self.places: dict[int, Place] = {}  # that have had room, and are here
        self._hopeful: dict[Key, None] = {}  # lines whose head may have an engine now
        self._last = 0
        self._first = 0
        self.use(scheme)

    def use(self, scheme: Scheme) -> None:
        """Choose by this scheme from now on, the same among the same engines."""
        for place in self.places.values():
            scheme.update(place, self.room(place))
        self.scheme = scheme
        self.ranks = type(scheme).rank is not Scheme.rank  # the scheme has an order of its own

    # --- tasks ----------------------------------------------------------------------------------

    def add(self, record: Record) -> None:
        """A task starts to wait, behind the others of its rank."""
        self._last += 1
        record.order = self._last
        if self.ranks or record.spec.terms is not None:
            self.rank(record)
        self._line(record).rank(record.rank).append(record)

    def add_bundle(self, bundle: Bundle) -> None:
        """The same of a bundle, all of whose tasks rank alike."""
        bundle.order = self._last + 1
        self._last += len(bundle)
        self._line(bundle).rank(bundle.rank).append(bundle)
        self.waiting += len(bundle) - 1

    def rank(self, record: Record) -> None:
        """Find out how a task ranks among those that wait."""
        rank = self.scheme.rank(record.spec) if self.ranks else record.spec.priority
        record.rank = 0.0 if isnan(rank) else rank  # nan stands nowhere in an order

    def put_back(self, record: Record) -> None:
        """A task that had been given to an engine waits again, before the others of its rank."""
        self._first -= 1
        record.order = self._first
        self._line(record).rank(record.rank).appendleft(record)

    def remove(self, record: Record) -> None:
        """A waiting task has ended, or is about to; it is skipped when its turn comes.

        That may be never, so the lines are swept when more than half of what stands there has.
        """
        if self._removed > self.waiting + SPARE:
            self._sweep()
        self._removed += 1
        self._leaves(record)

    def take_out(self, record: Record) -> None:
        """A waiting task does not wait now, but may again; this looks at the whole line.

        By `remove` it would stay where it stood, and stand in the line twice when it came back.
        """
        self.lines[self._key(record)].remove(record)
        self._leaves(record)

    def _leaves(self, record: Record) -> None:
        self._waits_no_more()
        if self.hwm == AUTO:  # perhaps it was long, and what stood behind it is brief
            self._hopeful[self._key(record)] = None

    def _sweep(self) -> None:
        self._removed = 0
        for key in [key for key, line in self.lines.items() if not line.sweep()]:
            self._forget_line(key)

    def _waits_no_more(self, count: int = 1) -> None:
        self.waiting -= count
        if not self.waiting:
            for line in self.lines.values():
                line.clear()  # of tasks that were removed

    def _line(self, record: Unit) -> Line:
        """The line that a task is to stand in."""
        key = self._key(record) if record.allowed or record.refused or record.unfit else EVERY
        line = self.lines.get(key)
        if line is None:
            line = self.lines[key] = Line()
            for id in key.allowed:
                self.serves.setdefault(id, {})[key] = None
            if not key.allowed:
                self.unnamed[key] = None
        self._hopeful[key] = None
        self.waiting += 1
        if record.rank > self.humblest:
            self.urgent = True
        return line

    def _key(self, record: Unit) -> Key:
        if not (record.allowed or record.refused or record.unfit):
            return EVERY
        engines = record.allowed, record.refused, record.unfit
        if engines not in self._keys:
            self._keys[engines] = Key(*engines)
        return self._keys[engines]

    def _forget_line(self, key: Key) -> None:
        del self.lines[key]
        self._keys.pop((key.allowed, key.refused, key.unfit), None)
        self.unnamed.pop(key, None)
        for id in key.allowed:
            self.serves[id].pop(key, None)

    # --- engines --------------------------------------------------------------------------------

    def room(self, place: Place) -> bool:
        """Whether this engine may be given another balanced task."""
        if self.paused or self.choked:
            return False
        if self.hwm == AUTO:
            return place.open and (not place.load or (place.backlog < WORTH and place.watched))
        return place.open and (not self.hwm or place.load < self.hwm)

    def changed(self, place: Place) -> None:
        """The load of an engine has changed, or it has come or gone."""
        room = self.room(place)
        self.scheme.update(place, room)
        if self.hwm == AUTO:
            self._sort(place)
        if room:
            self.places[place.id] = place
            for key in self.unnamed:
                self._hopeful[key] = None
            for key in self.serves.get(place.id, ()):
                self._hopeful[key] = None
        elif not place.here:
            self.places.pop(place.id, None)

    def _sort(self, place: Place) -> None:
        """Note whether an engine has nothing, or so much that something waits there."""
        if place.load or not place.open:
            self.idle.pop(place.id, None)
        else:
            self.idle[place.id] = place
        if (place.load > 1 or place.spare) and place.open:
            self.crowded[place.id] = place
        else:
            self.crowded.pop(place.id, None)

    def fit_again(self, engine: int) -> None:
        """The properties of an engine have changed: what it was unfit for may run there now."""
        for key in [key for key in self.lines if engine in key.unfit]:
            records = [record for record in self.lines[key] if type(record) is not Bundle]
            self._forget_line(key)
            self.waiting -= len(records)
            ranks: dict[float, list[Record]] = {}
            for record in records:
                record.unfit = tuple(id for id in record.unfit if id != engine)
                ranks.setdefault(record.rank, []).append(record)
            for rank, equals in ranks.items():
                self._merge(rank, equals)

    def _merge(self, rank: float, records: list[Record]) -> None:
        """Put waiting tasks of one rank, in their order, into the line that is theirs now."""
        line = self._line(records[0])
        self.waiting += len(records) - 1
        tasks = line.rank(rank)
        both = sorted([*tasks, *records], key=lambda record: record.order)  # two runs: one pass
        tasks.clear()
        tasks.extend(both)

    def with_conditions(self, engine: int) -> list[Record]:
        """Waiting tasks of the lines that this engine has to do with, other than as any engine."""
        return [
            record
            for key, line in self.lines.items()
            if engine in key.allowed or key.refused
            for record in line
            if type(record) is not Bundle
        ]

    # --- the decision ---------------------------------------------------------------------------

    def expected(self, record: Unit) -> int:
        """Microseconds that a task is thought to take; of a chunk, one of its items."""
        if record.pool is None:
            return self.durations.expected(record.function)
        return self.paces.expected(record.function, max(record.items, 1))

    def heard_all(self, bundle: Bundle, seconds: list[float]) -> None:
        """What tasks of a bundle took."""
        if self.durations.heard_all(bundle.function, seconds):
            self._hopeful.update(dict.fromkeys(self.lines))

    def heard(self, record: Record, seconds: float) -> bool:
        """What a task, or a share, took; whether items were thought to be brief, and are not."""
        function, surprised = record.spec.function, False
        if record.pool is None:
            quicker = self.durations.heard(function, seconds)
        else:
            before = self.paces.expected(function, 1)
            surprised = self.paces.heard(function, seconds, record.items)
            quicker = self.paces.expected(function, 1) < WORTH <= before
        if quicker:  # those that were too long for an engine which has something
            self._hopeful.update(dict.fromkeys(self.lines))
        return surprised

    def next(self) -> tuple[Unit, Place] | None:
        """The next task to give out, or a bundle of which it is the first, and its engine; it stays
        in its line until `take`.

        Of the heads of all lines that have an engine, the one of the highest rank; among equals
        the one that has waited longest.
        """
        first: Unit | None = None
        its_engine = None
        for key in tuple(self._hopeful):
            line = self.lines.get(key)
            head = None if line is None else line.head()
            engine = None if head is None else self._best(key, head)
            if head is None or engine is None:
                del self._hopeful[key]
                if line is not None and head is None:
                    self._forget_line(key)
            elif first is None or (-head.rank, head.order) < (-first.rank, first.order):
                first, its_engine = head, engine
        if first is None or its_engine is None:
            return None
        return first, self.places[its_engine.id]

    def take(self, place: Place, first: Unit) -> list[Unit]:
        """What this engine gets: the first task, and if that is brief others in a row with it.

        They are taken from their line, at whose head the first one stands.
        """
        line = self.lines[self._key(first)]
        alone = first.pool is not None or self.hwm != AUTO or not place.watched
        if alone or len(self.lines) > 1:
            found = [line.pop()]
            self._waits_no_more()
            return found
        found = []
        room, engines = WORTH - place.backlog, len(self.scheme.open) or 1
        most = max(ROW, self.waiting * self.expected(first) // (PARTS * engines))
        head: Unit | None = first
        while head is not None and head.pool is None:
            each = self.expected(head)
            spread = min(ROW * engines // each, SPREAD)
            fits = min(-(-room // each), most // each, self.waiting - spread)
            if found and (fits <= 0 or each >= WORTH or place.id in head.avoid):
                break
            count = max(1, min(head.items, fits))
            found.append(line.pop(count))
            self._waits_no_more(count)
            room, most = room - count * each, most - count * each
            head = line.head()
        return found

    def behind(self, place: Place) -> Unit | None:
        """What this engine gets to wait behind the one task that it has, taken from its line.

        One that is short, if no engine has nothing to do, and more of them wait than there are
        engines. A chunk is still to be divided, as by `next`.
        """
        no = self.paused or self.choked or not (place.open and place.watched)
        if self.hwm != AUTO or self.idle or no:
            return None
        line = self.lines.get(EVERY)
        head = None if line is None or len(self.lines) > 1 else line.head()
        if line is None or head is None or place.load != 1 or place.id in head.avoid:
            return None
        if max(place.backlog, self.expected(head)) >= SHORT:
            return None
        items = head.pool.left if head.pool is not None and is_chunk(head) else 1
        if self.waiting - 1 + items <= len(self.places):
            return None
        self.humblest = min(self.humblest, head.rank)
        unit = line.pop()
        self._waits_no_more()
        return unit

    def _best(self, key: Key, head: Unit) -> Load | None:
        best = self._by_scheme(key, head)
        if self.hwm != AUTO or best is None or not best.load:
            return best
        brief = self.expected(head) < WORTH
        idle = [place for place in self.idle.values() if key.admits(place.id)]
        fresh = [place for place in idle if place.id not in head.avoid]
        if fresh or (idle and not brief):
            return self.scheme.choose(fresh or idle)
        return best if brief else None

    def _by_scheme(self, key: Key, head: Unit) -> Load | None:
        if key is EVERY:
            return self.scheme.best((), head.avoid)
        return self.scheme.best(key.allowed, head.avoid, (*key.refused, *key.unfit))


def key_of(record: Unit) -> Key:
    """The engines that a task may go to."""
    return Key(record.allowed, record.refused, record.unfit)
