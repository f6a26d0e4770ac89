"""No-ops on 32 engines beside no-ops on 2: what engines cost that add nothing.

On few processors more engines cannot be faster; they are not to make everything slower either.
"""

from __future__ import annotations

import time
from importlib import import_module

from ..harness import Figure, Workload
from .noop import noop, submit_rounds

FEW, MANY = 2, 32
WARM_UP = 10
"""Tasks for each engine before what counts."""


def sample(peer: str) -> dict[str, float]:
    """The rate with many engines divided by that with few."""
    adapter = import_module(f"bench.peers.{peer}")
    rates = []
    for engines in (FEW, MANY):
        with adapter.submitter(engines) as submit:
            for get in [submit(noop, i) for i in range(WARM_UP * engines)]:
                get()
            start = time.perf_counter()
            tasks = submit_rounds(submit, peer)
            rates.append(tasks / (time.perf_counter() - start))
    return {"ratio": rates[1] / rates[0]}


SCALING = Workload(
    name="scaling",
    figures={
        "ratio": Figure(
            "no-ops/s with 32 engines divided by those with 2", "", more_is_better=True, limit=0.8
        )
    },
    sample=sample,
    quick=["pool", "executor"],
    heavy=["joblib", "dask", "ray", "parsl", "ipyparallel"],
    patience=300,
)
