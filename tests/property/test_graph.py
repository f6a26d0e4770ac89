"""Dependencies: the graph releases and gives up what the rules say, and looks at each once."""

import random
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enginery.core import messages as m
from enginery.core.engines import Place
from enginery.core.graph import Condition
from enginery.core.journal import Journal
from enginery.core.names import content_hash
from enginery.core.quota import Quota
from enginery.core.work import Work
from enginery.schemes import LeastLoad
from tests.sim import rules

BLOB = b"def f(): ..."
FUNCTION = content_hash(BLOB)
ENGINES = range(3)


def new_work(hwm=0):
    work = Work(
        LeastLoad(),
        hwm=hwm,
        crash_limit=3,
        record_limit=1_000_000,
        record_bytes=1 << 40,
        function_bytes=1 << 20,
        journal=Journal(),
        quota=Quota(1 << 40),
    )
    work.functions.add(FUNCTION, BLOB)
    for id in ENGINES:
        join(work, id)
    return work


def join(work, id):
    """An engine of this id is there, as a new life."""
    secret = f"{id}-{random.random()}".encode().ljust(16, b"-")
    place = work.places.setdefault(id, Place(id, secret))
    place.begin(m.Hello(1, "0", "engine", "tasks", secret, secret), 0.0)
    place.lanes["tasks"] = f"engine {id}"
    place.recorded = True
    work.joined(place)


def task(id, targets=(), **terms):
    return m.Task(id, FUNCTION, b"", targets=targets, terms=m.Terms(**terms) if terms else None)


ids = st.integers(0, 30)
shapes = st.tuples(st.booleans(), st.booleans(), st.booleans())
wishes = st.none() | st.tuples(st.lists(ids, max_size=4), shapes)


