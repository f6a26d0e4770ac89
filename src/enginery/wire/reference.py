"""A name in the engine's namespace, sent as an argument in the place of its value."""

from __future__ import annotations

import sys
from typing import Any


class Reference:
    """`Reference("a")` among the arguments of a call stands for the engine's own `a`.

    It may stand at any depth (in a list, a dict, an object), and may be any expression
    (`"a.b[0]"`). It is looked up when the call arrives; NameError there when the engine has no
    such name. Raises TypeError for what is no text and ValueError for what is no expression.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"Reference takes the name as text, not a {type(name).__name__}")
        try:
            compile(name.strip(), "<reference>", "eval")
        except (SyntaxError, ValueError) as error:
            raise ValueError(f"Reference({name!r}): not a name or an expression") from error
        self.name = name.strip()

    def __reduce__(self) -> tuple[Any, ...]:
        return look_up, (self.name,)

    def __copy__(self) -> Reference:
        return self  # pickling resolves, copying must not

    def __deepcopy__(self, memo: dict[int, Any]) -> Reference:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and other.name == self.name

    def __hash__(self) -> int:
        return hash((Reference, self.name))

    def __repr__(self) -> str:
        return f"Reference({self.name!r})"


def look_up(expression: str) -> Any:
    """Give the value of an expression in the namespace of this engine."""
    return eval(expression, sys.modules["__main__"].__dict__)
