"""Records of finished tasks as columns, and back: what is the same in all of them stands once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import attrgetter
from typing import Any

from msgspec import Raw, msgpack

from . import messages as m
from .alike import FEWEST
from .bundles import Bundle, Unit
from .tasks import Record

SPEC = "id", "function", "arguments", "name", "engine", "targets", "retries", "submitted", "label"
OUTCOME = "status", "value", "engine", "incarnation", "attempt", "started", "completed", "outputs"
RECORD = "owner", "number", "attempt", "n", "finished"

ID, TARGETS = SPEC.index("id"), SPEC.index("targets")
OWN, STEPS = len(SPEC) + len(OUTCOME), len(SPEC) + len(OUTCOME) + len(RECORD)
_POSITIONS = {name: i for i, name in reversed(list(enumerate([*SPEC, *OUTCOME])))}
AT, STARTED = (len(SPEC) + OUTCOME.index(name) for name in ("engine", "started"))
NUMBER = OWN + RECORD.index("number")

Part = tuple[int, Sequence[Sequence[Any]]]
"""So many tasks, and their columns."""

_of_spec, _of_outcome, _of_itself = attrgetter(*SPEC), attrgetter(*OUTCOME), attrgetter(*RECORD)


def pack(units: Iterable[Unit]) -> bytes:
    """The columns of what has an outcome, and besides nothing that few tasks have."""
    parts: list[Part] = []
    records: list[Record] = []
    for unit in units:
        if type(unit) is not Bundle or len(unit) < FEWEST:
            records += unit.look() if type(unit) is Bundle else [unit]
            continue
        if records:
            parts.append(_of_records(records))
            records = []
        parts.append(_of_bundle(unit))
    if records:
        parts.append(_of_records(records))
    return msgpack.encode(parts)


def _of_records(records: list[Record]) -> Part:
    columns = [
        *zip(*[_of_spec(record.spec) for record in records], strict=True),
        *zip(*[_of_outcome(record.outcome) for record in records], strict=True),
        *zip(*map(_of_itself, records), strict=True),
    ]
    steps = [record.steps for record in records]
    lengths = [len(each) for each in steps]
    if lengths.count(lengths[0]) == len(steps):
        columns += zip(*steps, strict=True)
    else:
        columns.append(tuple(steps))
    return len(records), [_column(column) for column in columns]


def _of_bundle(bundle: Bundle) -> Part:
    count, alike, done = len(bundle), bundle.alike, bundle.done
    assert done is not None
    ran = done.ran
    columns = (
        alike.ids,
        (alike.function,),
        alike.arguments,
        (alike.name,),
        (-1,),
        ((),),
        (alike.retries,),
        alike.submitted,
        (alike.label,),
        ("ok",),
        ran.values,
        (done.engine,),
        (done.incarnation,),
        (1,),
        ran.started,
        ran.completed,
        ran.outputs,
        (bundle.owner,),
        list(range(bundle.number, bundle.number + count)),
        (1,),
        list(range(bundle.n, bundle.n + count)),
        (bundle.finished,),
        *((step,) for step in bundle.steps),
    )
    return count, columns


def unpack(data: bytes) -> Iterator[Record]:
    """The records again."""
    for count, columns in msgpack.decode(data):
        yield from _unpack(count, columns)


def _unpack(count: int, columns: list[Any]) -> Iterator[Record]:
    columns[TARGETS] = list(map(tuple, columns[TARGETS]))
    full = [_full(column, count) for column in columns]
    apart = len(full) > STEPS + 1
    for row in zip(*full, strict=True):
        id, function, arguments, name, engine, targets, retries, submitted, label = row[: len(SPEC)]
        status, value, at, life, attempt, started, completed, outputs = row[len(SPEC) : OWN]
        record = Record(
            m.Task(
                id, function, arguments, (), name, engine, targets, retries, submitted, label
            ),
            row[OWN],
        )  # fmt: skip
        _, record.number, record.attempt, record.n, record.finished = row[OWN:STEPS]
        record.outcome = m.Outcome(
            id, status, value, (), at, life, attempt, submitted, started, completed, outputs, name
        )
        record.size += record.outcome.size()
        record.steps = list(row[STEPS:] if apart else row[STEPS])
        record.state, record.kept = "done", True
        yield record


def ids(data: bytes) -> Iterator[str]:
    """The ids of the tasks."""
    return (id for (id,) in _some(data, ID))


def numbers(data: bytes) -> Iterable[tuple[int, str]]:
    """The numbers of the records, and the ids of their tasks."""
    return _some(data, NUMBER, ID)


def ran(data: bytes) -> Iterator[tuple[str, int]]:
    """The ids of those that have run, and on which engine."""
    return ((id, engine) for id, engine, started in _some(data, ID, AT, STARTED) if started)


def values(data: bytes, names: Iterable[str]) -> dict[str, list[Any]]:
    """What stands in these columns, of a task or of its outcome: once, where it is the same."""
    found: dict[str, list[Any]] = {name: [] for name in names}
    for _, columns in _parts.decode(data):
        for name, column in found.items():
            column += msgpack.decode(columns[_POSITIONS[name]])
    return found


def _some(data: bytes, *wanted: int) -> Iterator[Any]:
    """Of each record what stands in these columns."""
    for count, columns in _parts.decode(data):
        full = [_full(msgpack.decode(columns[i]), count) for i in wanted]
        yield from zip(*full, strict=True)


def _full(column: Sequence[Any], count: int) -> Iterable[Any]:
    return repeat(column[0], count) if len(column) == 1 else column


def _column(column: Sequence[Any]) -> Sequence[Any]:
    """The column, or what it consists of."""
    return column[:1] if column.count(column[0]) == len(column) else column


_parts = msgpack.Decoder(list[tuple[int, list[Raw]]])
"""How many tasks, and their columns; a bundle is a part, and so is what stands between bundles."""
