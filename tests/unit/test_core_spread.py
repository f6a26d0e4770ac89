"""Large buffers for many hosts: the first have them from the controller, others from those."""

import gc
import sys
from weakref import ref

import pytest

from enginery.core import messages as m
from enginery.core.events import Received
from enginery.core.hosts import PACE, PATIENCE
from enginery.core.spread import LINE, SLOW, WORTH
from enginery.version import PROTOCOL

from .hand_controller import FIT, Hand, secret

THERE = m.Segment(7, 8, 4 * WORTH, b"t" * 16)
AT = [f"tcp://10.0.0.{host + 1}:7" for host in range(20)]


class Many(Hand):
    """A controller and so many hosts, each with a supervisor and one engine."""

    def __init__(self, hosts):
        super().__init__(hwm=4)
        self.core.memory = m.Segment(1, 1, 64, b"p" * 16)
        self.hosts = range(hosts)
        self.asked = {}  # host -> what its supervisor was asked last
        self.spared = {}  # host -> what its supervisor was told last of what is still needed
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
                if isinstance(message, m.Keep) and not message.number:
                    self.spared[int(parcel.conn.removeprefix("supervisor"))] = message
                elif isinstance(message, m.Keep):
                    host = int(parcel.conn.removeprefix("supervisor"))
                    self.asked[host] = message
                    asked.append((host, message.door and message.door.address))
                elif isinstance(message, m.Run):
                    host = int(parcel.conn.removeprefix("engine").partition("/")[0])
                    self.came[host] = "there" if parcel.lying else "sent"
        return asked

    def lends(self, host):
        """Whether it was told to lend what it was asked to keep."""
        return self.asked[host].number in self.asked[host].lent

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
        if asked.number in asked.lent and segment:
            door = m.Door(AT[host], "key", b"ticket")
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
    assert many.lends(0)
    assert many.kept(0) == [(1, AT[0]), (2, None)]
    asked = many.asked[1]
    assert (asked.buffers, asked.sizes) == ((), (WORTH,))
    assert many.lends(1)
    assert many.kept(1) == [(3, AT[0]), (4, AT[1])]
    assert many.kept(2) == [(5, AT[2]), (6, None)]
    assert many.kept(5) == [(7, AT[2])]
    assert not many.lends(7)
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
        AT[0],
        AT[0],
        AT[1],
        AT[2],
    ]


@pytest.mark.parametrize("how", ["fails", "goes"])
def test_who_cannot_have_it_from_a_host_gets_it_from_the_controller(how):
    many = Many(4)
    many.broadcast()
    assert many.kept(0) == [(1, AT[0]), (2, None)]
    if how == "goes":
        many.route(many.close("supervisor0"))
    asked = many.kept(1, None, many.asked[1].door)  # the controller has enough to do
    assert asked == ([(3, AT[0])] if how == "fails" else [])
    assert many.core.hosts.deadline() > many.now
    many.kept(2)
    assert many.asked[1].door is None
    many.kept(1)
    many.kept(3)
    assert many.came == {0: "there", 1: "there", 2: "there", 3: "there"}


def finish(many, *blocked):
    """Let all answer; nothing is to be had at those that are `blocked`. How it came to each."""
    waiting = [host for host in many.hosts if host in many.asked and host not in many.came]
    while waiting:
        host = waiting.pop(0)
        door = many.asked[host].door
        failed = door is not None and AT.index(door.address) in blocked
        asked = many.kept(host, None, door) if failed else many.kept(host)
        waiting += [host for host, _ in asked]
    many.asked.clear()
    came, many.came = many.came, {}
    return came


def test_who_cannot_fetch_blames_nobody_else():
    many = Many(6)
    sources = []
    for _ in range(6):
        many.broadcast()
        doors = {}
        waiting = [0]
        while waiting:
            host = waiting.pop(0)
            door = doors[host] = many.asked[host].door
            asked = many.kept(host, None, door) if host == 1 and door else many.kept(host)
            waiting += [host for host, _ in asked]
        sources.append(sum(door is None for door in doors.values()))
        many.came.clear()
    assert doors[1] is None  # the controller gives it to that one, by now
    assert sources[-1] <= 3
    assert all(map(many.core.hosts._reach.lends, (secret(f"host{h}") for h in many.hosts)))


