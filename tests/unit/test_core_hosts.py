"""Large buffers for several engines of another host: one copy, and everything in its order."""

import pytest

from enginery.core import messages as m
from enginery.core.ahead import AUTO
from enginery.core.events import Received
from enginery.core.hosts import LEAST, PACE, PATIENCE
from enginery.core.names import content_hash
from enginery.version import PROTOCOL

from .hand_controller import FIT, SUPERVISOR, Hand, secret

BIG = LEAST
THERE = m.Segment(7, 8, 4 * BIG, b"t" * 16)
SUPERVISOR_LANE = "supervisor/control"


class Far(Hand):
    """A controller whose engines are on another host, but for `near`."""

    def __init__(self, *names, near=()):
        super().__init__(hwm=4)
        self.core.memory = m.Segment(1, 1, 64, b"p" * 16)
        self.asked = 0  # the last copy that the supervisor was asked to keep
        self.hello(names)
        for name in (*names, *near):
            self.engine(name)
        self.client("ann")
        assert self.parcels([]) == [(SUPERVISOR_LANE, ["Keep"], 0)]  # nothing is needed so far

    def engine(self, name, keeps=True, **options):
        """An engine of that host says hello; it can open what its supervisor keeps."""
        said = super().engine(name, **options)
        self.core.peers[f"{name}/tasks"].keeps = keeps
        return said

    def hello(self, names, keeps=True):
        """The supervisor says hello."""
        places = tuple(secret(name) for name in names)
        hello = m.Hello(
            PROTOCOL, "0", "supervisor", "control", SUPERVISOR, places=places, keeps=keeps
        )
        return self.say_all(SUPERVISOR_LANE, hello, "engine")

    def parcels(self, said):
        """What goes out: (connection, classes of messages, how many buffers lie there)."""
        outbox = {}
        for conn, message in said:
            outbox.setdefault(conn, []).append(message)
        self.sent = list(self.core.hosts.route(outbox, self.now))
        asked = [w.number for p in self.sent for w in p.messages if isinstance(w, m.Keep)]
        self.asked = max([self.asked, *asked])
        return [
            (p.conn, [type(each).__name__ for each in p.messages], len(p.lying))
            for p in self.sent
            if p.conn.startswith(("engine", "supervisor"))
        ]

    def broadcast(self, *ids, engines=(0, 1), size=BIG):
        """A client has the same done on several engines; what goes out."""
        buffer = m.Buffer(bytes(size))
        tasks = [
            m.Task(id, FIT, b"", (buffer,), engine=engine)
            for id, engine in zip(ids, engines, strict=True)
        ]
        return self.parcels(self.submit("ann", *tasks))

    def kept(self, segment=THERE, at=(64,)):
        """The supervisor answers; what goes out."""
        kept = m.Kept(self.asked, segment, list(at))
        return self.parcels(self.handle(Received(SUPERVISOR_LANE, "engine", kept)))

    def done(self, name, id, seq):
        """An engine has run this; what goes out."""
        return self.parcels(self.result(name, m.Result(id, 1, "ok", b""), seq=seq))


RUN = ["Define", "Run"]
CLOSURE = content_hash(b"a closure")
DEFINED = [("engine1/tasks", ["Define"], 0), ("engine2/tasks", ["Define"], 0)]


def test_it_goes_to_the_supervisor_once_and_then_by_reference():
    far = Far("engine1", "engine2")
    assert far.broadcast("t1", "t2") == [*DEFINED, (SUPERVISOR_LANE, ["Keep"], 0)]
    [keep] = far.sent[-1].messages
    assert (len(keep.buffers), keep.live) == (1, [keep.number])
    assert far.kept() == [("engine1/tasks", ["Run"], 1), ("engine2/tasks", ["Run"], 1)]
    buffer = keep.buffers[0]
    assert far.sent[0].lying == {id(buffer): (THERE, 64, BIG)}


