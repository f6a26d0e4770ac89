"""Fixtures for everyone: a cluster for the whole run, and a client for each test."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from enginery import Client, Cluster
from enginery.engine import actions

pytest_plugins = ["tests.gate", "tests.leaks", "tests.left_out", "tests.testbeds.fixtures"]


def pytest_configure() -> None:
    """Let programs that tests start hear Ctrl-C, also where this run was started in the background,
    and that their terminal is gone, also under `nohup`.

    These have a run ignore SIGINT and SIGHUP, and whom it starts inherits that.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session")
def cluster(
    tmp_path_factory: pytest.TempPathFactory, session_leak_check: None
) -> Iterator[Cluster]:
    """Four engines that tests share; who changes engines for good makes a cluster of its own."""
    running = Cluster(n=4, profile_dir=tmp_path_factory.mktemp("cluster") / "profile_shared")
    running.start_cluster_sync()
    try:
        yield running
    finally:
        running.stop_cluster_sync()


@pytest.fixture
def rc(cluster: Cluster) -> Iterator[Client]:
    """A client of the shared cluster; it leaves the namespaces of the engines empty."""
    with cluster.connect_client_sync() as client:
        client.wait_for_engines(4, timeout=30)
        yield client
        client.abort(running=True)
        client[:].apply_sync(actions.clear)


@pytest.fixture
def own_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Two engines for one test, which may do what it likes with them and their controller.

    Without a history, whose process takes half a second to start when so brief a life ends.
    """
    with own(tmp_path, database="none") as running:
        yield running


@pytest.fixture
def own_cluster_with_history(tmp_path: Path) -> Iterator[Cluster]:
    """The same with the history, as by default."""
    with own(tmp_path) as running:
        yield running


@contextmanager
def own(tmp_path: Path, **options: Any) -> Iterator[Cluster]:
    """A cluster for one test."""
    profile = tmp_path / "profile_own"
    running = Cluster(n=2, profile_dir=profile, restart_controller=False, **options)
    running.start_cluster_sync()
    try:
        yield running
    finally:
        running.stop_cluster_sync()
