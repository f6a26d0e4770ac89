"""Row E3: where there is no room for more tasks, a call waits or raises, as its user has chosen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enginery import Client, Cluster, QueueFull
from tests.gate import Gate

LIMIT = 32
"""Tasks that the queue of a small controller has room for."""

MEGABYTES = 4
"""The same of another one in millions of bytes."""

SOON = 30.0


def cluster(path: Path, setting: str) -> Cluster:
    """Two engines and a controller with little room."""
    path.mkdir(mode=0o700)
    (path / "ipcontroller_config.py").write_text(f"get_config().TaskScheduler.{setting}\n")
    return Cluster(n=2, profile_dir=path)


@pytest.fixture(scope="module", params=["number", "bytes"])
def full(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A client of such a cluster."""
    setting = f"queue_limit = {LIMIT}"
    if request.param == "bytes":
        setting = f"queue_bytes = {MEGABYTES} << 20"
    with cluster(tmp_path_factory.mktemp("full") / "profile_full", setting) as rc:
        yield rc


@pytest.fixture
def rc(full: Client) -> Iterator[Client]:
    """The same, with its settings as they were."""
    yield full
    full.when_full, full.queue_limit, full.queue_timeout = "wait", 0, None


class Filling(threading.Thread):
    """Submits until there is no room, and then goes on when there is."""

    def __init__(self, rc: Client, gate: Gate, most: int) -> None:
        super().__init__()
        self.view, self.held, self.most = rc.load_balanced_view(targets=0), gate.held, most
        self.results: list[Any] = []

    def run(self) -> None:
        self.results = [self.view.apply_async(self.held)]
        for i in range(self.most):
            self.results.append(self.view.apply_async(len, bytes(20_000 + i)))


def fill(rc: Client, gate: Gate) -> tuple[list[Any], QueueFull]:
    """Submit until that raises; what was submitted, and the error."""
    view = rc.load_balanced_view(targets=0)
    results = [view.apply_async(gate.held)]
    for i in range(100_000):
        try:
            results.append(view.apply_async(len, bytes(20_000 + i)))
        except QueueFull as error:
            return results, error
    raise AssertionError("all of this went in")


def test_a_call_raises_when_there_is_no_room_and_nothing_else_changes(
    rc: Client, gate: Gate
) -> None:
    rc.when_full = "raise"
    results, error = fill(rc, gate)
    assert "takes no more tasks: its queue is full" in str(error)
    assert "Nothing was submitted" in str(error)
    with rc.cluster.connect_client_sync() as other:  # who holds little does not notice
        assert other[1].apply_sync(abs, -1) == 1
        assert other.load_balanced_view().map_sync(abs, [-1, -2]) == [1, 2]
    gate.open()
    assert [r.get(SOON) for r in results[1:]] == [20_000 + i for i in range(len(results) - 1)]
    assert rc.link.wait(lambda: not rc.link.refusal, SOON)
    assert rc.load_balanced_view().map_sync(abs, range(-5, 0)) == [5, 4, 3, 2, 1]


def test_a_call_waits_for_room(rc: Client, gate: Gate) -> None:
    filling = Filling(rc, gate, 1000)
    filling.start()
    assert rc.link.wait(lambda: bool(rc.link.refusal), SOON)
    gate.open()
    filling.join(SOON)
    assert not filling.is_alive()
    assert [r.get(SOON) for r in filling.results[1:]] == [20_000 + i for i in range(1000)]


def test_a_wait_for_room_has_an_end(rc: Client, gate: Gate) -> None:
    rc.when_full = "raise"
    results, _ = fill(rc, gate)
    rc.when_full, rc.queue_timeout = "wait", 0.05
    with pytest.raises(QueueFull, match=r"for 0\.05 s \(queue_timeout\)\. Nothing was submitted"):
        rc[0].apply_async(abs, -1)
    with pytest.raises(QueueFull):
        rc.load_balanced_view().map_async(abs, range(10))
    gate.open()
    rc.queue_timeout = None
    assert rc[0].apply_sync(abs, -1) == 1
    assert all(result.wait(SOON) for result in results)


def test_what_waits_for_room_can_be_aborted(rc: Client, gate: Gate) -> None:
    rc.when_full = "raise"
    results, _ = fill(rc, gate)
    rc.abort([r.msg_ids[0] for r in results[1:]])
    assert all(result.wait(SOON) for result in results[1:])
    assert not results[0].ready()
    gate.open()
    assert results[0].get(SOON) is None


def test_a_client_has_a_limit_of_its_own(rc: Client, gate: Gate) -> None:
    rc.when_full, rc.queue_limit = "raise", 3
    view = rc.load_balanced_view(targets=0)
    results = [view.apply_async(gate.held) for _ in range(3)]
    with pytest.raises(QueueFull, match="3 tasks of this client have not ended; its queue_limit"):
        view.apply_async(gate.held)
    gate.open()
    assert all(result.wait(SOON) for result in results)
    assert rc[:].map_sync(abs, range(-10, 0)) == list(range(10, 0, -1))  # one call always goes


@pytest.mark.parametrize(
    ("name", "value"), [("when_full", "never"), ("queue_limit", -1), ("queue_timeout", "soon")]
)
def test_settings_are_checked(rc: Client, name: str, value: Any) -> None:
    before = getattr(rc, name)
    with pytest.raises((TypeError, ValueError), match=name):
        setattr(rc, name, value)
    assert getattr(rc, name) == before
