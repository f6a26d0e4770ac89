"""No-op tasks, submitted one by one, then all results: what a system itself costs per task.

`forgetful` is ours, with nothing written down. Beside systems stand bare floors: `echo`, ZeroMQ's
own proxy with a message for each task, and `relay`, the least that a relay in Python can do, with
100 tasks in a message.
"""

from __future__ import annotations

import time
from importlib import import_module

from ..harness import Figure, Workload
from ..peers import Submit
from ..processes import spending

TASKS = 10_000
ENGINES = 2
WARM_UP = 200
ENOUGH = 2.0
"""Seconds after which no further round begins: processor time comes in steps of 10 ms."""


def noop(x: int) -> int:
    """Nothing but give back what came, so that results can be checked."""
    return x


def sample(peer: str) -> dict[str, float]:
    """Tasks per second from the first submission to the last result; processor time of a task."""
    adapter = import_module(f"bench.peers.{peer}")
    with adapter.submitter(ENGINES) as submit:
        for get in [submit(noop, i) for i in range(WARM_UP)]:
            get()
        with spending() as spent:
            tasks = submit_rounds(submit, peer)
    return {"rate": tasks / spent.wall, "cpu": spent.cpu / tasks * 1e6}


def submit_rounds(submit: Submit, peer: str) -> int:
    """Submit rounds of no-ops, and get their results, until `ENOUGH`; gives how many tasks."""
    rounds = 0
    start = time.perf_counter()
    while time.perf_counter() - start < ENOUGH:
        waiting = [submit(noop, i) for i in range(TASKS)]
        results = [get() for get in waiting]
        rounds += 1
        if results != list(range(TASKS)):
            raise RuntimeError(f"{peer} gave wrong results")
    return rounds * TASKS


NOOP = Workload(
    name="noop",
    figures={
        "rate": Figure(
            "no-op tasks, one by one, 2 engines",
            "tasks/s",
            more_is_better=True,
            targets={"forgetful": 0.8, "pool": 2, "ray": 25, "dask": 100, "ipyparallel": 100},
        ),
        "cpu": Figure("processor time of all processes for each of them", "µs", limit=25),
    },
    sample=sample,
    quick=["forgetful", "pool", "executor", "echo", "relay"],
    heavy=["joblib", "dask", "ray", "parsl", "mpi", "ipyparallel"],
    patience=240,
)
