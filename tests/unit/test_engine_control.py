"""The control thread sends what user code prints, and listens all the same."""

import threading
from types import SimpleNamespace

import pytest
import zmq

from enginery.engine.control import Control
from enginery.engine.streams import LIMIT, PIECE, Stream, Streams

MANY = 1000


class Lane:
    """Takes what is sent; `sending` is called each time."""

    def __init__(self):
        self.poller = zmq.Poller()
        self.outputs = []
        self.batches = 0
        self.sending = lambda: None

    def wait(self, timeout):
        return {}

    def events(self, ready):
        return []

    def send_posted(self):
        pass

    def send(self, messages):
        self.outputs += messages
        self.batches += 1
        self.sending()
        return True

    def close(self, linger):
        pass


@pytest.fixture
def control():
    streams = Streams(lambda: None)
    life = SimpleNamespace(
        lanes={"control": Lane(), "tasks": SimpleNamespace(memory=None)},
        streams=streams,
        machine=SimpleNamespace(joined={"control"}, deadline=lambda: None),
        interrupts=SimpleNamespace(pending=False, repeat=lambda: None),
        over=threading.Event(),
        exit_code=None,
    )
    control = Control(life)
    yield control
    control.close()


def test_who_prints_without_end_does_not_keep_it_from_listening(control):
    streams, lane = control.life.streams, control.lane
    out = Stream(streams, "stdout")
    printed = []

    def print_more():
        assert lane.batches < MANY, "it only sends"
        printed.append(str(lane.batches).ljust(PIECE))
        out.write(printed[-1])

    streams.begin("t", 1)
    print_more()
    lane.sending = print_more
    control._flush_if_due()  # returns
    assert streams.waiting
    assert control._timeout() == 0
    lane.sending = lambda: None
    out.write("last")
    count = streams.end()
    while streams.waiting:  # without a pause
        assert control._timeout() == 0
        control._flush_if_due()
    assert "".join(output.text for output in lane.outputs) == "".join(printed) + "last"
    assert [output.number for output in lane.outputs] == list(range(count))


def test_a_finalizer_that_prints_in_its_thread_does_not_have_it_wait_for_itself(control):
    life, lane = control.life, control.lane
    out = Stream(life.streams, "stdout")

    def finalize(timeout):  # as the garbage collector does, at any moment
        out.write("last")
        life.over.set()
        return {}

    life.streams.begin("t", 1)
    out.write("x" * LIMIT)
    life.streams.reachable(True)
    lane.wait = finalize
    control.start()
    control.join(10)
    assert not control.is_alive()
    assert "".join(output.text for output in lane.outputs) == "x" * LIMIT + "last"
