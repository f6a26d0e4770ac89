"""ipyparallel, from PyPI: a cluster on this machine as it is by default."""

from __future__ import annotations

from functools import partial

import ipyparallel
import psutil

from ..processes import those_without
from . import searching, views


def cluster(engines: int) -> ipyparallel.Cluster:
    """What gives a client with all engines there."""
    return ipyparallel.Cluster(n=engines, log_level=40)


submitter = partial(views.submitting, cluster)
caller = partial(views.calling, cluster)
mapper = partial(views.mapping, cluster)
searcher = partial(searching, mapper)
carrier = partial(views.carrying, cluster)
start = partial(views.starting, cluster)


def servers() -> list[psutil.Process]:
    """The processes of the controller."""
    return those_without("ipyparallel.engine", "resource_tracker")