class GraphMachine(RuleBasedStateMachine):
    """Tasks arrive and end in any order; the model recomputes everything from what has ended."""

    @initialize()
    def begin(self):
        self.work = new_work()
        self.ends = {}  # the model: how each task ended
        self.terms = {}
        self.released = {}  # task -> where it may go; None: anywhere
        self.impossible = set()
        self.held = []
        self.gone = set()
        self.count = 0

    # --- what happens ---------------------------------------------------------------------------

    @rule(after=wishes, follow=wishes, places=st.frozensets(st.sampled_from(ENGINES), max_size=2))
    def submit(self, after, follow, places):
        """A task that depends on the last ones, rarely on one that there is not."""
        self.count += 1
        id = f"t{self.count}"
        where = tuple(sorted(places))
        terms = m.Terms(after=self.dependency(after), follow=self.dependency(follow))
        spec = m.Task(id, FUNCTION, b"", targets=where, terms=terms)
        self.work.accept(spec, b"", 0.0)
        self.terms[id] = terms, where
        if any(name not in self.terms or name == id for name in rules.named(terms)):
            self.give_up(id)
        else:
            self.held.append(id)
        self.settle()

    def dependency(self, wish):
        if wish is None:
            return None
        back, (all, success, failure) = wish
        names = tuple(f"t{self.count - b}" for b in back if b < 25 or self.count < 10)
        return m.Dependency(names, all, success, failure)

    @rule(engine=st.sampled_from(ENGINES))
    def direct(self, engine):
        """A direct request, which others may depend on."""
        self.count += 1
        id = f"t{self.count}"
        self.work.accept(m.Task(id, FUNCTION, b"", engine=engine), b"", 0.0)
        self.terms[id] = m.Terms(), ()
        if engine in self.gone:
            self.ends[id] = rules.End("lost", -1)
        else:
            self.released[id] = {engine}
        self.settle()

    @precondition(lambda self: self.running())
    @rule(data=st.data(), status=st.sampled_from(["ok", "ok", "error", "aborted", "overtime"]))
    def end(self, data, status):
        record = data.draw(st.sampled_from(self.running()), label="task")
        place = self.work.places[record.place]
        result = m.Result(record.spec.id, record.attempt, status, b"")
        self.work.result(place, result, 0.0)
        self.ends[record.spec.id] = rules.End(status, place.id)
        self.settle()

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def abort(self, data):
        """What is held is aborted."""
        id = data.draw(st.sampled_from(self.held), label="task")
        self.work.abort(self.work.tasks[id], False, 0.0)
        self.held.remove(id)
        self.ends[id] = rules.End("aborted", -1)
        self.settle()

    @precondition(lambda self: self.terms and len(self.gone) < 2)
    @rule(engine=st.sampled_from(ENGINES))
    def lose(self, engine):
        """An engine goes; nothing had started there, and what may run nowhere else is given up."""
        place = self.work.places[engine]
        if engine in self.gone:
            return
        bound = [r for r in self.work.tasks.values() if r.place == engine and r.direct]
        running = [r for r in self.work.tasks.values() if r.place == engine and not r.direct]
        for record in bound:
            self.ends[record.spec.id] = rules.End("lost", engine)
        for record in running:
            self.ends[record.spec.id] = rules.End("lost", engine)
        self.work.lose(place, "gone", 0.0)
        self.gone.add(engine)
        for id, where in self.released.items():
            follow = self.terms[id][0].follow
            if id not in self.ends and follow is not None and follow.ids and where <= self.gone:
                self.give_up(id)
        self.settle()

    # --- the model ------------------------------------------------------------------------------

    def give_up(self, id):
        self.impossible.add(id)
        self.ends[id] = rules.End("impossible", -1)

    def settle(self):
        """Nothing is left open that is not: until nothing changes any more."""
        self.work.settle(0.0, [])
        self.work.ended.clear()
        changed = True
        while changed:
            changed = False
            for id in list(self.held):
                terms, targets = self.terms[id]
                verdict = rules.verdict(terms, self.ends)
                if verdict == "open":
                    continue
                changed = True
                self.held.remove(id)
                where = rules.permitted(terms, targets, self.ends)
                follows = terms.follow is not None and bool(terms.follow.ids)
                if verdict == "impossible" or where == set() or (follows and where <= self.gone):
                    self.give_up(id)
                else:
                    self.released[id] = where

    def running(self):
        return [r for r in self.work.tasks.values() if r.state == "sent"]

    # --- the comparison -------------------------------------------------------------------------

    @invariant()
    def the_same_are_held_released_and_given_up(self):
        if not hasattr(self, "work"):
            return
        tasks = self.work.tasks
        found = {id: record.outcome.status for id, record in tasks.items() if record.outcome}
        assert found == {id: end.status for id, end in self.ends.items()}
        assert [id for id, record in tasks.items() if record.state == "held"] == self.held
        assert self.impossible == {id for id, status in found.items() if status == "impossible"}
        for id, where in self.released.items():
            record = tasks[id]
            if record.state in {"waiting", "queued", "sent"}:
                assert set(record.allowed) == (where or set()) or record.direct
                assert record.place < 0 or where is None or record.place in where

    @invariant()
    def no_edge_is_left(self):
        if hasattr(self, "work") and not self.held:
            assert not any(
                record.state == "held"
                for edges in self.work.conditions.graph.edges.values()
                for record, _ in edges
            )
            assert not set(self.ends) & set(self.work.conditions.graph.edges)


GraphMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestGraph = GraphMachine.TestCase


def test_what_all_have_refused_is_given_up_when_the_last_of_them_comes_back():
    work = new_work()
    work.accept(task("t"), b"", 0.0)
    work.settle(0.0, [])
    record = work.tasks["t"]
    first = record.place
    refusal = m.Result("t", 1, "refused", b"", reason="no")
    work.result(work.places[first], refusal, 0.0)
    for id in ENGINES:  # the others never come back
        work.lose(work.places[id], "gone", 0.0)
    work.settle(0.0, [])
    assert record.state == "waiting"
    join(work, first)
    work.settle(0.0, [])
    assert record.outcome.status == "impossible"


# --- what it costs --------------------------------------------------------------------------------

TASKS = 20_000


def chain():
    return [range(max(i - 1, 0), i) for i in range(TASKS)]


def star():
    return [range(min(i, 1)) for i in range(TASKS)]


