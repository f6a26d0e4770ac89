"""From nothing to the first result of each engine, beside bare interpreters."""

from __future__ import annotations

from importlib import import_module

from ..harness import Figure, Workload


def workload(engines: int, targets: dict[str, float]) -> Workload:
    """So many engines."""

    def sample(peer: str) -> dict[str, float]:
        """Seconds until the last of them has answered; ending them does not count."""
        return {"seconds": import_module(f"bench.peers.{peer}").start(engines)}

    title = f"start of {engines} engines to the first result of each"
    return Workload(
        name=f"startup{engines}",
        figures={"seconds": Figure(title, "s", targets=targets)},
        sample=sample,
        quick=["interpreters", "pool"],
        heavy=["dask", "ray", "ipyparallel"],
    )


STARTUPS = [
    workload(4, {"interpreters": 1.5, "dask": 0.7}),
    workload(32, {"dask": 0.4}),
]
