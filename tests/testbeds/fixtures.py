"""The testbeds as fixtures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .hosts import Hosts
from .sshd import Sshd


@pytest.fixture(scope="session")
def ssh_server(
    tmp_path_factory: pytest.TempPathFactory, session_leak_check: None
) -> Iterator[Sshd]:
    """An ssh server for the whole run."""
    server = Sshd(tmp_path_factory.mktemp("ssh") / "sshd")
    yield server
    server.close()


@pytest.fixture
def sshd(ssh_server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Sshd:
    """An ssh server, and the `ssh` on the PATH knows it."""
    monkeypatch.setenv("PATH", f"{ssh_server.bin}{os.pathsep}{os.environ['PATH']}")
    return ssh_server


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    """Four hosts in one network."""
    several = Hosts(4, tmp_path)
    yield several
    several.close()
