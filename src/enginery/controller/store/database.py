"""The database itself: how it is reached, and the little in which SQLite and PostgreSQL differ."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from operator import itemgetter
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from ...net import private
from .rows import Row
from .schema import VERSION, metadata, schema, tasks, use_hashes

BUSY = 5.0
"""Seconds that another writer may take, or a server to let us in."""

VACUUM = 1000
"""Pages of SQLite that are given back at a time."""

LOOK = 10_000
"""Instructions of SQLite between two looks at the clock."""


class Unusable(Exception):
    """The database cannot be used; trying again does not help."""


class Database:
    """One that is there; `limit` seconds of a question are counted by who sets `until`."""

    def __init__(self, url: str, file: str = "") -> None:
        try:
            parsed = URL.create("sqlite", database=file) if file else make_url(url)
            if parsed.get_backend_name() not in ("sqlite", "postgresql"):
                raise ArgumentError
            if parsed.drivername == "postgresql":
                parsed = parsed.set(drivername="postgresql+psycopg")
            self.dialect = parsed.get_backend_name()
            self.until = 0.0  # of time.monotonic; 0: as long as it takes
            arguments: dict[str, Any] = {"timeout": BUSY}
            if self.dialect == "sqlite":
                _private_file(parsed.database)
            else:
                arguments = {"connect_timeout": int(BUSY)}
            self.engine: Engine = create_engine(
                parsed, connect_args=arguments, pool_size=1, max_overflow=0
            )
        except (ArgumentError, NoSuchModuleError):
            raise Unusable(
                "c.IPController.database is neither sqlite, nor none, nor a URL such as "
                "postgresql://user@host/name"
            ) from None
        except ModuleNotFoundError as error:
            raise Unusable(f"{error}; pip install 'enginery[postgresql]'") from None
        if self.dialect == "sqlite":
            event.listen(self.engine, "connect", self._set_up_sqlite)

    def _set_up_sqlite(self, connection: Any, _record: Any) -> None:
        for pragma in ("auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.set_progress_handler(self._late, LOOK)

    def _late(self) -> bool:
        return bool(self.until) and time.monotonic() > self.until

    def create(self) -> None:
        """Make the tables, unless they are there; Unusable when they are those of another time."""
        with self.engine.begin() as connection:
            if self.dialect == "sqlite":  # whose driver begins a transaction at the first INSERT
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            if not inspect(connection).has_table(schema.name):
                if self.dialect == "postgresql":
                    use_hashes()
                metadata.create_all(connection)
                connection.execute(insert(schema).values(version=VERSION))
            found = connection.execute(select(schema.c.version)).scalar_one()
        if found != VERSION:
            raise Unusable(
                f"its tables are of version {found}, this enginery makes version {VERSION}; "
                "move it away, or name another one"
            )

    def upsert(self) -> Any:
        """An INSERT for this kind of database, which has `on_conflict_do_update`."""
        dialect = import_module(f"sqlalchemy.dialects.{self.dialect}")  # one of two, each slow
        return dialect.insert(tasks)

    def prepared(self, statement: Any) -> Callable[[Connection, Sequence[Row]], None]:
        """Carries out a statement without constants for many rows, past what costs time per row."""
        compiled = statement.compile(dialect=self.engine.dialect)
        text, names = str(compiled), compiled.positiontup
        chosen = itemgetter(*names) if names else None  # else by name

        def run(connection: Connection, rows: Sequence[Row]) -> None:
            connection.exec_driver_sql(text, rows if chosen is None else list(map(chosen, rows)))

        return run

    def limit(self, connection: Connection, seconds: float) -> None:
        """What is asked from now on, on this connection, ends after so many seconds."""
        self.until = time.monotonic() + seconds
        if self.dialect == "postgresql":
            connection.execute(text(f"SET LOCAL statement_timeout = {int(seconds * 1000)}"))

    def unlimited(self) -> None:
        """There is no such limit any more."""
        self.until = 0.0

    def size(self, connection: Connection) -> int:
        """Bytes that it takes: in SQLite those in use; a server may need some more."""
        if self.dialect == "sqlite":
            pages, free, size = (
                connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("page_count", "freelist_count", "page_size")
            )
            return int((pages - free) * size)
        return int(
            connection.execute(
                select(func.coalesce(func.sum(tasks.c.bytes + func.length(tasks.c.story)), 0))
            ).scalar_one()
        ) + ROW * int(connection.execute(select(func.count()).select_from(tasks)).scalar_one())

    def shrink(self) -> None:
        """Give back a part of what is not in use; servers see to that themselves."""
        if self.dialect == "sqlite":
            with self.engine.connect() as connection:
                connection.exec_driver_sql(f"PRAGMA incremental_vacuum({VACUUM})")

    def close(self) -> None:
        """Close the connection."""
        self.engine.dispose()


ROW = 500
"""Bytes that a row takes beside its outcome and story on a server, with its indexes, about."""


def delete_rows(connection: Connection, keys: Sequence[tuple[int, str]]) -> None:
    """Delete the tasks of these journals and ids."""
    c = tasks.c
    statement = delete(tasks).where(c.journal == bindparam("number"), c.msg_id == bindparam("id"))
    connection.execute(statement, [{"number": number, "id": id} for number, id in keys])


def _private_file(path: str | None) -> None:
    """Make SQLite's file, for this user only; what SQLite puts beside it gets the same mode."""
    if not path or path == ":memory:":
        raise Unusable("an SQLite database needs a file: sqlite:////home/me/history.sqlite")
    if not Path(path).parent.exists():
        private.make_directory(Path(path).parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
