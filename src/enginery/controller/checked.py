"""A user's scheme, checked: its mistakes cost a line in the log, never a task or the controller.

Whatever it raises, and whenever it chooses what it may not, the least loaded engine gets the task.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterable, Sequence
from math import isnan

from ..schemes import LeastLoad, Load, Scheme, Waiting


class Checked(Scheme):
    """The scheme `own`; `told` hears in words of what is wrong with it."""

    def __init__(self, own: Scheme, told: Callable[[str], None]) -> None:
        super().__init__()
        self.name = own.name
        self.own = own
        self.told = told
        self.spare = LeastLoad()

    def choose(self, engines: Sequence[Load]) -> Load:
        """As the scheme does."""
        return self.own.choose(engines)

    def rank(self, task: Waiting) -> float:
        """As the scheme does, if that is a number; else the priority."""
        try:
            rank = float(self.own.rank(task))
        except Exception as error:  # told to the log
            self.told(f"rank raised {in_words(error)}")
            return task.priority
        if isnan(rank):
            self.told("rank gave nan, which stands nowhere in an order")
            return task.priority
        return rank

    def update(self, engine: Load, room: bool) -> None:
        """As the scheme does."""
        self.spare.update(engine, room)
        try:
            self.own.update(engine, room)
        except Exception as error:  # told to the log
            self.told(f"update raised {in_words(error)}")

    def best(
        self,
        allowed: Iterable[int] = (),
        avoid: Collection[int] = (),
        excluded: Collection[int] = (),
    ) -> Load | None:
        """As the scheme does, if that engine may get the task; else the least loaded one."""
        allowed = tuple(allowed)
        spare = self.spare.best(allowed, avoid, excluded)
        if spare is None:
            return None  # there is nothing to choose from
        try:
            engine = self.own.best(allowed, avoid, excluded)
        except Exception as error:  # told to the log
            self.told(f"its choice raised {in_words(error)}")
            return spare
        if self._possible(engine, allowed, excluded):
            return engine
        what = f"engine {engine.id}" if isinstance(engine, type(spare)) else type(engine).__name__
        self.told(f"it chose {what}, which is no engine that may get the task")
        return spare

    def _possible(self, engine: Load | None, allowed: Collection[int], no: Collection[int]) -> bool:
        id = getattr(engine, "id", None)
        if not isinstance(id, int) or self.spare.open.get(id) is not engine:
            return False
        return (not allowed or id in allowed) and id not in no


def in_words(error: BaseException) -> str:
    """An error in one line, with the place in the source that it comes from."""
    first = str(error).partition("\n")[0]
    text = f"{type(error).__name__}: {first}" if first else type(error).__name__
    if isinstance(error, SyntaxError):
        file, line = error.filename, error.lineno
        text = f"{type(error).__name__}: {error.msg}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith("<frozen ")]
        file, line = (own[-1].filename, own[-1].lineno) if own else ("", 0)
    return f"{text} ({file}, line {line})" if file else text