def test_whom_others_cannot_reach_lends_nothing_until_it_comes_back():
    many = Many(5)
    many.broadcast()
    assert many.lends(0)
    assert finish(many, 0) == dict.fromkeys(range(5), "there")
    many.broadcast()
    assert not many.lends(0)
    finish(many)
    many.hello(0)
    many.broadcast()
    assert many.lends(0)


def test_where_no_host_reaches_another_the_controller_gives_it_to_all():
    many = Many(5)
    for _ in range(3):
        many.broadcast()
        assert finish(many, *many.hosts) == dict.fromkeys(range(5), "there")
    many.broadcast()
    waiting = [0]
    while waiting:
        host = waiting.pop()
        assert many.asked[host].door is None
        waiting += [host for host, _ in many.kept(host)]


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:7", "tcp://host:7", "ipc:///tmp/x", "x", ""])
def test_others_are_sent_to_no_door_but_one_in_the_network(address, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "AT", [address, *AT[1:]])
    many = Many(3)
    many.broadcast()
    assert many.kept(0) == [(1, None)]


def test_nothing_of_it_stays():
    gc.collect()
    gc.disable()
    try:
        many = Many(4)
        many.broadcast()
        finish(many)
        buffers = ref(many.buffer)
        for host in many.hosts:
            many.route(many.result(f"engine{host}", m.Result(f"t1-{host}", 1, "ok", b""), seq=1))
        many.route(many.wait(1))
        many.route([])
        many.buffer = None
        many.say("ann/control", m.Purge(every=True, number=1))
        assert buffers() is None
    finally:
        gc.enable()


def test_what_was_aborted_while_it_waited_is_not_sent():
    many = Many(4)
    many.broadcast()
    many.say_all("ann/control", m.Abort([f"t1-{host}" for host in many.hosts], number=1))
    for host in (1, 2, 3):
        record = many.core.work.tasks[f"t1-{host}"]
        dropped = m.Dropped([record.spec.id], [record.n])
        many.route(many.handle(Received(f"engine{host}/tasks", "engine", dropped)))
    assert [many.state(f"t1-{host}") for host in (1, 2, 3)] == ["done"] * 3
    many.route(many.wait(1))
    many.kept(0)
    many.route(many.wait(1))
    assert many.came == {0: "there"}


def test_the_largest_of_several_buffers_decides():
    many = Many(3)
    small, large = m.Buffer(bytes(WORTH // 2)), m.Buffer(bytes(WORTH))
    tasks = [m.Task(f"t-{host}", FIT, b"", (small, large), engine=host) for host in many.hosts]
    asked = many.route(many.submit("ann", *tasks))
    assert asked == [(0, None)]


def test_it_can_be_turned_off():
    many = Many(4)
    many.core.hosts.host_to_host = False
    assert many.broadcast() == []
    assert set(many.came.values()) == {"sent"}


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
    assert many.spared[0].lent == []


def test_who_is_slow_keeps_nobody_else_waiting():
    many = Many(5)
    many.broadcast()
    patience = SLOW + WORTH / LINE
    assert many.core.deadline() <= many.now + patience
    assert many.route(many.wait(patience)) == [(1, None)]
    assert many.kept(1) == [(2, AT[1])]
    assert many.kept(0) == [(3, AT[0]), (4, None)]


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
    assert many.kept(0) == [(2, AT[0]), (3, None)]


def test_an_answer_to_what_was_not_asked_says_nothing():
    many = Many(3)
    many.broadcast()
    waiting = next(copy for copy in many.core.hosts.copies if copy.conn == "supervisor2")
    kept = m.Kept(waiting.number, THERE, [64])
    many.route(many.handle(Received("supervisor2", "engine", kept)))
    assert 2 not in many.came
    assert many.kept(0) == [(1, AT[0]), (2, None)]


def test_a_new_buffer_is_not_taken_for_one_that_is_gone():
    many = Many(3)
    many.broadcast()
    for host in (0, 1, 2):
        many.kept(host)
    assert many.broadcast() == [(0, None)]
