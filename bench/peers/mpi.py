"""mpi4py.futures on MPICH, whose workers are spawned."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

os.environ |= {"HYDRA_IFACE": "lo", "UCX_NET_DEVICES": "lo"}  # read when MPI is loaded

from mpi4py.futures import MPIPoolExecutor

from . import Map, Submit, calling, carrying, no_servers


@contextmanager
def submitter(engines: int) -> Iterator[Submit]:
    """`submit`."""
    with MPIPoolExecutor(engines) as executor:
        yield lambda f, x: executor.submit(f, x).result


@contextmanager
def mapper(engines: int) -> Iterator[Map]:
    """`map`, whose chunks are single items by default."""
    with MPIPoolExecutor(engines) as executor:
        yield lambda f, items: list(executor.map(f, items))


servers = no_servers
caller = partial(calling, submitter)
carrier = partial(carrying, submitter)
