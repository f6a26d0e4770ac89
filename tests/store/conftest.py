"""Databases for tests: each test with a `place` runs on SQLite and on PostgreSQL.

Without a PostgreSQL server's programs the tests on it are left out, and the end of the run names
them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from enginery.controller.store.database import Database

from . import server

LEFT_OUT = pytest.StashKey[list[str]]()


@pytest.fixture(scope="session")
def postgresql(session_leak_check: None) -> Iterator[str]:
    """The URL of a server for the whole run."""
    programs = server.programs()
    assert programs is not None
    with server.running(programs) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where an empty database is, of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'history.sqlite'}"
        return
    server_url: str = request.getfixturevalue("postgresql")
    name = f"test_{os.urandom(4).hex()}"
    admin = create_engine(
        server_url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield server_url.replace("/postgres", f"/{name}")
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """An empty database of each kind, with its tables."""
    made = Database(url)
    made.create()
    yield made
    made.close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without a server, leave out what needs one; the end of the run says what that was."""
    if server.programs() is not None:
        return
    needing = [
        item
        for item in items
        if "postgresql" in getattr(item, "fixturenames", ())
        or getattr(getattr(item, "callspec", None), "params", {}).get("url") == "postgresql"
    ]
    if needing:
        config.stash[LEFT_OUT] = [item.nodeid for item in needing]
        config.hook.pytest_deselected(items=needing)
        items[:] = [item for item in items if item not in needing]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Name the tests that were left out, and why."""
    left_out = config.stash.get(LEFT_OUT, [])
    if left_out:
        terminalreporter.section("left out", yellow=True)
        terminalreporter.line(
            f"{len(left_out)} tests need a PostgreSQL server, and none is installed; with it they "
            "run:  apt-get install postgresql"
        )
        for name in left_out:
            terminalreporter.line(f"  {name}")
