"""Each law notices when it is broken: the checks are not empty words."""

import pytest

from enginery.core import laws
from enginery.core import messages as m

from .hand_controller import Hand, task

TWO = [0, 0]


@pytest.fixture
def core():
    """A controller with an engine that runs one task, while two wait, and one that is done."""
    hand = Hand()
    hand.engine("engine")
    hand.client("ann")
    hand.submit("ann", *[task(f"ann-{i}") for i in range(1, 5)])
    hand.result("engine", m.Result("ann-1", 1, "ok", b""), seq=1)
    laws.check(hand.core)
    return hand.core


def done(core):
    return core.work.tasks["ann-1"]


def running(core):
    return core.work.tasks["ann-2"]


def waiting(core):
    return core.work.tasks["ann-3"]


def session(core):
    return next(iter(core.sessions.values()))


BREAKS = {
    "done when it has its outcome": lambda core: setattr(done(core), "outcome", None),
    "without its outcome is not done": lambda core: setattr(
        running(core), "outcome", done(core).outcome
    ),
    "kept until it is done": lambda core: setattr(waiting(core).spec, "id", "another"),
    "no retry is spent": lambda core: setattr(running(core), "spent", 1),
    "at an engine that is there": lambda core: setattr(core.work.places[0], "here", False),
    "a task is at an engine that is there": lambda core: setattr(
        core.work.places[running(core).place], "here", False
    ),
    "what is sent is noted": lambda core: core.work.places[0].sent.clear(),
    "what is done is with no engine": lambda core: core.work.places[0].sent.update(
        {done(core).n: done(core)}
    ),
    "waiting tasks are counted": lambda core: setattr(core.work.placement, "waiting", 7),
    "unfinished tasks are counted": lambda core: setattr(core.work.quota, "tasks", 7),
    "bytes are counted": lambda core: setattr(core.work.quota, "bytes", 7),
    "what each client holds": lambda core: core.work.quota.shares.clear(),
    "what waits to be taken": lambda core: setattr(core.work.quota, "waiting", 7),
    "what is due is counted": lambda core: setattr(session(core), "due_bytes", 7),
    "what is due to all": lambda core: setattr(core.delivery, "due_bytes", 7),
    "what is not accepted": lambda core: setattr(session(core), "unaccepted_bytes", 7),
    "functions are counted": lambda core: core.work.functions.needed.clear(),
    "history is of known tasks": lambda core: core.work.tasks.live.pop(done(core).spec.id),
    "packed tasks are counted": lambda core: setattr(core.work.history.archive, "count", 1),
    "known under their ids": lambda core: core.work.tasks.bundled.pop("ann-4"),
    "done when they have their outcomes": lambda core: setattr(
        core.work.tasks.bundled["ann-4"], "done", m.Done(0, "", "", TWO, m.Ran(*[TWO] * 5))
    ),
    "all tasks of a bundle are known": lambda core: core.work.tasks.bundled["ann-4"].ids.insert(
        1, done(core).spec.id
    ),
    "what is sent is counted": lambda core: setattr(core.work.places[0], "_besides", 1),
    "load is counted": lambda core: setattr(core.work.places[0], "load", 0),
    "sent bytes are counted": lambda core: setattr(core.work.places[0], "sent_bytes", 7),
    "hwm is never exceeded": lambda core: setattr(core.work.placement, "hwm", 0.5),
    "no task waits while": lambda core: setattr(core.work.placement, "hwm", 2),
}


@pytest.mark.parametrize("law", BREAKS)
def test_a_broken_law_is_noticed(core, law):
    BREAKS[law](core)
    with pytest.raises(laws.BrokenLaw, match=law):
        laws.check(core)


def test_a_direct_request_at_another_engine_is_noticed(core):
    running(core).spec.engine = 5
    with pytest.raises(laws.BrokenLaw, match="a direct request goes where it is sent"):
        laws.check_record(core.work, running(core))
