"""Fixtures: a cluster that hostile peers may speak to, and the peers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from enginery import Client, Cluster

from .peer import Peers, peers_of


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of two engines, which all tests of a file attack."""
    running = Cluster(n=2, profile_dir=tmp_path_factory.mktemp("target") / "profile_target")
    running.start_cluster_sync()
    try:
        yield running
    finally:
        running.stop_cluster_sync()


@pytest.fixture(scope="module")
def honest(target: Cluster) -> Iterator[Client]:
    """A client of that cluster, which wants to be left alone."""
    with target.connect_client_sync() as client:
        client.wait_for_engines(2, timeout=30)
        yield client


@pytest.fixture
def peers(target: Cluster) -> Iterator[Peers]:
    """Makes peers of that cluster."""
    with peers_of(target) as made:
        yield made
