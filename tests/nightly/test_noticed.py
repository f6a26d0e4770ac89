"""An engine's death is noticed by the end of its process, not by silence (N5)."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable

import pytest

from enginery import Cluster, EngineError
from tests.gate import Gate

from .load import PATIENCE, until

KILLS = 20


def said(held: Callable[[], None]) -> None:
    """Say that it has begun, and wait."""
    print("begun")
    held()


@pytest.mark.usefixtures("quiet")
def test_a_death_is_told_at_once(
    own_cluster: Cluster, gate: Gate, figures: Callable[[str, str, str], None]
) -> None:
    with own_cluster.connect_client_sync() as rc:
        rc.wait_for_engines(2, timeout=PATIENCE)
        took = []
        for _ in range(KILLS):
            until(rc, lambda: 0 in rc.link.engines)
            result = rc[0].apply_async(said, gate.held)
            until(rc, lambda result=result: "begun" in result.stdout)
            since = time.monotonic()
            os.kill(rc.link.engines[0].pid, signal.SIGKILL)
            with pytest.raises(EngineError, match="SIGKILL"):
                result.get(timeout=PATIENCE)
            took.append(time.monotonic() - since)
        figures(
            "N5 the death of a local engine is noticed in 0.5 s", f"{KILLS} times SIGKILL",
            f"median {statistics.median(took):.2f} s, longest {max(took):.2f} s",
        )  # fmt: skip
        assert max(took) <= 0.5
