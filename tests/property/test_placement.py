"""Placement decides as the simplest possible one does, and never lets a task wait idly."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enginery.core import messages as m
from enginery.core.ahead import AUTO, WORTH
from enginery.core.engines import Place
from enginery.core.placement import Placement
from enginery.core.tasks import Record, Refusal
from enginery.schemes import LeastLoad

ENGINES = range(4)
engines = st.sampled_from(ENGINES)
functions = st.sampled_from([b"f", b"f", b"g"])


class PlacementMachine(RuleBasedStateMachine):
    """Tasks come, go and come back, engines too. The model is a list, searched from its start."""

    @initialize(hwm=st.sampled_from([0, 1, 2, 3, AUTO]))
    def begin(self, hwm):
        self.hwm = hwm
        self.placement = Placement(LeastLoad(), hwm)
        self.places = {id: Place(id, b"") for id in ENGINES}
        for place in self.places.values():
            place.watched = place.id > 0
        self.waiting = []  # the model: tasks in the order in which they shall go
        self.given = []  # (task, place)
        self.clock = self.count = 0

    # --- what happens ---------------------------------------------------------------------------

    @rule(
        where=st.frozensets(engines, max_size=3),
        times=st.integers(1, 3),
        priority=st.sampled_from([0, 0, 0, 1, -0.5]),
        function=functions,
    )
    def submit(self, where, times, priority, function):
        for _ in range(times):
            self.count += 1
            terms = m.Terms(priority=priority) if priority else None
            targets = tuple(sorted(where))
            spec = m.Task(f"t{self.count}", function, b"", targets=targets, terms=terms)
            record = Record(spec, b"")
            record.move("wait", 0.0)
            self.placement.add(record)
            self.waiting.append(record)
        self.give_out()

    @rule(function=functions, seconds=st.sampled_from([0, 0.0001, 0.0005, 0.001, 1]))
    def hear(self, function, seconds):
        """A task of this function has taken so long."""
        self.placement.heard(Record(m.Task("heard", function, b""), b""), seconds)
        self.give_out()

    @precondition(lambda self: self.given)
    @rule(data=st.data(), how=st.sampled_from(["ok", "error", "refused", "unfit"]))
    def end(self, data, how):
        """A task ends, or fails and shall be tried again elsewhere, or is refused."""
        record, place = data.draw(st.sampled_from(self.given), label="task")
        self.given.remove((record, place))
        place.leave(record)
        self.placement.changed(place)
        if how != "ok":
            record.state = "waiting"
            if how == "error":
                record.avoid = (*record.avoid, place.id)
            else:
                record.refuse(place.id, Refusal("no", "", 0), for_good=how == "refused")
            self.placement.put_back(record)
            self.waiting.insert(0, record)
        self.give_out()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def abort(self, data):
        record = data.draw(st.sampled_from(self.waiting), label="task")
        self.waiting.remove(record)
        record.state = "done"
        self.placement.remove(record)
        self.give_out()

    @rule(id=engines, change=st.sampled_from([1, -1]))
    def direct_request(self, id, change):
        """What is sent to one engine counts for its load, too."""
        place = self.places[id]
        place.load = max(place.load + change, sum(p is place for _, p in self.given))
        self.placement.changed(place)
        self.give_out()

    @rule(id=engines)
    def properties_change(self, id):
        self.placement.fit_again(id)
        for record in self.waiting:
            assert id not in record.unfit
        self.give_out()

    @rule(id=engines)
    def come_or_go(self, id):
        place = self.places[id]
        place.here = place.recorded = not place.here
        place.lanes = {"tasks": 1} if place.here else {}
        self.placement.changed(place)
        self.give_out()

    # --- the comparison -------------------------------------------------------------------------

    def room(self, id):
        place = self.places[id]
        if self.hwm == AUTO:
            return place.here and (not place.load or (place.watched and place.backlog < WORTH))
        return place.here and (self.hwm == 0 or place.load < self.hwm)

    def brief(self, record):
        return self.hwm != AUTO or self.placement.durations.expected(record.spec.function) < WORTH

    def able(self, record):
        """The engines that may get a task now, of which those that have nothing come first."""
        barred = {*record.refused, *record.unfit}
        engines = [id for id in record.spec.targets or ENGINES if id not in barred]
        engines = [id for id in engines if self.room(id)]
        idle = [id for id in engines if not self.places[id].load]
        return engines if self.brief(record) else idle

    def expected(self):
        """The first task for which there is an engine, and the best of its engines.

        Those that may go to the same engines stand in one line, and pass nobody in it.
        """
        stuck = set()
        for record in sorted(self.waiting, key=lambda record: -record.spec.priority):
            line = (record.spec.targets, record.refused, record.unfit)
            if line not in stuck and (able := self.able(record)):
                able = [id for id in able if id not in record.avoid] or able
                best = min(able, key=lambda id: (self.places[id].load, self.places[id].used, id))
                return record, self.places[best]
            stuck.add(line)
        return None

    def give_out(self):
        while True:
            expected = self.expected()
            assert self.placement.next() == expected
            if expected is None:
                return
            first, place = expected
            given = self.placement.take(place, first)
            assert given[0] is first
            for record in given:
                record.state = "queued"
                self.waiting.remove(record)
                self.given.append((record, place))
                record.expected = self.placement.durations.expected(record.spec.function)
                place.put(record)
            self.clock += 1
            place.used = self.clock
            self.placement.changed(place)

    @invariant()
    def nobody_waits_idly(self):
        if hasattr(self, "waiting"):
            assert self.expected() is None
            assert self.placement.waiting == len(self.waiting)

    @invariant()
    def nothing_is_left(self):
        if hasattr(self, "waiting") and not self.waiting:
            assert not any(self.placement.lines.values())


PlacementMachine.TestCase.settings = settings(max_examples=200, deadline=None)
TestPlacement = PlacementMachine.TestCase