def test_work_that_comes_later_waits_for_its_turn():
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    assert far.parcels(far.submit("ann", m.Task("t3", FIT, b"", engine=0))) == []
    assert far.kept() == [
        ("engine1/tasks", ["Run"], 1), ("engine1/tasks", ["Run"], 0), ("engine2/tasks", ["Run"], 1),
    ]  # fmt: skip
    assert far.parcels(far.submit("ann", m.Task("t4", FIT, b"", engine=0))) == [
        ("engine1/tasks", ["Run"], 0)
    ]


def test_what_is_no_work_does_not_wait():
    far = Far("engine1", "engine2")
    far.parcels(far.submit("ann", m.Task("t0", FIT, b"", engine=0)))
    far.broadcast("t1", "t2")
    abort = m.Abort(["t0"], running=True, number=1)
    said = far.say_all("ann/control", abort)
    assert far.parcels(said) == [("engine1/control", ["Abort"], 0)]
    effects = []
    far.core.close("stopped", far.now, effects)
    goodbyes = [(e.conn, e.message) for e in effects]
    assert ("engine1/tasks", ["Goodbye"], 0) in far.parcels(goodbyes)


def test_one_answer_after_the_other_lets_work_go_on():
    far = Far("engine1", "engine2")
    far.broadcast("t0", "u0")
    for i in range(1, 9):  # each is asked for before the one before it is there
        before = far.asked
        far.broadcast(f"t{i}", f"u{i}")
        far.asked, last = before, far.asked
        assert far.kept() == [("engine1/tasks", ["Run"], 1), ("engine2/tasks", ["Run"], 1)]
        far.asked = last


def test_a_new_connection_is_welcome_at_once_and_gets_its_work_there():
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    far.close("engine1/tasks")
    hello = m.Hello(PROTOCOL, "0", "engine", "tasks", secret("engine1"), secret("engine11"))
    again = far.parcels(far.handle(Received("engine1 again/tasks", "engine", hello)))
    assert again == [("engine1 again/tasks", ["Welcome", "Run"], 0)]
    assert far.kept() == [("engine2/tasks", ["Run"], 1)]


def test_it_is_kept_until_every_engine_has_run_what_it_was_for():
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    far.kept()
    far.done("engine1", "t1", 1)
    far.wait(1)
    assert far.parcels([]) == []
    far.done("engine2", "t2", 1)
    far.wait(1)
    assert far.parcels([]) == [(SUPERVISOR_LANE, ["Keep"], 0)]
    [spared] = far.sent[-1].messages
    assert (spared.number, spared.live) == (0, [])
    assert far.parcels([]) == []


def test_a_supervisor_that_comes_back_is_told_what_is_needed():
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    far.kept()
    far.close(SUPERVISOR_LANE)
    for name in ("engine1", "engine2"):
        far.done(name, f"t{name[-1]}", 1)
    far.wait(1)
    assert far.parcels([]) == []  # there is nobody to be told
    sent = far.parcels(far.hello(("engine1", "engine2")))
    assert sent == [(SUPERVISOR_LANE, ["Welcome"], 0), (SUPERVISOR_LANE, ["Keep"], 0)]
    assert far.sent[-1].messages[0].live == []


def test_what_is_for_others_is_kept_by_itself():
    far = Far("engine1", "engine2")
    one, two = m.Buffer(bytes(BIG)), m.Buffer(bytes(BIG))
    tasks = [m.Task(f"t{i}{e}", FIT, b"", (b,), engine=e)
             for i, b in enumerate((one, two)) for e in (0, 1)]  # fmt: skip
    far.parcels(far.submit("ann", *tasks))
    keeps = [w for p in far.sent for w in p.messages if isinstance(w, m.Keep)]
    assert [keep.buffers for keep in keeps] == [(one,), (two,)]


def test_who_gets_the_same_later_is_told_where_it_lies():
    far = Far("engine1", "engine2", "engine3")
    buffer = m.Buffer(bytes(BIG))
    tasks = [m.Task(f"t{i}", FIT, b"", (buffer,), engine=i) for i in range(3)]
    far.parcels(far.submit("ann", *tasks[:2]))
    far.kept()
    assert far.parcels(far.submit("ann", tasks[2])) == [
        ("engine3/tasks", ["Define"], 0), ("engine3/tasks", ["Run"], 1),
    ]  # fmt: skip


