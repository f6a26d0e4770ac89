"""A controller that ties tasks together says and knows what one says and knows that does not."""

from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from enginery.core import alike
from enginery.core import messages as m
from enginery.core.ahead import AUTO
from tests.unit.hand_controller import FIT, Hand

ENGINES = ("engine1", "engine2")
BUNDLED, SINGLE = 1, 1 << 60


class Pair:
    """The same is said to both; gives what both have answered."""

    def __init__(self, **limits):
        self.hands = {few: Hand(hwm=AUTO, **limits) for few in (BUNDLED, SINGLE)}

    def both(self, say):
        answers = []
        for few, hand in self.hands.items():
            with patch.object(alike, "FEWEST", few):
                answers.append([plainly(said) for said in say(hand)])
        assert answers[0] == answers[1]
        return answers[0]


def plainly(said):
    """The same without columns: what is sent to whom, or anything else."""
    match said:
        case (conn, m.Run() as run):
            return conn, m.Run(run.one_by_one())
        case (conn, m.Deliver() as deliver):
            outcomes = sorted(deliver.one_by_one(), key=lambda outcome: outcome.id)
            return conn, m.Deliver(deliver.seq, outcomes, deliver.outputs)
    return said


class Bundles(RuleBasedStateMachine):
    """One client, and engines that take their time."""

    @initialize(limit=st.sampled_from([20, 100_000]))
    def begin(self, limit):
        self.pair = Pair(record_limit=limit)
        self.count = self.number = 0
        self.lives = dict.fromkeys(ENGINES, 1)
        self.has = {name: [] for name in ENGINES}  # attempts that it was sent and has not ended
        self.seqs = dict.fromkeys(ENGINES, 0)
        self.pair.both(lambda hand: hand.supervisor(*ENGINES))
        for name in ENGINES:
            self.hear(lambda hand, name=name: hand.engine(name))
        self.hear(lambda hand: hand.client("ann"))
        for hand in self.pair.hands.values():  # it is known how brief they are
            hand.core.work.placement.durations.heard(FIT, 3e-6)

    def hear(self, say):
        """The engines hear what is said to them."""
        for said in self.pair.both(say):
            if not isinstance(said, tuple):
                continue
            conn, message = said
            name, _, lane = str(conn).partition("/")
            if isinstance(message, m.Run):
                self.has[name] += message.attempts
            elif isinstance(message, m.Abort) and lane == "control":
                self.drop(name, message.numbers)

    def drop(self, name, numbers):
        """What was called off and has not begun will not begin."""
        dropped = [a for a in self.has[name][1:] if a.n in numbers]
        self.has[name] = [a for a in self.has[name] if a not in dropped]
        if dropped:
            message = m.Dropped([a.id for a in dropped], [a.n for a in dropped])
            self.hear(lambda hand: hand.say_all(f"{name}/control", message, "engine"))

    @rule(count=st.sampled_from([1, 4, 30, 80]), retries=st.sampled_from([0, 0, 0, 2]))
    def submit(self, count, retries):
        tasks = []
        for _ in range(count):
            self.count += 1
            id = f"ann-{self.count}"
            tasks.append((id, retries, bytes(self.count % 3)))
        self.hear(
            lambda hand: hand.submit(
                "ann", *[m.Task(id, FIT, data, retries=again) for id, again, data in tasks]
            )
        )

    @rule(rounds=st.integers(1, 4), count=st.integers(5, 30))
    def go_on(self, rounds, count):
        """Engines do what they have been sent."""
        for _ in range(rounds):
            for name in ENGINES:
                self.end(name, count, "ok", 3e-6)

    @rule(
        name=st.sampled_from(ENGINES), count=st.integers(1, 30),
        how=st.sampled_from(["ok", "ok", "error", "unfit"]),
        took=st.sampled_from([3e-6, 3e-6, 3e-6, 3e-6, 3e-6, 3e-6, 3e-5, 0.01]),
    )  # fmt: skip
    def end(self, name, count, how, took):
        """An engine tells the results of what it was sent first; the last one may have failed."""
        ended, self.has[name] = self.has[name][:count], self.has[name][count:]
        if not ended:
            return
        results = [
            m.Result(a.id, a.attempt, "ok", b"value", started=1.0, completed=1.0 + took)
            for a in ended
        ]
        results[-1].status = how
        self.seqs[name] += 1
        seq = self.seqs[name]
        self.hear(lambda hand: hand.result(name, *results, seq=seq))

    @rule(name=st.sampled_from(ENGINES))
    def tell_late(self, name):
        """An engine tells of what it does not have, out of the order of what it has."""
        if len(self.has[name]) > 2:
            attempt = self.has[name][1]
            self.seqs[name] += 1
            seq = self.seqs[name]
            results = [
                m.Result(attempt.id, attempt.attempt, "ok", b""),
                m.Result(attempt.id, attempt.attempt + 1, "ok", b""),
            ]
            del self.has[name][1]
            self.hear(lambda hand: hand.result(name, *results, seq=seq))

    @precondition(lambda self: self.count)
    @rule(data=st.data(), running=st.booleans())
    def abort(self, data, running):
        ids = data.draw(st.lists(st.integers(1, self.count), max_size=5), label="tasks")
        message = m.Abort([f"ann-{i}" for i in ids], running, number=self.next())
        self.hear(lambda hand: hand.say_all("ann/control", message))

    @rule(what=st.sampled_from(["queues", "status", "tasks", "story", "fetch"]), data=st.data())
    def ask(self, what, data):
        ids = data.draw(st.lists(st.integers(1, self.count + 2), max_size=3), label="tasks")
        query = m.Query(self.next(), what, [f"ann-{i}" for i in ids])
        self.hear(lambda hand: hand.say_all("ann/control", query))

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def depend(self, data):
        """A task that waits for others, or takes their values."""
        ids = data.draw(
            st.lists(st.integers(1, self.count), max_size=3, unique=True), label="tasks"
        )
        names = tuple(f"ann-{i}" for i in ids)
        takes = data.draw(st.booleans(), label="takes values")
        self.count += 1
        id = f"ann-{self.count}"

        def terms():
            return m.Terms(inputs=names) if takes else m.Terms(after=m.Dependency(names))

        self.hear(lambda hand: hand.submit("ann", m.Task(id, FIT, b"", terms=terms())))

    @rule(name=st.sampled_from(ENGINES), started=st.integers(0, 3))
    def die(self, name, started):
        """A life of an engine is over when it had begun so many of those that it had."""
        begun = self.has[name][:started]
        number = begun[-1].n if begun else 0
        life, self.lives[name] = str(self.lives[name]), self.lives[name] + 1
        self.has[name], self.seqs[name] = [], 0
        self.hear(lambda hand: hand.close(f"{name}/tasks"))
        self.hear(lambda hand: hand.close(f"{name}/control"))
        self.hear(lambda hand: hand.exited(name, life, number, max(number - 1, 0), replaced=True))
        self.hear(lambda hand: hand.engine(name, str(self.lives[name])))

    @rule(name=st.sampled_from(ENGINES))
    def reconnect(self, name):
        """An engine connects anew, and has not got the last of what it was sent."""
        lost, self.has[name] = self.has[name][3:], self.has[name][:3]
        seen = self.has[name][-1].n if self.has[name] else (lost[0].n - 1 if lost else 1 << 40)
        self.hear(lambda hand: hand.close(f"{name}/tasks"))
        life = str(self.lives[name])
        self.hear(lambda hand: hand.engine(name, life, seen=seen, lanes=("tasks",)))

    @rule(seconds=st.sampled_from([0.001, 0.01, 1.0]))
    def wait(self, seconds):
        self.hear(lambda hand: hand.wait(seconds))

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def purge(self, data):
        ids = data.draw(st.lists(st.integers(1, self.count), max_size=2), label="tasks")
        message = m.Purge([f"ann-{i}" for i in ids], number=self.next())
        self.hear(lambda hand: hand.say_all("ann/control", message))

    def next(self):
        """The number of a request."""
        self.number += 1
        return self.number

    @invariant()
    def they_know_the_same(self):
        known = []
        for hand in self.pair.hands.values() if hasattr(self, "pair") else ():
            tasks, places = hand.core.work.tasks, hand.core.work.places.values()
            records = {record.spec.id: fields(record) for record in tasks.look()}
            queues = [[r.spec.id for r in queue] for queue, _ in (p.look() for p in places)]
            sent = [
                {n: r.spec.id for n, r in sent.items()} for _, sent in (p.look() for p in places)
            ]
            known.append((list(tasks), records, queues, sent))
        assert known[:1] == known[1:]

    def teardown(self):
        """There is no state that untying does not give back."""
        known = []
        for hand in self.pair.hands.values():
            known.append([fields(record) for record in hand.core.work.tasks.values()])
            assert not hand.core.work.tasks.bundled
        assert known[0] == known[1]


def fields(record):
    """What a record says."""
    names = ("spec", "owner", "number", "size", "state", "attempt", "place", "n", "expected",
             "outcome", "finished",
        "order", "steps", "kept", "spent", "avoid")  # fmt: skip
    return {name: getattr(record, name) for name in names}


TestBundles = Bundles.TestCase
TestBundles.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
