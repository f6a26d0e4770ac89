"""What `enginery errors` reads: the failures that are still there."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from enginery import TimeoutError, UnknownTask
from enginery.cli.failures import failures
from enginery.client.slots import Slot
from enginery.core.messages import Outcome
from enginery.wire import payload
from enginery.wire.chunks import ChunkFailed
from enginery.wire.failure import Failure


class Link:
    """Knows the outcomes of some tasks."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.known = {outcome.id: outcome for outcome in outcomes}

    def fetch(self, ids: list[str], timeout: float) -> list[Slot]:
        unknown = [id for id in ids if id not in self.known]
        if unknown:
            raise UnknownTask(f"no task has the id {unknown[0]!r}")
        slots = [Slot(id) for id in ids]
        for slot in slots:
            if self.known[slot.id].status != "ok":  # else it does not come
                slot.end(self.known[slot.id], 0.0)
        return slots

    def wait(self, done: Any, timeout: float) -> bool:
        return bool(done())


def read(link: Link, *ids: str) -> list[Any]:
    there: Any = SimpleNamespace(link=link, timeout=1.0)
    return list(failures(there, ids))


def failed(id: str, *texts: str) -> Outcome:
    """A task of which the items with these texts have failed; one text: it is no chunk."""
    each = [Failure.capture(ValueError(text)) for text in texts]
    value = each[0] if len(each) == 1 else ChunkFailed([1, *each])
    return Outcome(id, "error", payload.dumps(value)[0], engine=2)


def test_each_item_of_a_chunk_is_a_failure() -> None:
    told = read(Link(failed("a-1", "x"), failed("a-2", "y", "z")), "a-1", "a-2")
    assert [(each.msg_id, each.type, each.message) for each in told] == [
        ("a-1", "ValueError", "x"),
        ("a-2", "ValueError", "y"),
        ("a-2", "ValueError", "z"),
    ]


def test_what_was_forgotten_meanwhile_is_left_out() -> None:
    told = read(Link(failed("a-1", "x"), failed("a-3", "y")), "a-1", "a-2", "a-3", "a-4")
    assert [each.msg_id for each in told] == ["a-1", "a-3"]


def test_fates_and_values_that_cannot_be_loaded() -> None:
    lost = Outcome("a-1", "lost", engine=1, facts={"reason": "signal 9 (SIGKILL)"})
    told = read(Link(lost, Outcome("a-2", "error", b"nonsense")), "a-1", "a-2")
    assert (told[0].type, told[0].message) == (
        "EngineError",
        "engine 1 died: killed by signal 9 (SIGKILL)",
    )
    assert told[1].message.startswith("it cannot be loaded here: ")


def test_what_does_not_come_is_said() -> None:
    with pytest.raises(TimeoutError, match="the failures have not come in 1 s"):
        read(Link(Outcome("a-1", "ok")), "a-1")