def test_what_was_sent_there_before_is_kept_the_second_time():
    far = Far("engine1", "engine2")
    data = m.Buffer(bytes(BIG))

    def given(id):
        return far.parcels(far.submit("ann", m.Task(id, FIT, b"", (data,))))

    assert given("t1") == [("engine1/tasks", RUN, 0)]
    assert given("t2") == [("engine2/tasks", ["Define"], 0), (SUPERVISOR_LANE, ["Keep"], 0)]
    assert far.kept() == [("engine2/tasks", ["Run"], 1)]
    assert given("t3") == [("engine1/tasks", ["Run"], 1)]
    other = m.Buffer(bytes(BIG))
    said = far.submit("ann", m.Task("t4", FIT, b"", (other,)))
    assert far.parcels(said) == [("engine2/tasks", ["Run"], 0)]


def mapped(far, size=BIG):
    """Two tasks of a function that holds large data and that both engines lack; what goes out."""
    blob, buffer = b"a closure", m.Buffer(bytes(size))
    far.say("ann/tasks", m.Define(CLOSURE, blob, (buffer,)))
    tasks = [m.Task(f"m{i}", CLOSURE, b"", engine=i) for i in range(2)]
    return buffer, far.parcels(far.submit("ann", *tasks))


def test_the_data_of_a_function_goes_there_once_too():
    far = Far("engine1", "engine2")
    buffer, said = mapped(far)
    assert said == [(SUPERVISOR_LANE, ["Keep"], 0)]
    assert far.kept() == [("engine1/tasks", RUN, 1), ("engine2/tasks", RUN, 1)]
    assert far.sent[0].lying == {id(buffer): (THERE, 64, BIG)}
    assert far.sent[0].messages[0].buffers == (buffer,)


def test_a_function_that_waits_comes_right_before_its_work():
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    first = far.asked
    _, said = mapped(far)
    assert said == [(SUPERVISOR_LANE, ["Keep"], 0)]
    far.asked, last = first, far.asked
    assert far.kept() == [("engine1/tasks", ["Run"], 1), ("engine2/tasks", ["Run"], 1)]
    far.asked = last
    assert far.kept() == [("engine1/tasks", RUN, 1), ("engine2/tasks", RUN, 1)]


def test_a_function_without_large_data_waits_for_nothing():
    far = Far("engine1", "engine2")
    _, said = mapped(far, BIG - 1)
    assert said == [("engine1/tasks", RUN, 0), ("engine2/tasks", RUN, 0)]


def test_a_function_whose_work_was_aborted_meanwhile_comes_with_what_needs_it_next():
    far = Far("engine1", "engine2")
    mapped(far)
    far.say("ann/control", m.Abort(["m0"], running=False, number=1))
    far.say_all("engine1/control", m.Dropped(["m0"], [1]), "engine")
    assert far.kept() == [("engine2/tasks", RUN, 1)]
    said = far.parcels(far.submit("ann", m.Task("m2", CLOSURE, b"", engine=0)))
    assert said == [("engine1/tasks", RUN, 1)]


def test_a_function_that_an_engine_has_asked_for_waits_for_nothing():
    """What comes in the same turn and needs it, too, may be called back before it has gone out."""
    far = Far("engine1", "engine2")
    mapped(far)
    far.kept()
    others = [m.Task(f"m{i}", CLOSURE, b"", (m.Buffer(bytes(BIG)),), engine=0) for i in (2, 3)]
    need = far.say_all("engine1/tasks", m.Need((CLOSURE,), 1), "engine")
    said = far.parcels([*need, *far.submit("ann", others[0])])
    assert ("engine1/tasks", ["Define", "Run"], 0) in said
    other = m.Task("m4", CLOSURE, b"", others[0].buffers, engine=0)
    need = far.say_all("engine1/tasks", m.Need((CLOSURE,), 1), "engine")
    said = far.parcels([*need, *far.submit("ann", other)])
    assert said[0] == ("engine1/tasks", ["Define"], 0)


