"""The farm's client: every task that was put in comes back, or is told to be lost, once."""

from __future__ import annotations

import random

import pytest

from enginery.core import messages as m
from enginery.core.farming import Farming


class Queue:
    """A queue that gives each task to some engine, whichever; each engine answers in order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.farming = Farming()
        self.out: list = []
        self.farming.opened(self.out)
        self.engines: dict[str, list[m.Farmed]] = {}
        self.lives = 0
        self.done: list[str] = []
        self.lost: list[str] = []

    def join(self) -> None:
        self.lives += 1
        self.engines[f"life{self.lives}"] = []
        self.tell()

    def leave(self) -> None:
        """An engine dies with all that it has; the client hears of that some time."""
        del self.engines[self.chance.choice(list(self.engines))]
        self.tell()

    def tell(self) -> None:
        infos = [m.EngineInfo(i, life, "h", 1, 0.0) for i, life in enumerate(self.engines)]
        self.farming.engines(infos, self.out)

    def move(self) -> None:
        """What the client has sent goes to the engines in turn."""
        waiting, self.out = self.out, []
        for send in waiting:
            if not self.engines:
                self.out.append(send)
                continue
            self.engines[self.chance.choice(list(self.engines))].append(send.message)

    def work(self) -> None:
        """Some engine does the first thing that it has."""
        busy = [life for life, queue in self.engines.items() if queue]
        if not busy:
            return
        life = self.chance.choice(busy)
        farmed = self.engines[life].pop(0)
        if farmed.attempt is None:
            self.lost += [o.id for o in self.farming.answered(farmed.probe, life, self.out)]
        else:
            back = self.farming.came_back([m.Outcome(farmed.attempt.id, "ok")])
            self.done += [outcome.id for outcome in back]


@pytest.mark.parametrize("seed", range(200))
def test_each_task_comes_back_or_is_lost_once(seed: int) -> None:
    queue = Queue(seed)
    ids = [f"t{i}" for i in range(60)]
    waiting = list(ids)
    for _ in range(3):
        queue.join()
    while waiting or queue.chance.random() < 0.9:
        step = queue.chance.random()
        if step < 0.3 and waiting:
            queue.farming.submit(m.Task(waiting.pop(0), b"h", b""), b"blob", queue.out)
        elif step < 0.33 and queue.engines:
            queue.leave()
        elif step < 0.36:
            queue.join()
        elif step < 0.6:
            queue.move()
        else:
            queue.work()
    if not queue.engines:
        queue.join()
    for _ in range(2000):
        queue.move()
        queue.work()
    assert sorted([*queue.done, *queue.lost]) == sorted(ids)
    assert not queue.farming.tasks
    assert len(queue.done) >= 1


def test_the_only_engine_dies_and_its_successor_comes_later() -> None:
    queue = Queue(0)
    queue.join()
    queue.farming.submit(m.Task("t", b"h", b""), b"blob", queue.out)
    queue.move()
    queue.leave()
    queue.move()
    queue.join()
    queue.move()
    queue.work()
    assert queue.lost == ["t"]


def test_without_a_death_nothing_is_asked() -> None:
    queue = Queue(0)
    queue.join()
    for i in range(10):
        queue.farming.submit(m.Task(f"t{i}", b"h", b""), b"blob", queue.out)
    queue.join()
    assert all(send.message.attempt is not None for send in queue.out)


def test_until_the_connection_is_up_tasks_wait() -> None:
    farming, out = Farming(), []
    farming.submit(m.Task("t", b"h", b"arguments", name="f"), b"blob", out)
    assert out == []
    farming.opened(out)
    [send] = out
    assert (send.conn, send.message.attempt.id, send.message.blob) == ("farm", "t", b"blob")


def test_a_result_that_comes_after_its_task_was_given_up_is_dropped() -> None:
    farming = Farming()
    farming.opened([])
    farming.submit(m.Task("t", b"h", b""), b"blob", [])
    farming.give_up()
    assert farming.came_back([m.Outcome("t", "ok")]) == []
