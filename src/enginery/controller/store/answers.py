"""Questions about tasks that have ended, answered from the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from msgspec import msgpack
from msgspec.structs import replace
from sqlalchemy import ColumnElement, Connection, Row, and_, literal_column, select

from ...core import database as language
from ...core import messages as m
from ...core.events import Question
from ...core.queries import order
from . import talk
from .database import Database, delete_rows
from .rows import clean, name_of, steps
from .schema import journals, tasks
from .sql import Key, Where, where

ROWS = 200_000
"""Tasks that are told of at once at most."""

BYTES = 256 << 20
"""The same for the values of tasks."""

LIMIT = 5.0
"""Seconds that an answer may take."""

DELETED = 5000
"""Rows that are deleted at a time."""

NOT_KEPT = "the database keeps how it ended, but not its result"
TOO_MUCH = f"more than {BYTES >> 20} MiB of results were asked for at once: ask for fewer"


class TooMuch(Exception):
    """What was asked for is more than can be told."""


class Answers:
    """What a database knows of the tasks of one cluster."""

    def __init__(self, database: Database, cluster: str) -> None:
        self.database = database
        self._journals = select(journals.c.number).where(journals.c.cluster == cluster)

    def older(self) -> bool:
        """Whether there is anything."""
        with self.database.engine.connect() as connection:
            query = select(tasks.c.msg_id).where(tasks.c.journal.in_(self._journals)).limit(1)
            return connection.execute(query).first() is not None

    def answer(self, question: Question) -> bytes:
        """The answer in msgpack; TooMuch, or an error of the database."""
        if question.what == "purge":
            return msgpack.encode(self._purge(question))
        with self.database.engine.begin() as connection:
            try:
                self.database.limit(connection, LIMIT)
                return msgpack.encode(HOW[question.what](self, connection, question))
            finally:
                self.database.unlimited()

    def _which(self, question: Question) -> Where:
        """The tasks that a question is about."""
        dialect = self.database.dialect
        found = where(question.where, dialect)
        id = Key("msg_id", dialect)
        client = question.where.get("client", {}).get("$eq")
        named = question.ids is not None or "msg_id" in question.where or isinstance(client, str)
        # Almost everything is of this cluster: that it is must not be what a search begins with.
        journal = tasks.c.journal if named else tasks.c.journal + literal_column("0")
        mine: ColumnElement[bool] = journal.in_(self._journals)
        clauses: list[ColumnElement[bool]] = [mine, tasks.c.status != "", found.clause]
        if isinstance(client, str):  # there is an index of ids, which begin with it
            clauses.append(id.begins(f"{client}-"))
        if question.owner:
            clauses.append(tasks.c.owner == name_of(question.owner))
        if question.ids is not None:
            clauses.append(id.among([clean(each) for each in question.ids]))
        if question.engines is not None:
            clauses.append(tasks.c.engine_id.in_(question.engines))
        if question.before is not None:
            clauses.append(tasks.c.changed <= question.before)
        return Where(and_(*clauses), found.rest)

    def _find(self, connection: Connection, question: Question) -> list[Any]:
        """When each was submitted, its id and document."""
        which = self._which(question)
        keys = question.keys or (*ORDER, "items")
        told = dict.fromkeys((*keys, *which.rest))
        if "items" in told:
            del told["items"]
            told |= {"start": None, "stop": None}
        columns = [tasks.c.accepted, tasks.c.submitted.label("at"), tasks.c.msg_id.label("id")]
        columns += [tasks.c[key] for key in told]
        query = select(*columns).where(which.clause)
        if not which.rest:
            query = query.limit(ROWS + 1)
        connection = connection.execution_options(stream_results=True, max_row_buffer=10_000)
        found: dict[str, tuple[float, float, dict[str, Any]]] = {}  # ids may come again
        for accepted, at, id, *values in connection.execute(query):
            document = dict(zip(told, values, strict=True))
            if which.rest and not language.matches(document, which.rest):
                continue
            document = _told(document, keys)
            if len(found) == ROWS:
                raise TooMuch(
                    f"more than {ROWS:,} tasks are found; ask for fewer, "
                    'as by {"submitted": {"$gt": …}}'
                )
            if id not in found or found[id][0] < accepted:
                found[id] = accepted, at, document
        return sorted(((at, id, told) for id, (_, at, told) in found.items()), key=order)

    def _names(self, connection: Connection, question: Question) -> list[str]:
        """The different values of a key."""
        [key] = question.keys
        query = select(tasks.c[key]).where(self._which(question).clause).distinct()
        return sorted(connection.execute(query).scalars())

    def _stories(self, connection: Connection, question: Question) -> dict[str, Any]:
        """The steps of each task."""
        return {row.msg_id: steps(row.story) for row in self._latest(connection, question, "story")}

    def _outcomes(self, connection: Connection, question: Question) -> Any:
        """How each task ended, packed, of a chunk also its shares; and the items of chunks."""
        chunks = {
            row.msg_id: (row.start, row.stop)
            for row in self._latest(connection, question, "start", "stop")
            if row.stop and "." not in row.msg_id
        }
        told: list[bytes] = []
        size = self._pack(connection, question, told, 0)
        for id in chunks:
            shares = {"msg_id": {"$glob": f"{id}.*"}}
            size = self._pack(connection, replace(question, ids=None, where=shares), told, size)
        return told, chunks

    def _pack(
        self, connection: Connection, question: Question, told: list[bytes], size: int
    ) -> int:
        """Tell how each task ended; what is not kept any more says so.

        `size` is that of all the values so far, and then of these, too.
        """
        more = ("journal", "bytes", "status", "engine_id", "attempt", "name", "start", "stop")
        for row in self._latest(connection, question, *more, *TIMES):
            size += row.bytes
            reason = TOO_MUCH if size > BYTES else NOT_KEPT
            packed = None
            if row.bytes and size <= BYTES:
                key = (tasks.c.journal == row.journal, tasks.c.msg_id == row.msg_id)
                packed = connection.execute(select(tasks.c.outcome).where(*key)).scalar_one()
            told.append(talk.packed(_expired(row, reason)) if packed is None else packed)
        return size

    def _latest(self, connection: Connection, question: Question, *keys: str) -> Iterator[Row[Any]]:
        """A row of each task; ids of clients may come again in other journals."""
        columns = [tasks.c.msg_id, *(tasks.c[key] for key in keys)]
        query = select(*columns).where(self._which(question).clause).order_by(tasks.c.accepted)
        return iter({row.msg_id: row for row in connection.execute(query)}.values())

    def _purge(self, question: Question) -> list[str]:
        """Delete rows, some at a time; gives the ids if they were named."""
        which = self._which(question).clause
        query = select(tasks.c.journal, tasks.c.msg_id).where(which).limit(DELETED)
        ids: list[str] = []
        while True:
            with self.database.engine.connect() as connection:
                found = connection.execute(query).all()
            if not found:
                return ids
            with self.database.engine.begin() as connection:
                delete_rows(connection, [(journal, id) for journal, id in found])
            if question.ids is not None:
                ids += [id for _, id in found]


ORDER: Final = (
    "msg_id", "client", "name", "label", "state", "status", "engine_id", "attempt", "retries",
    "priority", "submitted", "started", "completed", "size", "reason",
)  # fmt: skip
"""The keys, as they are told when none is named."""

TIMES = ("submitted", "started", "completed")

HOW: Final[dict[str, Callable[[Answers, Connection, Question], Any]]] = {
    "find": Answers._find,
    "names": Answers._names,
    "stories": Answers._stories,
    "outcomes": Answers._outcomes,
}


def _told(document: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """What is told of a task: these keys."""
    if "items" in keys:
        document["items"] = [document["start"], document["stop"]] if document["stop"] else []
    return {key: document[key] for key in keys}


def _expired(row: Row[Any], reason: str) -> m.Outcome:
    """What there is to say of a task whose result is not kept."""
    share = "." in row.msg_id
    return m.Outcome(
        row.msg_id, "expired", engine=row.engine_id, attempt=row.attempt, name=row.name,
        submitted=row.submitted, started=row.started, completed=row.completed,
        facts={"reason": reason, "status": row.status}, start=row.start if share else 0,
        stop=row.stop if share else 0,
    )  # fmt: skip
