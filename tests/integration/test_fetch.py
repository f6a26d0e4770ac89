"""Tasks by their ids, of which a client holds nothing: the controller is asked for them."""

from __future__ import annotations

from typing import Any

import pytest

import enginery
from enginery import Client, Cluster
from tests.gate import Gate

PATIENCE = 60.0


@pytest.fixture
def other(cluster: Cluster, rc: Client) -> Any:
    """Another client of the shared cluster."""
    with cluster.connect_client_sync() as client:
        client.wait_for_engines(4, timeout=PATIENCE)
        yield client


def test_what_was_not_fetched_is_no_open_task(rc: Client, other: Client, gate: Gate) -> None:
    held = other[0].apply_async(gate.held)
    (id,) = held.msg_ids
    with pytest.raises(enginery.TimeoutError):
        rc.link.fetch([id], timeout=0)
    with pytest.raises(enginery.UnknownTask):
        rc.get_result([id, "ffffffff-1"])
    rc.when_full, rc.queue_limit = "raise", 1
    assert rc[1].apply_sync(abs, -1) == 1
    gate.open()
    assert held.get(PATIENCE) is None


def test_a_fetch_that_fails_leaves_others_theirs(
    rc: Client, other: Client, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = other[0].apply_async(gate.held)
    while not held.at_work:  # until the controller knows it
        pass
    fetched = []

    def ask(message: Any, timeout: float | None = 10.0) -> Any:
        monkeypatch.undo()
        fetched.append(rc.get_result(held.msg_ids))
        raise enginery.TimeoutError("this one")

    monkeypatch.setattr(rc.link, "ask", ask)
    with pytest.raises(enginery.TimeoutError, match="this one"):
        rc.link.fetch(held.msg_ids)
    gate.open()
    assert fetched[0].get(PATIENCE) == [None]
