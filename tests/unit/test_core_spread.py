"""Large buffers for many hosts: the first have them from the controller, others from those."""

import pytest

from enginery.core import messages as m
from enginery.core.events import Received
from enginery.core.hosts import PACE, PATIENCE
from enginery.core.spread import SLOW, WORTH
from enginery.version import PROTOCOL

from .hand_controller import FIT, Hand, secret

THERE = m.Segment(7, 8, 4 * WORTH, b"t" * 16)


class Many(Hand):
    """A controller and so many hosts, each with a supervisor and one engine."""

    def __init__(self, hosts):
        super().__init__(hwm=4)
        self.core.memory = m.Segment(1, 1, 64, b"p" * 16)
        self.hosts = range(hosts)
        self.asked = {}  # host -> what its supervisor was asked last
        self.came = {}  # host -> how the buffer came to its engine
        for host in self.hosts:
            self.hello(host)
            self.engine(f"engine{host}")
            self.core.peers[f"engine{host}/tasks"].keeps = True
        self.client("ann")
        self.route([])
        self.buffer = None
        self.tasks = 0

    def hello(self, host):
        """A supervisor says hello, perhaps again."""
        hello = m.Hello(
            PROTOCOL, "0", "supervisor", "control", secret(f"host{host}"),
            places=(secret(f"engine{host}"),), keeps=True,
        )  # fmt: skip
        self.say_all(f"supervisor{host}", hello, "engine")

    def route(self, said):
        """Send; which hosts were asked to keep what, as (host, where they get it)."""
        outbox = {}
        for conn, message in said:
            outbox.setdefault(conn, []).append(message)
        asked = []
        for parcel in self.core.hosts.route(outbox, self.now):
            for message in parcel.messages:
                if isinstance(message, m.Keep) and message.number:
                    host = int(parcel.conn.removeprefix("supervisor"))
                    self.asked[host] = message
                    asked.append((host, message.door and message.door.address))
                elif isinstance(message, m.Run):
                    host = int(parcel.conn.removeprefix("engine").partition("/")[0])
                    self.came[host] = "there" if parcel.lying else "sent"
        return asked

    def broadcast(self, hosts=None, size=WORTH, buffer=None):
        """A client has the same done on these hosts."""
        self.buffer = buffer or m.Buffer(bytes(size))
        self.tasks += 1
        tasks = [
            m.Task(f"t{self.tasks}.{host}".replace(".", "-"), FIT, b"", (self.buffer,), engine=host)
            for host in (self.hosts if hosts is None else hosts)
        ]
        return self.route(self.submit("ann", *tasks))

    def kept(self, host, segment=THERE, door=None):
        """A supervisor answers; its door has the address of its host."""
        asked = self.asked[host]
        if asked.lent and segment:
            door = m.Door(f"at {host}", "key", b"ticket")
        kept = m.Kept(asked.number, segment, [64] if segment else [], door)
        return self.route(self.handle(Received(f"supervisor{host}", "engine", kept)))


def test_two_hosts_have_it_from_the_controller():
    many = Many(2)
    assert many.broadcast() == []  # an engine for itself gains nothing
    assert many.came == {0: "sent", 1: "sent"}


def test_what_is_small_goes_to_each_as_ever():
    many = Many(5)
    assert many.broadcast(size=WORTH - 1) == []
    assert many.came == dict.fromkeys(range(5), "sent")


def test_hosts_give_it_to_each_other():
    many = Many(8)
    assert many.broadcast() == [(0, None)]
    assert many.asked[0].lent is True
    assert many.kept(0) == [(1, "at 0"), (2, None)]
    asked = many.asked[1]
    assert (asked.buffers, asked.sizes, asked.lent) == ((), (WORTH,), True)
    assert many.kept(1) == [(3, "at 0"), (4, "at 1")]
    assert many.kept(2) == [(5, "at 2"), (6, None)]
    assert many.kept(5) == [(7, "at 2")]
    assert many.asked[7].lent is False
    for host in (3, 4, 6, 7):
        assert many.kept(host) == []
    assert many.came == dict.fromkeys(range(8), "there")
    assert many.core.hosts.deadline() is None