@pytest.mark.parametrize(
    ("how", "engines"),
    [("alone", (0,)), ("small", (0, 1)), ("no keeper", (0, 1)), ("not opened", (0, 1))],
)
def test_what_gains_nothing_goes_as_ever(how, engines):
    far = Far("engine1", "engine2")
    if how == "no keeper":
        far.hello(("engine1", "engine2"), keeps=False)
    if how == "not opened":
        far.core.peers["engine2/tasks"].keeps = False
    ids = [f"t{i}" for i in engines]
    sent = far.broadcast(*ids, engines=engines, size=BIG - 1 if how == "small" else BIG)
    assert sent == [(f"engine{i + 1}/tasks", RUN, 0) for i in engines]


@pytest.mark.parametrize("how", ["full", "wrong", "gone", "silent", "too few"])
def test_without_an_answer_of_use_the_bytes_are_sent(how):
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    match how:
        case "full":
            sent = far.kept(None, ())
        case "too few":
            sent = far.kept(at=())
        case "wrong":
            sent = far.kept(at=(THERE.size - BIG + 1,))
        case "gone":
            sent = far.parcels(far.close(SUPERVISOR_LANE))
        case _:
            assert far.core.deadline() <= far.now + PATIENCE + BIG / PACE
            sent = far.parcels(far.wait(PATIENCE + BIG / PACE + 0.1))
    assert sent == [("engine1/tasks", ["Run"], 0), ("engine2/tasks", ["Run"], 0)]


def test_who_has_not_answered_is_not_asked_until_he_does():
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    far.parcels(far.wait(PATIENCE + BIG / PACE + 0.1))
    assert far.broadcast("t3", "t4") == [
        ("engine1/tasks", ["Run"], 0), ("engine2/tasks", ["Run"], 0),
    ]  # fmt: skip
    far.kept()
    assert far.broadcast("t5", "t6") == [(SUPERVISOR_LANE, ["Keep"], 0)]


def test_each_has_its_time_after_those_before_it():
    far = Far("engine1", "engine2")
    for i in range(3):
        far.broadcast(f"t{i}", f"u{i}")
    limits = [copy.until for copy in far.core.hosts.copies]
    assert limits == [far.now + PATIENCE + (i + 1) * BIG / PACE for i in range(3)]


def test_an_engine_that_is_gone_keeps_nobody_waiting():
    far = Far("engine1", "engine2")
    far.broadcast("t1", "t2")
    far.close("engine1/tasks")
    assert far.kept() == [("engine2/tasks", ["Run"], 1)]


def test_calls_in_columns_wait_for_their_function_in_their_order_and_without_what_was_aborted():
    far = Far("engine1", "engine2")
    work = far.core.work
    work.placement.hwm = AUTO
    for place in work.places.values():
        work.placement.changed(place)
    work.placement.durations.heard(CLOSURE, 1e-6)
    far.say("ann/tasks", m.Define(CLOSURE, b"a closure", (m.Buffer(bytes(BIG)),)))
    ids = [f"ann-{i}" for i in range(400)]
    said = far.submit("ann", *[m.Task(id, CLOSURE, b"") for id in ids])
    rows = [run.rows for _, run in said if isinstance(run, m.Run)]
    assert all(rows)
    assert far.parcels(said) == [(SUPERVISOR_LANE, ["Keep"], 0)]
    first = rows[0][0].attempts()
    aborted = [next(first), next(first)]
    numbers = [attempt.n for attempt in aborted]
    named = [attempt.id for attempt in aborted]
    far.parcels(far.say_all("ann/control", m.Abort(named, number=1)))
    far.parcels(far.say_all("engine1/control", m.Dropped(named, numbers), "engine"))
    far.kept()
    runs = [each for p in far.sent for each in p.messages if isinstance(each, m.Run)]
    given = [[a.id for a in run.one_by_one()] for run in runs]
    every = {id for each in given for id in each}
    sent = {a.id for rows in rows for row in rows for a in row.attempts()}
    assert sent - set(named) <= every
    assert every.isdisjoint(named)
    assert all(each == sorted(each, key=ids.index) for each in given)
