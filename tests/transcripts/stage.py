"""The stage for a transcript: the simulator's cluster with a script instead of chance."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

from enginery.core import messages as m
from enginery.core.controller import Limits
from enginery.core.events import Answered
from enginery.core.names import content_hash
from tests.sim.cluster import Cluster, Observer
from tests.sim.nodes import Peer
from tests.sim.peers import ClientNode, EngineNode, Job

HERE = Path(__file__).parent


class Teller(Observer):
    """Writes down what the users see."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def delivered(
        self, client: ClientNode, outcomes: list[m.Outcome], outputs: list[m.Output]
    ) -> None:
        """Outcomes, in words."""
        for output in outputs:
            self.stage.note(f"{client.name} sees: {output.id} prints {output.text!r}")
        for o in outcomes:
            where = f" on engine {o.engine}" if o.engine >= 0 else ""
            why = f": {o.facts['reason']}" if "reason" in o.facts else ""
            number = f", attempt {o.attempt}" if o.attempt else ""
            self.stage.note(f"{client.name} sees: {o.id} is {o.status!r}{where}{number}{why}")

    def answered(self, client: ClientNode, answer: Answered) -> None:
        """Answers, as far as they are short."""
        if answer.value:
            self.stage.note(f"{client.name} sees: {answer.value}")


class Stage(Cluster):
    """A cluster in which nothing happens by chance; every message takes a millisecond."""

    def __init__(self, **limits: Any) -> None:
        super().__init__(Random(0), limits=Limits(**limits))
        self.trace = []
        self.observer = Teller(self)
        self.count: dict[str, int] = {}

    def say(self, text: str) -> None:
        """What the reader should know now."""
        assert self.trace is not None
        self.trace.append(f"\n# {text}\n")

    def note(self, text: str) -> None:
        """Something has happened; the times are left out."""
        if self.trace is not None and " logs " not in text:
            self.trace.append(text)

    def cut(self) -> None:
        """What has happened so far is not part of the story."""
        self.pass_time(0.5)
        assert self.trace is not None
        self.trace.clear()

    def pass_time(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.run(self.clock.now + seconds)

    def submit(
        self, client: ClientNode, function: str, *jobs: Job, engine: int = -1, retries: int = 0
    ) -> list[str]:
        """A user calls a function, once for each job; gives the ids of the tasks."""
        blob = function.encode()
        hash = content_hash(blob)
        self.names[hash] = function
        tasks = []
        for job in jobs or (Job(),):
            self.count[client.name] = number = self.count.get(client.name, 0) + 1
            id = f"{client.name}-{number}"
            self.jobs[id] = job
            tasks.append(m.Task(id, hash, b"", engine=engine, retries=retries))
        client.submit(tasks, {hash: blob})
        return [task.id for task in tasks]

    def runner(self, id: str) -> EngineNode:
        """The engine that runs this task now."""
        return next(e for e in self.engines if e.alive and e.running and e.running.id == id)

    def lose(self, peer: Peer, lane: str) -> None:
        """A connection breaks; all that is on its way is lost, in both directions."""
        self.note(f"(the {lane} connection of {peer.name} breaks)")
        wire = peer.wires[lane][0]
        wire.up.cut(0.001, keep=wire.up.arrived)
        wire.down.cut(0.001, keep=wire.down.arrived)


def perform(script: Any) -> str:
    """Play a script; its docstring is the head of the story."""
    stage = Stage(**getattr(script, "limits", {}))
    with stage.playing():
        script(stage)
        stage.pass_time(1.0)
    head = "\n".join(line.strip() for line in script.__doc__.strip().splitlines())
    assert stage.trace is not None
    return head + "\n" + "\n".join(stage.trace) + "\n"
