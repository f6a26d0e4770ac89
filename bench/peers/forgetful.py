"""enginery without a journal and a database: what it costs to write everything down."""

from __future__ import annotations

from functools import partial

from enginery import Cluster

from . import views


def cluster(engines: int) -> Cluster:
    """What gives a client with all engines there."""
    return Cluster(n=engines, journal="none", database="none")


submitter = partial(views.submitting, cluster)
