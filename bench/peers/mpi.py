"""mpi4py.futures on MPICH, whose workers are spawned."""

from __future__ import annotations

import os
from functools import partial

os.environ |= {"HYDRA_IFACE": "lo", "UCX_NET_DEVICES": "lo"}  # read when MPI is loaded

from mpi4py.futures import MPIPoolExecutor

from . import calling, carrying, mapping, no_servers, submitting

submitter = partial(submitting, MPIPoolExecutor)
mapper = partial(mapping, MPIPoolExecutor)
servers = no_servers
caller = partial(calling, submitter)
carrier = partial(carrying, submitter)
