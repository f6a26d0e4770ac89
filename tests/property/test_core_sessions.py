"""A session tells each outcome once and in order, within its window, whatever the network loses."""

from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from enginery.core import messages as m
from enginery.core import sessions
from enginery.core.client import Client
from enginery.core.events import Closed, Delivered, Opened, Received, Send
from enginery.core.sessions import Session

steps = st.lists(
    st.one_of(
        st.integers(1, 5),  # so many outcomes become due
        st.sampled_from(["arrive", "confirm", "cut"]),
    ),
    max_size=60,
)


class Wire:
    """A session and a client, and what is on its way between them."""

    def __init__(self, most):
        self.session = Session(1, b"c" * 16, "c", "client")
        self.client = Client(b"c" * 16, host="h", pid=1, version="0", python="3")
        self.most = most  # bytes under way
        self.down = []
        self.up = []
        self.told = []
        self.due = 0

    def owe(self, count):
        """So many outcomes become due, of tasks that the client has submitted."""
        for _ in range(count):
            self.due += 1
            self.client.outstanding[f"c-{self.due}"] = ()
            self.session.due.append(m.Outcome(f"c-{self.due}", "ok"))
        self.pump()

    def pump(self):
        """The session says what it may."""
        out = []
        self.session.pump(out)
        self.down += [effect.message for effect in out]
        assert self.session.under_way_bytes == sum(size for _, size in self.session.under_way)
        assert self.session.under_way_bytes <= self.most

    def arrive(self):
        """The client gets what is first in line."""
        self.hear(self.down.pop(0))

    def hear(self, message):
        """The client gets this."""
        for effect in self.client.handle(Received("tasks", "controller", message), 0.0):
            if isinstance(effect, Delivered):
                self.told += [outcome.id for outcome in effect.outcomes]
            elif isinstance(effect, Send) and isinstance(effect.message, m.Got):
                self.up.append(effect.message)

    def confirm(self):
        """The session gets what is first in line."""
        self.session.got(self.up.pop(0).seq)
        self.pump()

    def cut(self):
        """All that was on its way is lost, and there is a new connection."""
        self.down.clear()
        self.up.clear()
        self.client.handle(Closed("tasks"), 0.0)
        (hello,) = self.client.handle(Opened("tasks"), 0.0)
        self.session.lanes["tasks"] = "conn"
        self.hear(m.Welcome("x", "c", session=1))
        out = []
        self.session.got(hello.message.seen)
        self.session.resume(out)
        self.down += [effect.message for effect in out]
        self.pump()


@settings(deadline=None)
@given(steps, st.integers(1, 2000), st.integers(1, 4))
def test_outcomes_arrive_once_and_in_order(steps, window, batch):
    wire = Wire(most=window + 400 * batch)
    limits = {"WINDOW": window, "BATCH": batch}
    with patch.multiple(sessions, **limits), patch("enginery.core.client.GOT_BYTES", window - 1):
        wire.cut()
        for step in [*steps, "cut"]:
            if step == "arrive" and wire.down:
                wire.arrive()
            elif step == "confirm" and wire.up:
                wire.confirm()
            elif step == "cut":
                wire.cut()
            elif isinstance(step, int):
                wire.owe(step)
        while wire.down or wire.up:
            wire.arrive() if wire.down else wire.confirm()
    assert wire.told == [f"c-{i}" for i in range(1, wire.due + 1)]
    assert not wire.session.due


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=30))
def test_what_is_accepted_is_what_was_taken_and_is_not_counted_any_more(submissions):
    session = Session(1, b"c" * 16, "c", "client")
    sizes = {}
    for seq, (tasks, accept) in enumerate(submissions, 1):
        submit = m.Submit(seq, [m.Task(f"c-{seq}-{i}", b"", b"x" * i) for i in range(tasks)])
        session.arrived(submit)
        sizes[seq] = sum(task.size() for task in submit.tasks)
        session.take(submit, seq)
        if accept:
            session.admitted = seq
            assert session.accept(seq) is True
            assert session.accept(seq) is False
        assert session.accepted == max(
            (s for s in range(1, seq + 1) if submissions[s - 1][1]), default=0
        )
        left = sum(size for s, size in sizes.items() if s > session.accepted)
        assert session.unaccepted_bytes == left