def test_who_gets_it_while_others_do_joins_them():
    many = Many(6)
    many.broadcast([0, 1, 2])
    assert many.broadcast([3, 4, 5], buffer=many.buffer) == []
    for host in (0, 1, 2, 3):
        many.kept(host)
    assert [many.asked[host].door.address for host in (1, 3, 4, 5)] == [
        "at 0",
        "at 0",
        "at 1",
        "at 2",
    ]


@pytest.mark.parametrize("how", ["fails", "goes"])
def test_who_cannot_have_it_from_a_host_gets_it_from_the_controller(how):
    many = Many(4)
    many.broadcast()
    assert many.kept(0) == [(1, "at 0"), (2, None)]
    if how == "goes":
        many.route(many.close("supervisor0"))
    assert many.kept(1, None, many.asked[1].door) == []  # the controller has enough to do
    assert many.core.hosts.deadline() > many.now
    many.kept(2)
    assert many.asked[1].door is None
    many.kept(1)
    many.kept(3)
    assert many.came == {0: "there", 1: "there", 2: "there", 3: "there"}


def test_who_could_not_be_reached_lends_nothing_until_it_comes_back():
    many = Many(4)
    many.broadcast()
    many.kept(0)
    many.kept(1, None, many.asked[1].door)
    for host in (2, 1, 3):
        many.kept(host)
    assert many.broadcast() == [(0, None)]
    assert many.asked[0].lent is False
    assert many.kept(0) == [(1, None)]
    assert many.kept(1) == [(2, "at 1"), (3, None)]
    many.kept(2)
    many.kept(3)
    many.hello(0)
    many.broadcast()
    assert many.asked[0].lent is True


def test_who_cannot_keep_it_at_all_is_sent_the_bytes():
    many = Many(3)
    many.broadcast()
    many.kept(0)
    many.kept(1, None)
    many.kept(2)
    assert many.came == {0: "there", 1: "sent", 2: "there"}


def test_it_is_lent_until_the_last_has_it():
    many = Many(3)
    many.broadcast()
    many.kept(0)
    many.route(many.result("engine0", m.Result("t1-0", 1, "ok", b""), seq=1))
    many.wait(1)
    many.route([])
    assert many.asked[0].number in many.core.hosts._live(secret("host0"))
    many.kept(1)
    many.kept(2)
    many.wait(1)
    many.route([])
    assert many.core.hosts._live(secret("host0")) == []


def test_who_is_slow_keeps_nobody_else_waiting():
    many = Many(5)
    many.broadcast()
    assert many.core.deadline() <= many.now + SLOW
    assert many.route(many.wait(SLOW)) == [(1, None)]
    assert many.kept(1) == [(2, "at 1"), (3, None)]
    assert many.kept(0) == [(4, "at 0")]


def test_nobody_waits_for_what_does_not_come():
    many = Many(3)
    many.broadcast()
    for _ in range(2):
        many.route(many.wait(PATIENCE + WORTH / PACE + 0.1))  # nobody answers
        many.route([])
    assert (many.came[0], many.came[1]) == ("sent", "sent")
    many.route(many.close("supervisor2"))
    assert many.came[2] == "sent"
    assert many.core.hosts.deadline() is None


def test_what_nobody_needs_any_more_is_not_waited_for():
    many = Many(4)
    many.broadcast()
    many.route(many.close("engine1/tasks") + many.close("engine1/control"))
    many.route(many.wait(2))
    many.route(many.wait(1))
    assert many.kept(0) == [(2, "at 0"), (3, None)]


def test_an_answer_to_what_was_not_asked_says_nothing():
    many = Many(3)
    many.broadcast()
    waiting = next(copy for copy in many.core.hosts.copies if copy.conn == "supervisor2")
    kept = m.Kept(waiting.number, THERE, [64])
    many.route(many.handle(Received("supervisor2", "engine", kept)))
    assert 2 not in many.came
    assert many.kept(0) == [(1, "at 0"), (2, None)]


def test_a_new_buffer_is_not_taken_for_one_that_is_gone():
    many = Many(3)
    many.broadcast()
    for host in (0, 1, 2):
        many.kept(host)
    assert many.broadcast() == [(0, None)]
