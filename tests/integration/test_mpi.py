"""`mpiexec -n 4 ipengine`: each rank is an engine, whose code has the MPI world."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from enginery import Client, Cluster, CompositeError

LONG = 60.0
"""Seconds that nothing here should ever take."""

RANKS = 4


@pytest.fixture
def job(tmp_path: Path) -> Iterator[tuple[Client, Callable[[], subprocess.Popen[bytes]]]]:
    """A client of a cluster without engines, and what starts four of them by mpiexec."""
    cluster = Cluster(n=0, profile_dir=tmp_path / "profile_mpi")
    cluster.start_cluster_sync()
    client_file = Path(cluster.client_connection_file)
    file = client_file.with_name(client_file.name.replace("client", "engine"))
    engine = ["-m", "enginery", "engine", f"--file={file}", f"--profile-dir={cluster.profile.path}"]
    mpiexec = Path(sys.executable).with_name("mpiexec")
    with ExitStack() as stack:
        stack.callback(cluster.stop_cluster_sync)

        def begin() -> subprocess.Popen[bytes]:
            command = [mpiexec, "-n", str(RANKS), sys.executable, *engine]
            begun = stack.enter_context(subprocess.Popen(command))
            stack.callback(begun.terminate)
            return begun

        yield stack.enter_context(cluster.connect_client_sync()), begin


def modules() -> bool:
    """Whether an engine has imported mpi4py by itself."""
    return "mpi4py" in sys.modules


def world() -> tuple[int, int, bool]:
    """Rank, size, and whether MPI was begun in the main thread."""
    from mpi4py import MPI

    main = threading.current_thread() is threading.main_thread()
    return MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size, main and MPI.Is_thread_main()


def total(value: int) -> int:
    """The sum over all ranks."""
    from mpi4py import MPI

    return MPI.COMM_WORLD.allreduce(value)


def test_ranks_are_engines_and_several_jobs_join_one_controller(job) -> None:
    rc, begin = job
    jobs = [begin(), begin()]
    rc.wait_for_engines(2 * RANKS, timeout=LONG)
    assert rc[:].apply_sync(modules) == [False] * (2 * RANKS)
    worlds = rc[:].apply_sync(world)
    assert sorted(worlds) == sorted([(rank, RANKS, True) for rank in range(RANKS)] * 2)
    assert rc[:].apply_sync(total, 1) == [RANKS] * (2 * RANKS)
    assert rc.load_balanced_view().map_sync(abs, range(-20, 0)) == list(range(20, 0, -1))
    rc.shutdown()
    for each in jobs:
        assert each.wait(LONG) == 0


def test_a_rank_that_dies_takes_the_others_along_and_that_is_said(job) -> None:
    rc, begin = job
    killed, lives = begin(), begin()
    rc.wait_for_engines(2 * RANKS, timeout=LONG)
    pids = {id: engine.pid for id, engine in rc.link.engines.items()}
    ranks = {process.pid for process in psutil.Process(killed.pid).children(recursive=True)}
    mine = [id for id, pid in pids.items() if pid in ranks]
    assert len(mine) == RANKS
    result = rc[mine].apply_async(signal.pause)
    assert rc.link.wait(lambda: len(rc[mine].queue_status()) > 0, LONG)
    os.kill(pids[mine[0]], signal.SIGKILL)
    with pytest.raises(CompositeError) as caught:
        result.get(timeout=LONG)
    text = " ".join(str(caught.value).split())
    said = re.findall(r"its connection was lost \(MPI rank (\d) of 4: one dead ends all\)", text)
    assert sorted(said) == ["0", "1", "2", "3"]
    assert killed.wait(LONG) != 0
    others = [id for id in pids if id not in mine]
    assert rc.link.wait(lambda: sorted(rc.link.engines) == sorted(others), LONG)
    assert rc[others].apply_sync(total, 2) == [2 * RANKS] * RANKS
    assert lives.poll() is None
