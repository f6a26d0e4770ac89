"""What an engine says of a piece of code that it has executed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ExecuteReply(dict[str, Any]):
    """One input of one engine and what it gave.

    A dictionary: "input" (with "translated", plain Python after magics and shell escapes, and
    "raw"), "number" (the inputs of an engine are counted from 1), "id" (of the engine) and
    "stdout". As attributes also: `result` (the `repr` of the last expression, "" when there is
    none), `data` and `data_metadata` (the same in every form that it can be displayed in, by MIME
    type), and each key of `metadata`, what is known of the task: `stderr`, `outputs`, `started`...
    """

    def __init__(
        self,
        number: int,
        raw: str,
        translated: str,
        data: dict[str, Any] | None = None,
        data_metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            input={"translated": translated, "raw": raw}, number=number, id=-1, stdout=""
        )
        self.data = data or {}
        self.data_metadata = data_metadata or {}
        self.metadata: Mapping[str, Any] = {}

    def came_with(self, metadata: Mapping[str, Any]) -> None:
        """The client has this from a task of which that is known."""
        self.metadata = metadata
        self["id"], self["stdout"] = metadata["engine_id"], metadata["stdout"]

    def __getattr__(self, key: str) -> Any:
        try:
            return vars(self)["metadata"][key]
        except KeyError:
            raise AttributeError(f"an ExecuteReply has no {key!r}") from None

    @property
    def raw(self) -> str:
        """The input as it was given."""
        raw: str = self["input"]["raw"]
        return raw

    @property
    def translated(self) -> str:
        """The input as plain Python."""
        translated: str = self["input"]["translated"]
        return translated

    @property
    def number(self) -> int:
        """Which input of its engine this is, from 1."""
        number: int = self["number"]
        return number

    @property
    def engine(self) -> int:
        """The number of the engine."""
        engine: int = self["id"]
        return engine

    @property
    def stdout(self) -> str:
        """What was printed."""
        stdout: str = self["stdout"]
        return stdout

    @property
    def result(self) -> str:
        """The `repr` of the last expression, "" when there is none."""
        return str(self.data.get("text/plain", ""))

    @property
    def told(self) -> str:
        """What was printed and given, as it is shown after "Out": "" when there was nothing."""
        return "\n".join(part for part in (self.stdout.rstrip("\n"), self.result) if part)

    def __repr__(self) -> str:
        lines = f"[{self.engine}] In [{self.number}]: {self.raw}"
        return lines + (f"\n[{self.engine}] Out[{self.number}]: {self.told}\n" if self.told else "")

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a notebook shows: the last expression in its own form, if it has one."""
        return self.data | {"text/plain": repr(self)}, self.data_metadata

    def __str__(self) -> str:
        return dict.__repr__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reply, (self.number, self.raw, self.translated, self.data, self.data_metadata)


def _reply(*parts: Any) -> ExecuteReply:
    return ExecuteReply(*parts)
