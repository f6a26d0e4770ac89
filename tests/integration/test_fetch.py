"""Tasks by their ids, of which a client holds nothing: the controller is asked for them."""

from __future__ import annotations

import os
import signal
import time
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


def test_a_wait_for_what_is_not_held_keeps_its_timeout(own_cluster: Cluster, gate: Gate) -> None:
    with own_cluster.connect_client_sync() as rc, own_cluster.connect_client_sync() as other:
        rc.wait_for_engines(2)
        held = other[0].apply_async(gate.held)
        while not held.at_work:  # until the controller knows it
            pass
        assert rc.wait(held.msg_ids, timeout=0) is False
        os.kill(own_cluster.controller_pid, signal.SIGSTOP)
        try:
            begin = time.monotonic()
            assert rc.wait("ffffffff-1", timeout=0.1) is False
            assert time.monotonic() - begin < 5.0  # an answer may take ten
        finally:
            os.kill(own_cluster.controller_pid, signal.SIGCONT)
        gate.open()
        assert rc.wait(held.msg_ids, timeout=PATIENCE)