def funnel():
    return [range(TASKS - 1) if i == TASKS - 1 else () for i in range(TASKS)]


def tree():
    return [[(i - 1) // 2] if i else [] for i in range(TASKS)]


def tangle():
    drawn = random.Random(1)
    return [drawn.sample(range(i), min(i, 10)) for i in range(TASKS)]


@pytest.mark.parametrize("shape", [chain, star, funnel, tree, tangle])
@pytest.mark.parametrize("late", [False, True], ids=["while they wait", "when all has ended"])
def test_every_edge_is_looked_at_once(shape, late, monkeypatch):
    counts = Counter()
    plain = Condition.count

    def counted(condition, record):
        counts["edges"] += 1
        return plain(condition, record)

    monkeypatch.setattr(Condition, "count", counted)
    work, edges = new_work(hwm=1), 0
    for i, before in enumerate(shape()):
        edges += len(before)
        names = tuple(f"t{b}" for b in before)
        after = {"after": m.Dependency(names)} if names else {}
        work.accept(task(f"t{i}", **after), b"", 0.0)
        if late:
            run(work)
    run(work)
    assert [r for r in work.tasks.values() if r.outcome is None or r.outcome.status != "ok"] == []
    assert counts["edges"] == edges
    assert work.conditions.graph.edges == {}


@pytest.mark.parametrize("shape", [chain, tree, tangle])
def test_giving_up_looks_at_every_edge_once_at_most(shape, monkeypatch):
    counts = Counter()
    plain = Condition.count

    def counted(condition, record):
        counts["edges"] += 1
        return plain(condition, record)

    monkeypatch.setattr(Condition, "count", counted)
    work, edges = new_work(hwm=1), 0
    for i, before in enumerate(shape()):
        edges += len(before)
        after = {"after": m.Dependency(tuple(f"t{b}" for b in before))} if before else {}
        work.accept(task(f"t{i}", **after), b"", 0.0)
    work.settle(0.0, [])
    (record,) = [r for r in work.tasks.values() if r.state == "sent"]
    work.result(work.places[record.place], m.Result("t0", 1, "error", b""), 0.0)
    work.settle(0.0, [])
    ended = Counter(record.outcome.status for record in work.tasks.values())
    assert ended == {"error": 1, "impossible": TASKS - 1}
    assert counts["edges"] <= edges


def run(work):
    """Until nothing runs any more: every task that is sent ends well."""
    places = work.places.values()
    work.settle(0.0, [])
    while sent := [record for place in places for record in place.sent.values()]:
        for record in sent:
            result = m.Result(record.spec.id, record.attempt, "ok", b"")
            work.result(work.places[record.place], result, 0.0)
        work.settle(0.0, [])
        work.ended.clear()


@pytest.mark.parametrize("waiting", [2_000, 20_000])
def test_what_fits_again_is_merged_in_one_pass(waiting):
    """As many comparisons of orders as there are tasks, about, and not their square."""
    work = new_work(hwm=1)
    for id in ENGINES[1:]:
        work.lose(work.places[id], "gone", 0.0)
    for i in range(waiting):
        work.accept(task(f"t{i}"), b"", 0.0)
    place = work.places[0]
    work.settle(0.0, [])
    for _ in range(waiting // 2):
        (record,) = place.sent.values()
        work.result(place, m.Result(record.spec.id, record.attempt, "unfit", b"", reason="no"), 0)
        work.settle(0.0, [])
    steps = Steps()
    for record in work.tasks.values():
        record.order = steps.number(record.order)
    work.properties_changed(place, 1)
    assert steps.count <= 20 * waiting
    line = [record.order.value for record in next(iter(work.placement.lines.values()))]
    assert line == sorted(line)
    assert len(line) == waiting - 1


class Steps:
    """Counts how often numbers are compared."""

    def __init__(self):
        self.count = 0

    def number(self, value):
        return _Number(self, value)


class _Number:
    def __init__(self, steps, value):
        self.steps, self.value = steps, value

    def __lt__(self, other):
        self.steps.count += 1
        return self.value < other.value

    def __gt__(self, other):
        self.steps.count += 1
        return self.value > other.value
