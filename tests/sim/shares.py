"""How an engine runs a share of a chunk, as `engine/share.py` does: one item after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from enginery.core import events as e
from enginery.core import messages as m

if TYPE_CHECKING:
    from .peers import EngineNode, Job

SLICE = 0.05
"""Seconds after which no further item begins."""


class Share:
    """One attempt at a share."""

    def __init__(self, engine: EngineNode, attempt: m.Attempt) -> None:
        assert attempt.chunk is not None
        self.engine = engine
        self.attempt = attempt
        self.name = attempt.id.partition(".")[0]
        self.item = self.first = attempt.chunk.start  # that runs; the first of which nobody knows
        self.limit = attempt.chunk.stop
        self.until = engine.cluster.clock.now + SLICE
        self.results: list[m.Result] = []

    def is_named(self, id: str, attempt: int) -> bool:
        """Whether this attempt is meant."""
        return (self.attempt.id, self.attempt.attempt) == (id, attempt)

    def job(self) -> Job:
        """What the item that runs is to do."""
        return self.engine.cluster.jobs[f"{self.name}.{self.item}"]

    def begin(self) -> None:
        """User code begins."""
        engine = self.engine
        life = engine.core.incarnation
        assert engine.share is self, "an engine runs one attempt at a time"
        assert self.attempt.function in engine.loaded, "it starts when its function is there"
        assert (life, self.attempt.n) not in engine.doomed, "what was aborted does not start"
        engine.page.item, engine.page.started = self.item, self.attempt.n
        self._begin_item()

    def _begin_item(self) -> None:
        engine, job = self.engine, self.job()
        engine.page.item = self.item
        refusal = engine.refusal(f"{self.name}.{self.item}", job.picky)
        engine.cluster.observer.item_started(engine, self.attempt, self.item, refusal)
        engine.cluster.note(f"{engine.name} starts {self.name}.{self.item} {refusal}")
        if refusal:
            engine.unfit_at = engine.changes
            engine.cluster.clock.after(job.seconds / 10, self._finish_item, self.item, refusal)
        elif job.kind != "endless":
            error = job.kind == "error"
            error |= job.kind == "flaky" and engine.cluster.random.random() < 0.5
            status = "error" if error else "ok"
            engine.cluster.clock.after(job.seconds, self._finish_item, self.item, status)

    def interrupt(self) -> None:
        """The item that runs is interrupted, and ends by that if it heeds it."""
        if not self.job().deaf:
            self.engine.cluster.clock.after(0.001, self._finish_item, self.item, "error")

    def _finish_item(self, item: int, status: m.Ended) -> None:
        engine = self.engine
        clock = engine.cluster.clock
        if not engine.alive or engine.share is not self or self.item != item:
            return
        if engine.frozen > clock.now:
            clock.at(engine.frozen, self._finish_item, item, status)
            return
        job = self.job()
        refusal = status in {"refused", "unfit"}
        if job.kind == "kill" and status == "ok":
            engine.cluster.note(f"{self.name}.{item} kills its engine")
            engine.exit(-11)
            return
        outputs = 0 if refusal else job.outputs
        if outputs and "control" in engine.core.joined:
            id, attempt = f"{self.name}.{item}", self.attempt.attempt
            engine.flush(
                {"control": [m.Output(id, attempt, i, "stdout", "text") for i in range(outputs)]}
            )
        if job.kind == "changes" and not refusal:
            engine.change()
        engine.cluster.observer.item_finished(engine, self.attempt, item, status)
        self._note(item, status, outputs)
        if item + 1 < self.limit and clock.now < self.until:
            self.item += 1
            self._begin_item()
        else:
            self._finish()

    def _note(self, item: int, status: m.Ended, outputs: int) -> None:
        """One more item is told of: with others that went well, or alone."""
        engine, last = self.engine, self.results[-1] if self.results else None
        value = value_of_item(self.name, item, status)
        quiet = last is not None and last.status == "ok" and not last.outputs
        if last is not None and quiet and status == "ok" and not outputs:
            last.items += 1
            last.value += value
            last.buffers = last.buffers and (m.Buffer(last.value),)
            last.completed = engine.cluster.clock.now
            return
        result = m.Result(
            f"{self.name}.{item}", self.attempt.attempt, status, value,
            engine.cluster.buffers(f"result of {self.name}.{item}", value), outputs, items=1,
        )  # fmt: skip
        result.completed = engine.cluster.clock.now
        if status in {"refused", "unfit"}:
            result.reason, result.changes = f"{status} by {engine.name}", engine.unfit_at
        self.results.append(result)

    def _take(self, end: int) -> tuple[m.Result, ...]:
        """The results so far, of an attempt that goes on until that item."""
        taken, self.results = self.results, []
        if not taken:
            id = f"{self.name}.{self.first}"
            taken = [m.Result(id, self.attempt.attempt, "ok", b"")]
        for result in taken:
            self.first += result.items
            result.running = end - self.first
        return tuple(taken)

    def cut(self, n: int) -> None:
        """No further item begins; what has ended is told."""
        assert self.attempt.n == n, "what is divided is what runs"
        results: tuple[m.Result, ...] = ()
        if self.results or self.limit > self.item + 1:
            self.limit = min(self.limit, self.item + 1)
            results = self._take(self.limit)
        self.engine.handle(e.Divided(n, results))

    def _finish(self) -> None:
        engine = self.engine
        engine.share = None
        engine.page.finished = self.attempt.n
        *before, last = self._take(self.item + 1)
        engine.handle(e.Finished(last, tuple(before)))
        engine.look()


def value_of_item(chunk: str, item: int, status: str) -> bytes:
    """What an item gives."""
    return f"{status} of {chunk}.{item}; ".encode()
