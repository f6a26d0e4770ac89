"""A link whose outcomes are put in by hand: it waits on a real condition, as the client's does."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

from enginery.client.link import Slot
from enginery.core.messages import Abort, EngineInfo, Outcome, Output
from enginery.wire import payload

T0 = 1_795_000_000.0
"""When every task of a test was submitted."""


class HandLink:
    """Holds slots, and delivers what a test says; `asked` has what was said on the control lane."""

    def __init__(self, engines=2):
        self.changed = threading.Condition()
        self.engines = {i: EngineInfo(i, f"life{i}", "n1", 4710 + i, T0) for i in range(engines)}
        self.slots = []
        self.telling = {}
        self.asked = []
        self.lost = None
        self.farms = False
        self.on_ask = lambda message: None
        self.presses = SimpleNamespace(tell=lambda error, work: None)

    def wait(self, done, timeout):
        end = None if timeout is None or timeout < 0 else time.monotonic() + timeout
        with self.changed:
            while not done():
                if self.lost is not None:
                    raise self.lost
                rest = None if end is None else end - time.monotonic()
                if rest is not None and rest <= 0:
                    return False
                self.changed.wait(rest)
            return True

    def ask(self, message, timeout=10.0):
        self.asked.append(message)
        return self.on_ask(message)

    def new_slots(self, n, name="", engines=None):
        ids = range(len(self.slots), len(self.slots) + n)
        slots = [
            Slot(f"7f3a2c-{i}", name, -1 if engines is None else engines[k], T0)
            for k, i in enumerate(ids)
        ]
        self.slots += slots
        return slots

    def deliver(self, *outcomes, outputs=()):
        """What the link does when news arrives."""
        by_id = {slot.id: slot for slot in self.slots}
        with self.changed:
            for output in outputs:
                by_id[output.id].put_out(output)
            for outcome in outcomes:
                by_id[outcome.id].end(outcome, T0 + 2)
            self.changed.notify_all()

    def lose(self, error):
        """The controller is gone for longer than anybody waits."""
        with self.changed:
            self.lost = error
            self.changed.notify_all()


def client_of(hand):
    """As much of a client as a result needs; nobody tells it what runs."""
    working = SimpleNamespace(look=lambda: None, last=lambda: None)
    return SimpleNamespace(link=hand, working=working)


def outcome(slot, value=None, *, status="ok", engine=1, started=T0 + 1, seconds=0.2, **more):
    """An outcome as an engine and the controller would make it; `value` is pickled."""
    data, buffers = payload.dumps(value) if status in {"ok", "error"} else (b"", ())
    return Outcome(
        slot.id, status, data, buffers, engine, more.pop("incarnation", f"life{engine}"),
        more.pop("attempt", 1), T0, started, started + seconds if started else 0.0, **more,
    )  # fmt: skip


def output(slot, number, text, *, stream="stdout", engine=1, attempt=1):
    """Something that a task printed."""
    return Output(slot.id, attempt, number, stream, text, engine)


def aborts(hand):
    """Make a link that aborts what it is asked to, at once, unless it runs."""

    def on_ask(message):
        assert isinstance(message, Abort)
        by_id = {slot.id: slot for slot in hand.slots}
        hand.deliver(*(outcome(by_id[id], status="aborted", started=0.0) for id in message.ids))

    hand.on_ask = on_ask
    return hand
