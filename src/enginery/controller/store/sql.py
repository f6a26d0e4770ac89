"""The query language (`core.database`) as SQL.

What SQL cannot say exactly as Python means it is left for `database.matches` to look at afterwards,
in the rows that the rest has found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from math import isnan
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Double,
    Text,
    and_,
    any_,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from ...core.database import NOWHERE
from .rows import clean
from .schema import tasks

FEW = 500
"""Operands of a list that are parameters of their own."""

Conditions = Mapping[str, Mapping[str, Any]]

TEXTS = frozenset({"msg_id", "client", "name", "label", "state", "status", "reason"})
"""The keys whose values are text; those of the others are numbers."""

WHOLE = frozenset({"engine_id", "attempt", "retries", "size"})
"""The keys whose values are whole numbers."""


class Where(NamedTuple):
    """What rows have to fulfil: in the database, and afterwards in Python."""

    clause: ColumnElement[bool]
    rest: dict[str, dict[str, Any]]


def where(conditions: Conditions, dialect: str) -> Where:
    """A checked query (`database.checked`)."""
    clauses: list[ColumnElement[bool]] = [true()]
    rest: dict[str, dict[str, Any]] = {}
    for key, operators in conditions.items():
        column = Key(key, dialect)
        for operator, operand in operators.items():
            said = SAID[operator](column, operand)
            if said is not None:
                clauses.append(said)
            else:
                rest.setdefault(key, {})[operator] = operand
    return Where(and_(*clauses), rest)


class Key:
    """A column, and how its values compare with anything at all."""

    def __init__(self, name: str, dialect: str) -> None:
        self.name = name
        self.column: ColumnElement[Any] = tasks.c[name]
        self.text = name in TEXTS
        self.dialect = dialect

    def comparable(self, operand: Any) -> bool:
        """Whether Python would compare it with a value of this column without an error."""
        if self.text:
            return isinstance(operand, str)
        return isinstance(operand, int | float)  # which includes what is true or false

    def bound(self, operand: Any) -> ColumnElement[Any]:
        """Such an operand as a parameter."""
        return literal(operand, Text) if self.text else literal(float(operand), Double)

    def equal(self, operand: Any) -> ColumnElement[bool]:
        """Whether it is this."""
        if not self.comparable(operand) or _nan(operand) or (self.text and "\0" in operand):
            return false()
        return self.column == self.bound(operand)

    def before(self, operand: Any) -> ColumnElement[bool]:
        """Whether it is less."""
        if not self.comparable(operand) or _nan(operand):
            return false()
        if self.text and "\0" in operand:  # nothing here has a NUL, so nothing is in between
            return self.column <= self.bound(operand.partition("\0")[0])
        return self.column < self.bound(operand)

    def until(self, operand: Any) -> ColumnElement[bool]:
        """Whether it is less or this."""
        if not self.comparable(operand) or _nan(operand):
            return false()
        if self.text and "\0" in operand:
            return self.before(operand)
        return self.column <= self.bound(operand)

    def after(self, operand: Any) -> ColumnElement[bool]:
        """Whether it is more."""
        if not self.comparable(operand) or _nan(operand):
            return false()
        return not_(self.until(operand))

    def from_on(self, operand: Any) -> ColumnElement[bool]:
        """Whether it is more or this."""
        if not self.comparable(operand) or _nan(operand):
            return false()
        return not_(self.before(operand))

    def among(self, operands: Sequence[Any]) -> ColumnElement[bool]:
        """Whether it is one of these; as one parameter, for there may be many."""
        wanted = [each for each in operands if self.comparable(each) and not _nan(each)]
        if self.text:
            wanted = [each for each in wanted if "\0" not in each]
        else:
            wanted = [float(each) for each in wanted]
        if not wanted:
            return false()
        if self.dialect == "postgresql":
            kind = ARRAY(Text) if self.text else ARRAY(Double)
            return self.column == any_(literal(wanted, kind))
        if len(wanted) <= FEW:
            return self.column.in_(wanted)
        # SQLite reads fractions in JSON not quite as Python does, and takes few parameters.
        exact = wanted if self.text else [int(each) for each in wanted if each.is_integer()]
        others = [] if self.text else [each for each in wanted if not each.is_integer()]
        each = func.json_each(json.dumps(exact)).table_valued("value")
        return or_(self.column.in_(select(each.c.value)), self.column.in_(others))

    def all(self, operands: Sequence[Any]) -> ColumnElement[bool]:
        """Whether it is each of these."""
        if any(each != operands[0] for each in operands):
            return false()
        return self.equal(operands[0]) if operands else true()

    def matches(self, pattern: str) -> ColumnElement[bool] | None:
        """Whether it is as in this pattern of file names; None where that cannot be said."""
        if not self.text or "[" in pattern:
            return None
        pattern = clean(pattern)
        if self.dialect == "sqlite":
            return and_(self.begins(pattern), self.column.op("GLOB")(pattern))
        like = re.sub(r"([%_\\])", r"\\\1", pattern).replace("*", "%").replace("?", "_")
        return and_(self.begins(pattern), self.column.like(like, escape="\\"))

    def leaves(self, operands: Sequence[int]) -> ColumnElement[bool] | None:
        """Whether it leaves a rest when it is divided; None where that cannot be said."""
        divisor, rest = operands
        if self.name not in WHOLE or max(abs(divisor), abs(rest)) > 1 << 31:
            return None
        # The rest has the sign of the divisor in Python, and that of the dividend in SQL.
        by, left = literal(divisor, BigInteger), literal(rest, BigInteger)
        return ((self.column % by) + by) % by == left

    def begins(self, pattern: str) -> ColumnElement[bool]:
        """Whether it begins as all do that this pattern matches."""
        prefix = re.split(r"[*?]", clean(pattern), maxsplit=1)[0]
        if not prefix or ord(prefix[-1]) >= 0xD7FF:  # what follows that is not the next number
            return true()
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        return and_(self.column >= prefix, self.column < end)

    def exists(self, wanted: Any) -> ColumnElement[bool]:
        """Whether it says anything."""
        nothing = NOWHERE if self.name == "engine_id" else 0
        empty = self.column == ("" if self.text else nothing)
        return not_(empty) if wanted else empty


def _nan(operand: Any) -> bool:
    return isinstance(operand, float) and isnan(operand)


SAID: dict[str, Callable[[Key, Any], ColumnElement[bool] | None]] = {
    "$eq": Key.equal,
    "$ne": lambda key, operand: not_(key.equal(operand)),
    "$lt": Key.before,
    "$lte": Key.until,
    "$gt": Key.after,
    "$gte": Key.from_on,
    "$in": Key.among,
    "$nin": lambda key, operands: not_(key.among(operands)),
    "$all": Key.all,
    "$mod": Key.leaves,
    "$exists": Key.exists,
    "$glob": Key.matches,
}
"""The operators of `core.database`."""
