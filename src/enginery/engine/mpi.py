"""What `mpiexec` tells the processes that it starts. MPI itself is left to user code, but its end.

mpi4py ends MPI when the interpreter is finalized, which an engine's is not. A rank that leaves
without it has crashed, for `mpiexec`, which then kills the others.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Mapping
from typing import Any

VARIABLES = (
    ("PMI_RANK", "PMI_SIZE"),  # MPICH and its relatives, Slurm
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
)


def rank(environment: Mapping[str, str]) -> str:
    """What this process is in a job of several, in words; "" when it is in none."""
    for rank, size in VARIABLES:
        numbers = environment.get(rank, ""), environment.get(size, "")
        if all(map(str.isdecimal, numbers)) and int(numbers[1]) > 1:
            return f"MPI rank {numbers[0]} of {numbers[1]}"
    return ""


def leave() -> None:
    """End MPI and this process, if user code has begun MPI; waits for the other ranks to do so."""
    mpi: Any = sys.modules.get("mpi4py.MPI")
    if mpi is None or not mpi.Is_initialized():
        return
    if not mpi.Is_finalized():
        mpi.Finalize()
    # MPICH says goodbye to mpiexec in an exit handler of C.
    ctypes.PyDLL(None).exit(0)
