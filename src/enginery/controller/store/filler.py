"""Rows into the database, and how far the journal was read along with them, in one transaction.

So nothing is missing and nothing doubled, whenever this process ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)

from ...core import messages as m
from . import talk
from .database import ROW, Database, delete_rows
from .rows import Row, Rows
from .schema import journals, tasks
from .tail import Position, Tail, loaded

PORTION = 20_000
"""Changes that are written together at most, about."""

DELETED = 2000
"""Rows that are deleted at a time."""

LOOK = 30.0
"""Seconds between two looks at how much a server holds."""

REASON = "its controller ended before it did"

_ENDED = ("state", "status", "engine_id", "started", "completed", "reason", "changed", "bytes",
          "outcome")  # fmt: skip
"""What an end says anew of a task that is known."""


class Filler:
    """What brings one journal into a database."""

    def __init__(self, database: Database, setup: talk.Setup) -> None:
        self.database = database
        self.setup = setup
        self.directory = Path(setup.directory)
        # The process of a controller that was killed may still be at it.
        self._lock = os.open(self.directory / "reader", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.journal, position = self._enter()
        self.tail = Tail(self.directory, setup.journal, position)
        self.rows = Rows(self._packed)
        self._statements = self._make_statements()
        self._used = 0  # bytes of everything, about
        self._look_at = 0.0  # when to look again

    # --- who writes -----------------------------------------------------------------------------

    def _enter(self) -> tuple[int, Position]:
        """The number of this journal, and how far it was read."""
        setup, c = self.setup, journals.c
        with self.database.engine.begin() as connection:
            where = c.name == setup.journal
            known = connection.execute(select(c.number, c.segment, c.record).where(where)).first()
            if known is not None:
                return int(known[0]), Position(known[1], known[2])
            fields = {"name": setup.journal, "cluster": setup.cluster, "segment": -1, "record": 0}
            done = connection.execute(insert(journals).values(fields))
            assert done.inserted_primary_key is not None
            number = int(done.inserted_primary_key[0])
            mine = select(c.number).where(c.cluster == setup.cluster, c.number != number)
            connection.execute(self._lost(tasks.c.journal.in_(mine)))
            return number, Position()

    def _lost(self, which: Any) -> Any:
        """Tasks of which nobody will say any more how they have ended."""
        values = {"state": "done", "status": "lost", "reason": REASON}
        return update(tasks).where(which, tasks.c.status == "").values(values)

    def over(self) -> None:
        """Nobody goes on with this journal."""
        with self.database.engine.begin() as connection:
            connection.execute(self._lost(tasks.c.journal == self.journal))

    def close(self) -> None:
        """Close the files of the journal."""
        self.tail.close()
        os.close(self._lock)

    # --- reading --------------------------------------------------------------------------------

    def fill(self) -> bool:
        """Read and write a portion; False when there was nothing to read."""
        found = False
        for turn in self.tail.read():
            if self.tail.missed:
                self.tail.missed = False
                self.rows.missed()
            self.rows.follow([turn])
            found = True
            if len(self.rows) >= PORTION:
                self._write()
        if found:
            self._write()
        return found

    def _packed(self, outcome: m.Outcome) -> bytes | None:
        """An outcome as it is kept; None when it is too large, or its buffers are gone."""
        if outcome.size() > self.setup.value_bytes:
            return None
        if outcome.buffers:
            buffers = tuple(loaded(self.directory, each) for each in outcome.buffers)
            if None in buffers:
                return None
            outcome.buffers = tuple(each for each in buffers if each is not None)
        if outcome.cause is not None and outcome.cause.buffers:
            return None
        return talk.packed(outcome)

    # --- writing --------------------------------------------------------------------------------

    def _make_statements(self) -> dict[str, Any]:
        key = (tasks.c.journal, tasks.c.msg_id)
        mine = (tasks.c.journal == bindparam("of"), tasks.c.msg_id == bindparam("id"))
        is_open = tasks.c.status == literal_column("''")
        none = literal_column("0")
        upsert = self.database.upsert()
        new, others = upsert.excluded, [c.name for c in tasks.c if c not in key]
        ended = {name: new[name] for name in _ENDED} | {
            "attempt": case(
                (new.attempt > tasks.c.attempt, new.attempt), else_=tasks.c.attempt
            ),
            "submitted": case(
                (tasks.c.submitted == none, new.submitted), else_=tasks.c.submitted
            ),
            "start": case((new.stop > none, new.start), else_=tasks.c.start),
            "stop": case((new.stop > none, new.stop), else_=tasks.c.stop),
            "size": tasks.c.size + new.size,
            "story": tasks.c.story + new.story,
        }  # fmt: skip
        statements = {
            "whole": upsert.on_conflict_do_update(
                index_elements=key, set_={name: new[name] for name in others}
            ),
            "new": upsert.on_conflict_do_nothing(index_elements=key),
            "ended": upsert.on_conflict_do_update(
                index_elements=key, set_=ended, where=is_open
            ),
            "sent": update(tasks).where(*mine, is_open).values(
                state=literal_column("'sent'"), engine_id=bindparam("place"),
                attempt=bindparam("number"), changed=bindparam("at"),
                story=tasks.c.story + bindparam("more"),
            ),
            "purged": delete(tasks).where(*mine),
            "merged": delete(tasks).where(*mine, is_open),
        }  # fmt: skip
        return {what: self.database.prepared(each) for what, each in statements.items()}

    def _write(self) -> None:
        """Write what has been read, and how far that was."""
        rows, position, statements = self.rows.taken_away(), self.tail.position, self._statements
        for row in (*rows.whole.values(), *rows.ended.values()):
            row["journal"] = self.journal
        known = [row for id, row in rows.whole.items() if id not in rows.new]
        sent = [_sent(row) | {"of": self.journal} for row in rows.sent.values()]
        with self.database.engine.begin() as connection:
            connection.execute(
                update(journals).where(journals.c.number == self.journal).values(
                    segment=position.segment, record=position.record
                )
            )  # fmt: skip
            for what, each in (
                ("purged", [{"of": self.journal, "id": id} for id in rows.purged]),
                ("new", [rows.whole[id] for id in rows.new]),
                ("whole", known),
                ("sent", sent),
                ("ended", list(rows.ended.values())),
                ("merged", [{"of": self.journal, "id": id} for id in rows.merged]),
            ):
                if each:
                    statements[what](connection, each)
            if rows.unknown_since is not None:
                self._expire(connection, rows.unknown_since)

    def _expire(self, connection: Connection, since: float) -> None:
        """Tasks that an account of everything does not know have ended: that was not read."""
        values = {"state": "done", "status": "expired", "reason": "its end was not recorded"}
        mine = tasks.c.journal == self.journal
        connection.execute(
            update(tasks).where(mine, tasks.c.status == "", tasks.c.changed < since).values(values)
        )

    # --- limits ---------------------------------------------------------------------------------

    def trim(self) -> bool:
        """Delete some of what is too old or too much, the oldest first; False when there is none.

        What is oldest is what nothing has been heard of for the longest time.
        """
        limit_age, c = self.setup.limit_age, tasks.c
        with self.database.engine.connect() as connection:
            oldest = select(c.journal, c.msg_id, c.bytes + func.length(c.story))
            oldest = oldest.order_by(c.changed).limit(DELETED)
            if limit_age:
                too_old = oldest.where(c.changed < time.time() - limit_age)
                doomed = connection.execute(too_old).all()
            if not limit_age or not doomed:
                doomed = connection.execute(oldest).all() if self._too_much(connection) else []
        if not doomed:
            return False
        with self.database.engine.begin() as connection:
            delete_rows(connection, [(journal, id) for journal, id, _ in doomed])
        self._used -= sum(bytes + ROW for _, _, bytes in doomed)
        self.database.shrink()
        return True

    def _too_much(self, connection: Connection) -> bool:
        """Whether everything takes more than it may; a server is asked now and then."""
        limit, now = self.setup.limit_bytes, time.monotonic()
        if limit and (self.database.dialect == "sqlite" or now >= self._look_at):
            self._used, self._look_at = self.database.size(connection), now + LOOK
        return bool(limit) and self._used > limit


def _sent(row: Row) -> Row:
    """The parameters for that a task was sent."""
    return {
        "id": row["msg_id"],
        "place": row["engine_id"],
        "number": row["attempt"],
        "at": row["changed"],
        "more": row["story"],
    }
