"""The client's side of the `pure` scheme: what it has put into the farm and not got back.

Nobody sees which engine takes a task, so when an engine is lost nobody knows what it had. But each
engine answers in order. So the client then sends *probes*, which answer as soon as they are taken,
until each engine that is there has answered one: what was put in before and has not come back by
then was with an engine that is gone.
"""

from __future__ import annotations

from . import messages as m
from .events import Effect, Send

LOST = "the engine that took it was lost; the pure scheme knows no more, and runs nothing again"


class Farming:
    """See the module's theory."""

    def __init__(self) -> None:
        self.port = 0  # 0: the scheme is another one
        self.up = False
        self.waiting: list[m.Farmed] = []  # until it is up
        self.tasks: dict[str, int] = {}  # put in, and not come back; the number at which it was
        self.put = 0
        self.lives: set[str] = set()  # the engines that are there
        self.doubt = False  # some task may be lost, and nobody has said which
        self.round = 0  # of probes; those of earlier rounds say nothing
        self.asked: set[str] = set()  # the engines that have to answer one of this round
        self.pending = 0  # how many of this round are on their way
        self.since = 0  # what was put in before this round is meant

    def submit(self, task: m.Task, blob: bytes, out: list[Effect]) -> None:
        """Put a task in."""
        self.put += 1
        self.tasks[task.id] = self.put
        attempt = m.Attempt(
            0, task.id, 1, task.function, task.arguments, task.buffers, name=task.name
        )
        self._send(m.Farmed(attempt, blob, task.submitted), out)

    def _send(self, farmed: m.Farmed, out: list[Effect]) -> None:
        if self.up:
            out.append(Send("farm", farmed))
        else:
            self.waiting.append(farmed)

    def opened(self, out: list[Effect]) -> None:
        """The connection is up."""
        self.up = True
        waiting, self.waiting = self.waiting, []
        out.extend(Send("farm", farmed) for farmed in waiting)
        if sum(farmed.attempt is not None for farmed in waiting) < len(self.tasks):
            self.doubt = True  # some were under way on the last connection
        self._ask(out)

    def closed(self) -> None:
        """The connection is gone; what was under way may be too."""
        self.up = False

    def came_back(self, outcomes: list[m.Outcome]) -> list[m.Outcome]:
        """Those of these outcomes that were waited for."""
        return [each for each in outcomes if self.tasks.pop(each.id, None) is not None]

    def engines(self, engines: list[m.EngineInfo], out: list[Effect]) -> None:
        """These are the engines now."""
        before, self.lives = self.lives, {engine.incarnation for engine in engines}
        if before - self.lives:
            self.doubt = True
        if before != self.lives:
            self._ask(out)

    def _ask(self, out: list[Effect]) -> None:
        """Where there is doubt, begin anew to ask all engines that are there."""
        if not (self.doubt and self.tasks):
            return
        self.round += 1
        self.since = self.put
        self.asked = set(self.lives)
        self.pending = 0
        self._probe(out)

    def _probe(self, out: list[Effect]) -> None:
        for _ in self.asked:
            self.pending += 1
            self._send(m.Farmed(probe=self.round), out)

    def answered(self, round: int, life: str, out: list[Effect]) -> list[m.Outcome]:
        """A probe has come back; gives what is known to be lost by that."""
        if round != self.round or not self.asked:
            return []
        self.pending -= 1
        self.asked.discard(life)
        if self.asked:
            if not self.pending:  # some engine got two of them: again, for those that got none
                self._probe(out)
            return []
        self.doubt = False
        facts = {"reason": LOST, "started": True}
        lost = [id for id, put in self.tasks.items() if put <= self.since]
        for id in lost:
            del self.tasks[id]
        return [m.Outcome(id, "lost", facts=facts) for id in lost]

    def give_up(self) -> None:
        """Nothing that was put in will come back: the controller has been restarted."""
        self.tasks.clear()
        self.waiting.clear()
        self.asked.clear()
