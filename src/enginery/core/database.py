"""The query language of the task history: conditions on what `queries.document` tells of a task.

A query maps keys to values, or to operators with their operands::

    {"status": "error", "completed": {"$gt": 1700000000.0}, "name": {"$glob": "map(*"}}

All conditions of a query have to hold. Nothing of it is code: a client cannot make the controller
run anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from reprlib import repr as brief
from typing import Any

KEYS = frozenset(
    {
        "msg_id", "client", "name", "label", "state", "status", "engine_id", "attempt", "retries",
        "priority", "submitted", "started", "completed", "size", "reason",
    }
)  # fmt: skip
"""What tasks can be looked for by."""

TOLD = KEYS | {"items"}
"""What can be told of them."""


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """A comparison that is false between things that have no order."""

    def compared(value: Any, operand: Any) -> bool:
        try:
            return compare(value, operand)
        except TypeError:
            return False

    return compared


OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, operand: value == operand,
    "$ne": lambda value, operand: value != operand,
    "$lt": _ordered(lambda value, operand: value < operand),
    "$lte": _ordered(lambda value, operand: value <= operand),
    "$gt": _ordered(lambda value, operand: value > operand),
    "$gte": _ordered(lambda value, operand: value >= operand),
    "$in": lambda value, operand: value in operand,
    "$nin": lambda value, operand: value not in operand,
    "$all": lambda value, operand: all(value == each for each in operand),
    "$mod": lambda value, operand: (
        isinstance(value, int | float) and value % operand[0] == operand[1]
    ),
    "$exists": lambda value, operand: (value not in ("", 0.0, None)) == bool(operand),
    "$glob": lambda value, operand: fnmatchcase(str(value), operand),
}
"""What a value can be compared by."""

NOWHERE = -1
"""The engine id of a task that has none: of this key alone, 0 is a value as any other."""

SCALARS = (str, int, float, bytes, type(None))

PATTERN = 1000
"""Characters that a pattern has at most."""

_LISTS = frozenset({"$in", "$nin", "$all"})


def checked(query: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The query with its operators spelled out, so that no value is compared with more than it has
    to be; LookupError for what is not in the language.
    """
    conditions: dict[str, dict[str, Any]] = {}
    for key, condition in query.items():
        if key not in KEYS:
            raise LookupError(f"tasks have no key {key!r}; there are {', '.join(sorted(KEYS))}")
        operators = condition if isinstance(condition, Mapping) else {"$eq": condition}
        for operator, operand in operators.items():
            if operator not in OPERATORS:
                known = ", ".join(OPERATORS)
                raise LookupError(f"there is no operator {operator!r}; there are {known}")
            if operator == "$eq" and isinstance(operand, list | tuple | Mapping):
                raise LookupError(f'{key!r} is one value; for one of several: {{"$in": [...]}}')
            if not _fits(operator, operand):
                raise LookupError(f"{operator} of {key!r} cannot take {brief(operand)}")
        conditions[key] = {each: _distinct(each, operators[each]) for each in operators}
    return conditions


def check_told(keys: Sequence[str]) -> None:
    """LookupError for a key that cannot be told of a task."""
    for key in keys:
        if key not in TOLD:
            raise LookupError(f"tasks have no key {key!r}; there are {', '.join(sorted(TOLD))}")


def _fits(operator: str, operand: Any) -> bool:
    if operator in _LISTS:
        return isinstance(operand, list | tuple)
    if operator == "$mod":
        whole = isinstance(operand, list | tuple) and len(operand) == 2
        return whole and all(type(each) is int for each in operand) and operand[0] != 0
    return operator != "$glob" or (isinstance(operand, str) and len(operand) <= PATTERN)


def _distinct(operator: str, operand: Any) -> Any:
    """The operand, and of a list each value once; values of tasks are no lists themselves."""
    if operator in {"$in", "$nin"}:
        return frozenset(each for each in operand if isinstance(each, SCALARS))
    if operator == "$all":  # nothing is two things
        other = next((each for each in operand if each != operand[0]), None)
        return [*operand[:1], *([] if other is None else [other])]
    return operand


def matches(document: Mapping[str, Any], conditions: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether every condition of a checked query holds."""
    return all(holds(key, document[key], condition) for key, condition in conditions.items())


def holds(key: str, value: Any, condition: Mapping[str, Any]) -> bool:
    """Whether a checked condition on this key holds for a value of it."""
    return all(
        (value != NOWHERE) == bool(operand)
        if (key, operator) == ("engine_id", "$exists")
        else OPERATORS[operator](value, operand)
        for operator, operand in condition.items()
    )
