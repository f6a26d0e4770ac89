"""The tables of the hub database.

A row of `enginery_tasks` is a task of one journal; the columns that `core.database.KEYS` names are
what can be asked for. Nothing here is code, arguments or a secret: `outcome` holds what the engine
sent, pickled, and `owner` a hash.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

VERSION = 1
"""Grows when a table changes its shape."""

metadata = MetaData()

# Text is compared by code point, as Python does; SQLite does so anyway.
TEXT = Text().with_variant(Text(collation="C"), "postgresql")
WHOLE = BigInteger().with_variant(Integer, "sqlite")

schema = Table("enginery_schema", metadata, Column("version", Integer, nullable=False))

journals = Table(
    "enginery_journals",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("cluster", TEXT, nullable=False, index=True),
    Column("segment", WHOLE, nullable=False),  # how far it has been read: the file,
    Column("record", WHOLE, nullable=False),  # and the last record
)

tasks = Table(
    "enginery_tasks",
    metadata,
    Column("journal", Integer, ForeignKey(journals.c.number), primary_key=True),
    Column("msg_id", TEXT, primary_key=True),
    Column("client", TEXT, nullable=False),
    Column("owner", String(32), nullable=False),  # a hash of the client's identity
    Column("name", TEXT, nullable=False),
    Column("label", TEXT, nullable=False),
    Column("state", TEXT, nullable=False),
    Column("status", TEXT, nullable=False),  # "" while it has not ended
    Column("engine_id", WHOLE, nullable=False),
    Column("attempt", WHOLE, nullable=False),
    Column("retries", WHOLE, nullable=False),
    Column("priority", Double, nullable=False),
    Column("submitted", Double, nullable=False),
    Column("started", Double, nullable=False),
    Column("completed", Double, nullable=False),
    Column("size", WHOLE, nullable=False),
    Column("reason", TEXT, nullable=False),
    Column("start", WHOLE, nullable=False),  # of a chunk: its items, from this one
    Column("stop", WHOLE, nullable=False),  # up to this one
    Column("accepted", Double, nullable=False),  # the controller's clock
    Column("changed", Double, nullable=False),  # when something was last heard of it
    Column("story", TEXT, nullable=False),  # lines of JSON: [time, what, engine]
    Column("bytes", WHOLE, nullable=False),  # that the outcome takes here
    Column("outcome", LargeBinary),  # msgpack; none where it is too large, or has not come
    Index("enginery_by_change", "changed"),
    Index("enginery_by_submission", "submitted"),
    Index("enginery_by_status", "status"),
    Index("enginery_by_label", "label"),
    Index("enginery_by_name", "name"),
)


def use_hashes() -> None:
    """Have indexes of texts of any length, which a tree of PostgreSQL cannot hold."""
    for index in tasks.indexes:
        if {"name", "label"} & set(index.columns.keys()):
            index.dialect_kwargs["postgresql_using"] = "hash"  # which imports that dialect
