"""What an engine says of a piece of code that it has executed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class ExecuteReply:
    """One input of one engine and what it gave; what it printed travels as output of the task.

    `number` counts the inputs of this engine from 1. `translated` is `raw` as plain Python, after
    magics and shell escapes. `result` is the `repr` of the last expression, "" when there is none,
    `data` the same in every form that it can be displayed in, by MIME type. `engine` and `stdout`
    are filled in by the client.
    """

    number: int
    raw: str
    translated: str
    result: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    engine: int = -1
    stdout: str = ""
